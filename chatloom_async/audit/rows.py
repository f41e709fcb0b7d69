"""An audit as rows, one per agent, for spreadsheets and column files."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from chatloom_async.audit.values import AuditedAgent, Finding, Gap, WorkspaceAudit


@frozen
class AuditRow:
    """One agent with what concerns it; ``agent`` None: what concerns its workspace as a whole."""

    workspace: str
    agent: AuditedAgent | None
    findings: tuple[Finding, ...]
    gaps: tuple[Gap, ...]


def rows(audit: WorkspaceAudit) -> Iterator[AuditRow]:
    """Yield the agents in their order, after the workspace's own row if there is need for one."""
    findings: dict[str | None, list[Finding]] = {}
    for finding in audit.findings:
        findings.setdefault(finding.agent, []).append(finding)
    gaps: dict[str | None, list[Gap]] = {}
    for gap in audit.gaps:
        gaps.setdefault(gap.agent, []).append(gap)
    whole = AuditRow(
        audit.workspace, None, tuple(findings.get(None, ())), tuple(gaps.get(None, ()))
    )
    if whole.findings or whole.gaps or not audit.agents:
        yield whole
    for agent in audit.agents:
        yield AuditRow(
            audit.workspace,
            agent,
            tuple(findings.get(agent.id, ())),
            tuple(gaps.get(agent.id, ())),
        )
