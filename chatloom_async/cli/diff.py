"""``diff``: what changed between two audit files, as text or JSON."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from itertools import groupby

from attrs import asdict

from chatloom_async.audit.diff import AuditDiff, Change, Unknown, diff_audits
from chatloom_async.audit.files import load_audits
from chatloom_async.audit.text import plural, say, visible
from chatloom_async.cli.streams import tell

_SIGNS = {"added": "+", "removed": "-", "changed": "~"}
_SIDES = {"old": "in the old audit", "new": "in the new audit", "both": "in both audits"}
_CUT = "a workspace missing from it is not known to be gone"
_MOST = 200


_EXAMPLE = """\
example:
  chatloom-async diff yesterday.jsonl today.jsonl

exit status: 0 no difference, 1 differences, 2 a file cannot be read
"""


def add_diff(command: ArgumentParser) -> None:
    """Add the options of ``diff``."""
    command.epilog = _EXAMPLE
    command.add_argument("old", metavar="OLD", help="an earlier audit's --out file")
    command.add_argument("new", metavar="NEW", help="a later one")
    command.add_argument(
        "--format", choices=("text", "json"), default="text", help="what to print (default: text)"
    )


def diff(options: Namespace) -> int:
    """Print the differences; 1 when there are any. What could not be read is none."""
    old, old_complete = load_audits(options.old)
    new, new_complete = load_audits(options.new)
    found = diff_audits(old, new, old_complete=old_complete, new_complete=new_complete)
    if options.format == "json":
        say(json.dumps(asdict(found), indent=2), sys.stdout)
    else:
        _print(found)
    for path, complete in ((options.old, old_complete), (options.new, new_complete)):
        if not complete:
            tell(f"note: {path} is of a run that was cut; {_CUT}")
    return 1 if found.changes else 0


def _print(found: AuditDiff) -> None:
    for workspace, changes in groupby(found.changes, lambda change: change.workspace):
        say(visible(workspace, _MOST), sys.stdout)
        for change in changes:
            say(f"  {_SIGNS[change.kind]} {_told(change)}", sys.stdout)
    if found.unknown:
        say("not known, for it could not be read:", sys.stdout)
    for unknown in found.unknown:
        say(f"  ? {_missing(unknown)}", sys.stdout)
    say(plural(len(found.changes), "change"), sys.stdout)


def _told(change: Change) -> str:
    if change.agent is None:
        return f"workspace {change.kind}"
    agent = visible(change.agent, _MOST)
    before, after = visible(change.before or "", _MOST), visible(change.after or "", _MOST)
    if change.field is None:
        return f"agent {agent} {change.kind}: {before or after}"
    if change.field == "allowed_domains":
        return f"{agent}: domain {change.kind}: {before or after}"
    return f"{agent}: {change.field}: {before} → {after}"


def _missing(unknown: Unknown) -> str:
    workspace = visible(unknown.workspace, _MOST)
    what = "its agents" if unknown.agent is None else f"domains of {visible(unknown.agent, _MOST)}"
    return f"{workspace}: {what}, {_SIDES[unknown.side]}"
