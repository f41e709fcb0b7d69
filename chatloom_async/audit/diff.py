"""What changed between two audits, as a stream or ``read_audits`` yields them, or as files."""

from collections import Counter
from collections.abc import Container, Hashable, Iterable, Iterator, Mapping
from typing import Any, Literal

from attrs import frozen

from chatloom_async.audit.domains import name_of
from chatloom_async.audit.files import AuditFile
from chatloom_async.audit.findings import shared_domains
from chatloom_async.audit.results import AGENT_FIELDS, Finding, WorkspaceAudit
from chatloom_async.models import AuditedAgent, as_dict, served

Audits = Mapping[str, WorkspaceAudit]
Kind = Literal["added", "removed", "changed"]
Side = Literal["old", "new", "both"]


@served
@frozen(repr=False)
class Change:
    """One difference.

    A workspace when ``agent`` is None, an agent when ``field`` is None, one domain when ``field``
    is "allowed_domains", else the field of an agent that changed from ``before`` to ``after``.
    """

    kind: Kind
    workspace: str
    agent: str | None = None
    field: str | None = None
    before: str | None = None
    after: str | None = None

    to_dict = as_dict


@served
@frozen(repr=False)
class Unknown:
    """Something that cannot be compared: it could not be read on one side or on both.

    A whole workspace when ``agent`` is None, else an agent's domains; ``side`` names the audit that
    has the gap, or that was cut before it came to the workspace.
    """

    workspace: str
    agent: str | None
    side: Side

    to_dict = as_dict


@served
@frozen(repr=False)
class FindingChange:
    """A finding that only one of the audits has; ``workspace`` is None where it concerns several.

    The message is no part of what a finding is: reworded, it stays the same one.
    """

    kind: Literal["new", "gone"]
    workspace: str | None
    finding: Finding

    to_dict = as_dict


