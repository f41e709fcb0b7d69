"""What a person reads at the end of an audit: workspaces, findings, gaps, totals.

Of a large fleet the rows with most to say are kept, counts of all, and every workspace's domains:
comparing those at the end is what memory grows with, some 3 kB for a workspace of 10 agents.
"""

from bisect import insort
from operator import attrgetter
from typing import TextIO

from attrs import define, evolve, field

from chatloom_async.audit.findings import text_of
from chatloom_async.audit.judge import Judge
from chatloom_async.audit.results import SEVERITIES, AuditTotals, Finding, WorkspaceAudit
from chatloom_async.audit.text import plural
from chatloom_async.cli.tables import Table, draw

_MOST_ROWS = 40
_WORKSPACES = ("workspace", "agents", "domains", "findings", "gaps", "requests", "retried")
_FINDINGS = ("severity", "workspace", "agent", "what was found")
_GAPS = ("workspace", "agent", "error", "status", "what could not be read, and why")
_ACROSS = "Across workspaces"

Row = tuple[str, ...]
Kept = list[tuple[int, Row]]  # the lightest rows, and of equal weight the first in order


@define
class Overview:
    """Collects workspaces one by one and draws the tables; two runs show the same."""

    totals: AuditTotals = field(factory=AuditTotals)
    _workspaces: Kept = field(factory=Kept)
    _findings: Kept = field(factory=Kept)
    _gaps: Kept = field(factory=Kept)
    _domains: list[WorkspaceAudit] = field(factory=list[WorkspaceAudit])

    def add(self, audit: WorkspaceAudit) -> None:
        """Take in one workspace."""
        self.totals = self.totals.plus(audit)
        self._domains.append(_only_domains(audit))
        names = {agent.id: agent.name for agent in audit.agents}
        row = _row(audit.workspace, AuditTotals().plus(audit))
        _keep(self._workspaces, -100 * len(audit.gaps) - len(audit.findings), row)
        for finding in audit.findings:
            self._add_finding(audit.workspace, names.get(finding.agent or "", ""), finding)
        for gap in audit.gaps:
            status = "" if gap.status is None else str(gap.status)
            what = gap.agent or "(whole workspace)"
            _keep(self._gaps, 0, (audit.workspace, what, gap.error, status, gap.message))

    def compare(self, judge: Judge) -> tuple[Finding, ...]:
        """Take in, and return, what only shows when all workspaces are compared; at the end."""
        found = judge.across(sorted(self._domains, key=attrgetter("workspace")))
        self.totals = self.totals.plus_findings(found)
        for finding in found:
            self._add_finding(_ACROSS, "", finding)
        return found

    def _add_finding(self, workspace: str, name: str, finding: Finding) -> None:
        agent = f"{finding.agent} {name}".strip() if finding.agent else ""
        # What concerns all of them comes after what concerns one.
        weight = 2 * SEVERITIES.index(finding.severity) + (workspace is _ACROSS)
        _keep(self._findings, weight, (finding.severity, workspace, agent, text_of(finding)))

    def draw(self, stream: TextIO) -> None:
        """Print every table that has something to say."""
        totals = self.totals
        workspaces = Table(
            "Workspaces",
            _WORKSPACES,
            sorted(row for _, row in self._workspaces),
            numbers=frozenset({1, 2, 4, 5, 6}),
            footer=_row(plural(totals.workspaces, "workspace"), totals),
            note=_left_out(totals.workspaces, self._workspaces),
            spare=frozenset({5, 6}),
        )
        draw(workspaces, stream)
        for title, columns, count, kept in (
            ("Findings", _FINDINGS, sum(totals.findings.values()), self._findings),
            ("Gaps", _GAPS, totals.gaps, self._gaps),
        ):
            if kept:
                rows = [row for _, row in kept]
                draw(Table(title, columns, rows, note=_left_out(count, kept)), stream)


def _keep(kept: Kept, weight: int, row: Row) -> None:
    insort(kept, (weight, row))
    del kept[_MOST_ROWS:]


def _left_out(count: int, kept: Kept) -> str:
    rest = count - len(kept)
    return f"… and {rest:,} more: all are in the JSON lines of --out FILE" if rest else ""


def _only_domains(audit: WorkspaceAudit) -> WorkspaceAudit:
    """Return as little as shows which domains a workspace allows: one agent with all of them."""
    domains = {domain: None for agent in audit.agents for domain in agent.allowed_domains or ()}
    agents = tuple(evolve(agent, allowed_domains=tuple(domains)) for agent in audit.agents[:1])
    return WorkspaceAudit(audit.workspace, agents)


def _row(name: str, totals: AuditTotals) -> Row:
    found = totals.findings
    return (
        name,
        f"{totals.agents:,}",
        f"{totals.domains:,}",
        ", ".join(f"{found[each]:,} {each}" for each in SEVERITIES if found[each]) or "none",
        f"{totals.gaps:,}",
        f"{totals.requests:,}",
        f"{totals.retried:,}",
    )
