"""What changed between two audits; pure, over whatever ``read_audits`` or a stream yields."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from attrs import fields, frozen

from chatloom_async.audit.domains import parse_entry
from chatloom_async.audit.results import AuditedAgent, WorkspaceAudit

Kind = Literal["added", "removed", "changed"]


@frozen
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


@frozen
class Unknown:
    """Something that cannot be compared: it could not be read on one side or on both.

    A whole workspace when ``agent`` is None, else an agent's domains; ``side`` names the audit that
    has the gap, or that was cut before it came to the workspace.
    """

    workspace: str
    agent: str | None
    side: Literal["old", "new", "both"]


@frozen
class AuditDiff:
    """Every change, and what is not known; both by workspace name, agents in the order listed."""

    changes: tuple[Change, ...]
    unknown: tuple[Unknown, ...]


def diff_audits(
    old: Iterable[WorkspaceAudit],
    new: Iterable[WorkspaceAudit],
    *,
    old_complete: bool = True,
    new_complete: bool = True,
) -> AuditDiff:
    """Compare two audits; of a workspace that occurs twice in one of them, the later counts.

    What could not be read is unknown, never "removed"; so is a workspace that is missing from an
    audit which is not complete (as ``load_audits`` tells). The order of agents and domains is no
    change, nor is another spelling of the same name, nor what an audit cost or found.
    """
    before = {audit.workspace: audit for audit in old}
    after = {audit.workspace: audit for audit in new}
    differences = [
        difference
        for name in sorted(before.keys() | after.keys())
        for difference in (
            [Unknown(name, None, "old")]
            if name not in before and not old_complete
            else [Unknown(name, None, "new")]
            if name not in after and not new_complete
            else _workspace(name, before.get(name), after.get(name))
        )
    ]
    return AuditDiff(
        tuple(each for each in differences if isinstance(each, Change)),
        tuple(each for each in differences if isinstance(each, Unknown)),
    )


def _workspace(
    name: str, old: WorkspaceAudit | None, new: WorkspaceAudit | None
) -> Iterator[Change | Unknown]:
    if old is None or new is None:
        present = new or old
        yield Change("added" if old is None else "removed", name)
        if present is not None and not _listed(present):
            yield Unknown(name, None, "new" if old is None else "old")
        return
    side = _side(not _listed(old), not _listed(new))
    if side is not None:
        yield Unknown(name, None, side)
        return
    before = {agent.id: agent for agent in old.agents}
    after = {agent.id: agent for agent in new.agents}
    for agent_id, agent in before.items():
        if agent_id not in after:
            yield Change("removed", name, agent_id, before=agent.name)
    for agent_id, agent in after.items():
        if agent_id in before:
            yield from _agent(name, before[agent_id], agent)
        else:
            yield Change("added", name, agent_id, after=agent.name)


def _agent(name: str, old: AuditedAgent, new: AuditedAgent) -> Iterator[Change | Unknown]:
    for attribute in fields(AuditedAgent):
        before, after = getattr(old, attribute.name), getattr(new, attribute.name)
        if attribute.name != "allowed_domains" and before != after:
            yield Change("changed", name, new.id, attribute.name, str(before), str(after))
    side = _side(old.allowed_domains is None, new.allowed_domains is None)
    if side is not None:
        yield Unknown(name, new.id, side)
        return
    listed, now = _by_name(old.allowed_domains or ()), _by_name(new.allowed_domains or ())
    for identity, domain in listed.items():
        if identity not in now:
            yield Change("removed", name, new.id, "allowed_domains", before=domain)
    for identity, domain in now.items():
        if identity not in listed:
            yield Change("added", name, new.id, "allowed_domains", after=domain)


def _by_name(domains: Iterable[str]) -> dict[str, str]:
    """Return domains by what their spellings have in common; an odd entry is only itself."""
    found: dict[str, str] = {}
    for domain in domains:
        entry = parse_entry(domain)
        found.setdefault(domain if entry.url or entry.problem else entry.identity, domain)
    return found


def _listed(audit: WorkspaceAudit) -> bool:
    """Tell whether the agents could be listed: a refused key may still have listed them before."""
    return bool(audit.agents) or not any(gap.agent is None for gap in audit.gaps)


def _side(old: bool, new: bool) -> Literal["old", "new", "both"] | None:  # noqa: FBT001 - two of a kind
    if old and new:
        return "both"
    if old or new:
        return "old" if old else "new"
    return None
