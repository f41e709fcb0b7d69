"""``report``: an audit file as a web page."""

import os
from argparse import ArgumentParser, Namespace
from datetime import datetime

from attrs import evolve

from chatloom_async.audit.diff import diff_files
from chatloom_async.audit.files import AuditFile
from chatloom_async.audit.page import ReportContext, write_report
from chatloom_async.audit.text import plural, visible
from chatloom_async.cli.options import add_force, check_free
from chatloom_async.cli.streams import say, tell
from chatloom_async.errors import ConfigurationError

_EXAMPLE = """\
example:
  chatloom-async audit keys.toml --out today.jsonl
  chatloom-async report today.jsonl --html audit.html
  chatloom-async report today.jsonl --html audit.html --since yesterday.jsonl
"""


def add_report(command: ArgumentParser) -> None:
    """Add the options of ``report``."""
    command.epilog = _EXAMPLE
    add = command.add_argument
    add("file", metavar="FILE", help="an audit's --out file")
    add("--html", metavar="OUT", required=True, help="the page to write")
    add("--since", metavar="OLD", help="an earlier --out file: mark what is new since then")
    add_force(command)


def report(options: Namespace) -> int:
    """Write the page."""
    audits = [options.file, *filter(None, [options.since])]
    if os.path.realpath(options.html) in map(os.path.realpath, audits):
        raise ConfigurationError(f"--html {options.html} would write over the audit itself")
    check_free(options.html, force=options.force)
    file = AuditFile.read(options.file)
    ignored = file.runs[-1].ignored if file.runs else ()
    context = ReportContext(file.lacking, file.missing, ignored=ignored)
    if options.since is not None:
        old = AuditFile.read(options.since)
        found = diff_files(old, file).findings
        new = frozenset((each.workspace, each.finding) for each in found if each.kind == "new")
        context = evolve(context, since=_when(old, options.since), new=new)
    write_report(file.audits, options.html, datetime.now().astimezone(), context)
    say(f"Written to {visible(options.html)}; open it in a browser.")
    if file.lacking:
        tell(f"note: the run was cut: {plural(file.lacking, 'workspace')} missing from the page")
    return 0


def _when(file: AuditFile, path: str) -> str:
    """Return when an audit was made, or where it is kept if it does not say."""
    moments = [audit.read_at for audit in file.audits if audit.read_at is not None]
    return f"{max(moments).astimezone():%d %B %Y}" if moments else path
