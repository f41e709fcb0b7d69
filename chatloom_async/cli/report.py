"""``report``: an audit file as a web page."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from datetime import datetime
from pathlib import Path

from chatloom_async.audit.files import read_audits
from chatloom_async.audit.page import write_report
from chatloom_async.audit.text import say, visible
from chatloom_async.cli.outputs import add_force, check_free
from chatloom_async.errors import ConfigurationError

_EXAMPLE = """\
example:
  chatloom-async audit keys.toml --out today.jsonl
  chatloom-async report today.jsonl --html audit.html
"""


def add_report(command: ArgumentParser) -> None:
    """Add the options of ``report``."""
    command.epilog = _EXAMPLE
    command.add_argument("file", metavar="FILE", help="an audit's --out file")
    command.add_argument("--html", metavar="OUT", required=True, help="the page to write")
    add_force(command)


def report(options: Namespace) -> int:
    """Write the page."""
    if Path(options.file).resolve() == Path(options.html).resolve():
        raise ConfigurationError(f"--html {options.html} would write over the audit itself")
    check_free(options.html, force=options.force)
    write_report(read_audits(options.file), options.html, datetime.now().astimezone())
    say(f"Written to {visible(options.html)}; open it in a browser.", sys.stdout)
    return 0