@served
@frozen(repr=False)
class AuditDiff:
    """Every change, and what is not known; both by workspace name, agents in the order listed.

    ``findings`` are new or gone only where the other audit read what they are about.
    """

    changes: tuple[Change, ...]
    unknown: tuple[Unknown, ...]
    findings: tuple[FindingChange, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How many there are of each kind: ``{"agent added": 2, "finding new": 1, …}``."""
        kinds = [f"{_what(change)} {change.kind}" for change in self.changes]
        return dict(Counter([*kinds, *(f"finding {each.kind}" for each in self.findings)]))

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values, with the counts."""
        return {**as_dict(self), "counts": self.counts}


def diff_audits(
    old: Iterable[WorkspaceAudit],
    new: Iterable[WorkspaceAudit],
    *,
    old_complete: bool = True,
    new_complete: bool = True,
    ignored: Container[str] = (),
) -> AuditDiff:
    """Compare two audits; of a workspace that occurs twice in one of them, the later counts.

    What could not be read is unknown, never "removed"; so is a workspace that is missing from an
    audit which is not complete (as ``load_audits`` tells), and an agent that is missing from a list
    which names more than it holds. Of rules that are ``ignored``, by the new audit, nothing is new
    or gone. The order of agents and domains is no change, nor is another spelling of the same name,
    nor what an audit cost.
    """
    before: Audits = {audit.workspace: audit for audit in old}
    after: Audits = {audit.workspace: audit for audit in new}
    differences: list[Change | Unknown] = []
    for name in sorted(before.keys() | after.keys()):
        cut = (name not in before and not old_complete, name not in after and not new_complete)
        if any(cut):
            differences.append(Unknown(name, None, _side(*cut)))
        else:
            differences += _workspace(name, before.get(name), after.get(name))
    unknown = tuple(each for each in differences if isinstance(each, Unknown))
    new_ones = _only_in(after, before, "new", [each for each in unknown if each.side != "new"])
    gone = _only_in(before, after, "gone", [each for each in unknown if each.side != "old"])
    return AuditDiff(
        tuple(each for each in differences if isinstance(each, Change)),
        unknown,
        tuple(each for each in (*new_ones, *gone) if each.finding.rule not in ignored),
    )


def diff_files(old: AuditFile, new: AuditFile) -> AuditDiff:
    """Compare two audit files; of rules that the later run did not apply nothing is new or gone."""
    unapplied: list[str] = []
    for run in new.runs[-1:]:
        unapplied += [*run.ignored, *(["not-approved"] if run.approved is None else [])]
    return diff_audits(
        old.audits,
        new.audits,
        old_complete=not old.lacking,
        new_complete=not new.lacking,
        ignored=unapplied,
    )


def _only_in(
    these: Audits, others: Audits, kind: Literal["new", "gone"], unread: Iterable[Unknown]
) -> Iterator[FindingChange]:
    """Yield the findings of these audits which the others have not, but for what they missed."""
    missed = {(each.workspace, each.agent) for each in unread}
    for name in sorted(these):
        other = others.get(name)
        read = {agent.id for agent in other.agents} if other else set()
        for finding in _more(these[name].findings, other.findings if other else ()):
            what = finding.agent if finding.agent in read else None
            if not missed & {(name, what), (name, finding.agent)}:
                yield FindingChange(kind, name, finding)
    if not missed:
        known = shared_domains(others.values())
        for finding in _more(shared_domains(these.values()), known):
            yield FindingChange(kind, None, finding)


def _more(findings: Iterable[Finding], known: Iterable[Finding]) -> Iterator[Finding]:
    left = Counter(map(_identity, known))
    for finding in findings:
        identity = _identity(finding)
        if left[identity]:
            left[identity] -= 1
        else:
            yield finding


def _identity(finding: Finding) -> Hashable:
    domain = finding.domain
    return finding.rule, finding.agent, domain if domain is None else name_of(domain)


def _workspace(
    name: str, old: WorkspaceAudit | None, new: WorkspaceAudit | None
) -> Iterator[Change | Unknown]:
    partial, now_partial = _is_partial(old), _is_partial(new)
    if partial or now_partial:
        yield Unknown(name, None, _side(partial, now_partial))
    if old is None or new is None:
        yield Change("added" if old is None else "removed", name)
    before = {agent.id: agent for agent in old.agents} if old else {}
    after = {agent.id: agent for agent in new.agents} if new else {}
    for agent_id, agent in before.items():
        if new is not None and agent_id not in after and not now_partial:
            yield Change("removed", name, agent_id, before=agent.name)
    for agent_id, agent in after.items():
        if agent_id in before:
            yield from _agent(name, before[agent_id], agent)
            continue
        if old is not None and not partial:
            yield Change("added", name, agent_id, after=agent.name)
        if agent.allowed_domains is None:
            yield Unknown(name, agent_id, "new")


def _agent(name: str, old: AuditedAgent, new: AuditedAgent) -> Iterator[Change | Unknown]:
    for attribute in AGENT_FIELDS:
        before, after = getattr(old, attribute), getattr(new, attribute)
        if attribute != "allowed_domains" and before != after:
            yield Change("changed", name, new.id, attribute, str(before), str(after))
    if old.allowed_domains is None or new.allowed_domains is None:
        side = _side(old.allowed_domains is None, new.allowed_domains is None)
        yield Unknown(name, new.id, side)
        return
    listed, now = _by_name(old.allowed_domains), _by_name(new.allowed_domains)
    for identity, domain in listed.items():
        if identity not in now:
            yield Change("removed", name, new.id, "allowed_domains", before=domain)
    for identity, domain in now.items():
        if identity not in listed:
            yield Change("added", name, new.id, "allowed_domains", after=domain)


def _side(old: bool, new: bool) -> Side:  # noqa: FBT001 - which of them could not be read
    return "both" if old and new else "old" if old else "new"


def _what(change: Change) -> str:
    if change.agent is None:
        return "workspace"
    if change.field is None:
        return "agent"
    return "domain" if change.field == "allowed_domains" else "field"


def _by_name(domains: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for domain in domains:
        found.setdefault(name_of(domain), domain)
    return found


def _is_partial(audit: WorkspaceAudit | None) -> bool:
    """Tell whether there may be agents that were not listed; a refused key may have listed all."""
    return audit is not None and any(
        gap.agent is None and (not audit.agents or gap.error == "ResponseDecodeError")
        for gap in audit.gaps
    )
