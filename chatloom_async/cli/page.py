"""``report``: an audit file as a web page."""

from __future__ import annotations

import sys
from argparse import Namespace
from datetime import datetime

from chatloom_async.audit.log import read_audits
from chatloom_async.audit.report import write_report
from chatloom_async.text import say


def report(options: Namespace) -> int:
    """Write the page."""
    write_report(read_audits(options.file), options.html, datetime.now().astimezone())
    say(f"Written to {options.html}; open it in a browser.", sys.stdout)
    return 0
