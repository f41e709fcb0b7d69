"""``diff``: what changed between two audit files, as text or JSON."""

import json
from argparse import ArgumentParser, Namespace
from itertools import groupby

from chatloom_async.audit.diff import AuditDiff, Change, FindingChange, Unknown, diff_files
from chatloom_async.audit.files import AuditFile
from chatloom_async.audit.findings import text_of
from chatloom_async.audit.text import plural, visible
from chatloom_async.cli.options import add_fail_on, reached
from chatloom_async.cli.streams import say, tell

_SIGNS = {"added": "+", "removed": "-", "changed": "~"}
_SIDES = {"old": "in the old audit", "new": "in the new audit", "both": "in both audits"}
_CUT = "a workspace missing from it is not known to be gone"
_MOST = 200
_EXAMPLE = """\
example:
  chatloom-async diff yesterday.jsonl today.jsonl
  chatloom-async diff yesterday.jsonl today.jsonl --fail-on new-finding

exit status: 0 no difference, 1 differences, or with --fail-on what it names,
2 a file cannot be read
"""


def add_diff(command: ArgumentParser) -> None:
    """Add the options of ``diff``."""
    command.epilog = _EXAMPLE
    add = command.add_argument
    add("old", metavar="OLD", help="an earlier audit's --out file")
    add("new", metavar="NEW", help="a later one")
    add("--format", choices=("text", "json"), default="text", help="what to print (default: text)")
    told = (
        "exit 1 only for a gap in NEW, a new finding, or one at least this severe; may be "
        "repeated; a gap always counts"
    )
    add_fail_on(command, ("gap", "new-finding", "low", "medium", "high"), told)


def diff(options: Namespace) -> int:
    """Print the differences; 1 when there are any. What could not be read is none."""
    old, new = AuditFile.read(options.old), AuditFile.read(options.new)
    found = diff_files(old, new)
    if options.format == "json":
        say(json.dumps(found.to_dict(), indent=2))
    else:
        _print(found)
    for path, file in ((options.old, old), (options.new, new)):
        if file.lacking:
            tell(f"note: {path} is of a run that was cut; {_CUT}")
    if not options.fail_on:
        return 1 if found.changes or found.findings else 0
    gap = new.lacking > 0 or any(unknown.side != "old" for unknown in found.unknown)
    severities = [each.finding.severity for each in found.findings if each.kind == "new"]
    return int(reached(options.fail_on, severities, gap=gap))


def _print(found: AuditDiff) -> None:
    for workspace, changes in groupby(found.changes, lambda change: change.workspace):
        say(visible(workspace, _MOST))
        for change in changes:
            say(f"  {_SIGNS[change.kind]} {_told(change)}")
    for each in found.findings:
        say(_finding(each))
    if found.unknown:
        say("not known, for it could not be read:")
    for unknown in found.unknown:
        say(f"  ? {_missing(unknown)}")
    kinds = [f"{amount:,} {kind}" for kind, amount in sorted(found.counts.items())]
    detail = f": {', '.join(kinds)}" if kinds else ""
    say(f"{plural(len(found.changes) + len(found.findings), 'change')}{detail}")


def _finding(change: FindingChange) -> str:
    finding = change.finding
    place = "several workspaces" if change.workspace is None else change.workspace
    where = [place, *([finding.agent] if finding.agent else [])]
    place = " · ".join(visible(each, _MOST) for each in where)
    what = f"{change.kind} {finding.severity} {finding.rule}: {visible(text_of(finding), _MOST)}"
    return f"{'!' if change.kind == 'new' else '-'} {place}: {what}"


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
