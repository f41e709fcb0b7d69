"""``report``: an audit file as a web page."""

from __future__ import annotations

import sys
from argparse import Namespace
from datetime import datetime
from pathlib import Path

from chatloom_async.audit.files import read_audits
from chatloom_async.audit.page import write_report
from chatloom_async.audit.text import say
from chatloom_async.errors import ConfigurationError


def report(options: Namespace) -> int:
    """Write the page."""
    if Path(options.file).resolve() == Path(options.html).resolve():
        raise ConfigurationError(f"--html {options.html} would write over the audit itself")
    write_report(read_audits(options.file), options.html, datetime.now().astimezone())
    say(f"Written to {options.html}; open it in a browser.", sys.stdout)
    return 0
