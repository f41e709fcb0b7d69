"""An audit as rows, one per agent, for spreadsheets and column files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from attrs import frozen

from chatloom_async.audit.values import AuditedAgent, Finding, Gap, WorkspaceAudit


@frozen
class AuditRow:
    """One agent with what concerns it.

    ``agent`` None: what concerns its workspace as a whole, or an agent that is not listed.
    """

    workspace: str
    agent: AuditedAgent | None
    findings: tuple[Finding, ...]
    gaps: tuple[Gap, ...]


def rows(audit: WorkspaceAudit) -> Iterator[AuditRow]:
    """Yield the agents in their order, after the workspace's own row if there is need for one."""
    listed = {agent.id for agent in audit.agents}
    findings: dict[str | None, list[Finding]] = {}
    for finding in audit.findings:
        agent_id = finding.agent if finding.agent in listed else None
        findings.setdefault(agent_id, []).append(finding)
    gaps: dict[str | None, list[Gap]] = {}
    for gap in audit.gaps:
        gaps.setdefault(gap.agent if gap.agent in listed else None, []).append(gap)
    if None in findings or None in gaps or not audit.agents:
        yield _row(audit, None, findings.pop(None, ()), gaps.pop(None, ()))
    for agent in audit.agents:
        # Of an agent that is listed twice the first row has it all.
        yield _row(audit, agent, findings.pop(agent.id, ()), gaps.pop(agent.id, ()))


def _row(
    audit: WorkspaceAudit,
    agent: AuditedAgent | None,
    findings: Iterable[Finding],
    gaps: Iterable[Gap],
) -> AuditRow:
    return AuditRow(audit.workspace, agent, tuple(findings), tuple(gaps))
