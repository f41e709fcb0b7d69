"""What a person reads at the end of an audit: workspaces, findings, gaps, totals.

Of a large fleet the rows with most to say are kept, counts of all, and every workspace's domains:
comparing those at the end is what memory grows with, some 3 kB for a workspace of 10 agents.
"""

from bisect import insort
from operator import attrgetter
from typing import TextIO

from attrs import define, evolve, field

from chatloom_async.audit.findings import told
from chatloom_async.audit.judge import Judge
from chatloom_async.audit.results import SEVERITIES, AuditTotals, Finding, WorkspaceAudit
from chatloom_async.audit.text import plural
from chatloom_async.cli.tables import Table, draw

_MOST_ROWS = 40
_FINDINGS = ("severity", "workspace", "agent", "what was found")
_GAPS = ("workspace", "agent", "error", "status", "what could not be read, and why")
_ACROSS = "Across workspaces"


@define
class Best:
    """The rows with the highest weight, at most ``_MOST_ROWS``, and how many there were.

    Of equal weight the first in order are kept, whenever they came: two runs show the same.
    """

    count: int = 0
    _kept: list[tuple[int, tuple[str, ...]]] = field(factory=list[tuple[int, tuple[str, ...]]])

    def add(self, weight: int, row: tuple[str, ...]) -> None:
        """Consider a row."""
        self.count += 1
        insort(self._kept, (-weight, row))
        del self._kept[_MOST_ROWS:]

    def rows(self) -> list[tuple[str, ...]]:
        """Return what was kept, heaviest first."""
        return [row for _, row in self._kept]

    def left_out(self) -> str:
        """Return a line about what was not kept, or ``""``."""
        rest = self.count - len(self._kept)
        return f"… and {rest:,} more: all are in the JSON lines of --out FILE" if rest else ""


@define
class Overview:
    """Collects workspaces one by one and draws the tables."""

    totals: AuditTotals = field(factory=AuditTotals)
    _workspaces: Best = field(factory=Best)
    _findings: Best = field(factory=Best)
    _gaps: Best = field(factory=Best)
    _domains: list[WorkspaceAudit] = field(factory=list[WorkspaceAudit])

    def add(self, audit: WorkspaceAudit) -> None:
        """Take in one workspace."""
        self.totals = self.totals.plus(audit)
        self._domains.append(_only_domains(audit))
        names = {agent.id: agent.name for agent in audit.agents}
        row = _row(audit.workspace, AuditTotals().plus(audit))
        self._workspaces.add(100 * len(audit.gaps) + len(audit.findings), row)
        for finding in audit.findings:
            self._add_finding(audit.workspace, names.get(finding.agent or "", ""), finding)
        for gap in audit.gaps:
            status = "" if gap.status is None else str(gap.status)
            what = gap.agent or "(whole workspace)"
            self._gaps.add(0, (audit.workspace, what, gap.error, status, gap.message))

    def compare(self, judge: Judge) -> tuple[Finding, ...]:
        """Take in, and return, what only shows when all workspaces are compared; at the end."""
        found = judge.across(sorted(self._domains, key=attrgetter("workspace")))
        self.totals = self.totals.plus_findings(found)
        for finding in found:
            self._add_finding(_ACROSS, "", finding)
        return found

    def _add_finding(self, workspace: str, name: str, finding: Finding) -> None:
        agent = f"{finding.agent} {name}".strip() if finding.agent else ""
        row = (finding.severity, workspace, agent, told(finding))
        # What concerns all of them comes after what concerns one.
        weight = -2 * SEVERITIES.index(finding.severity) - (workspace is _ACROSS)
        self._findings.add(weight, row)

    def draw(self, stream: TextIO) -> None:
        """Print every table that has something to say."""
        draw(self._workspace_table(), stream)
        for title, columns, kept in (
            ("Findings", _FINDINGS, self._findings),
            ("Gaps", _GAPS, self._gaps),
        ):
            if kept.count:
                draw(Table(title, columns, kept.rows(), note=kept.left_out()), stream)

    def _workspace_table(self) -> Table:
        return Table(
            "Workspaces",
            ("workspace", "agents", "domains", "findings", "gaps", "requests", "retried"),
            sorted(self._workspaces.rows()),
            numbers=frozenset({1, 2, 4, 5, 6}),
            footer=_row(plural(self.totals.workspaces, "workspace"), self.totals),
            note=self._workspaces.left_out(),
            spare=frozenset({5, 6}),
        )


def _only_domains(audit: WorkspaceAudit) -> WorkspaceAudit:
    """Return as little as shows which domains a workspace allows: one agent with all of them."""
    domains = {domain: None for agent in audit.agents for domain in agent.allowed_domains or ()}
    agents = tuple(evolve(agent, allowed_domains=tuple(domains)) for agent in audit.agents[:1])
    return WorkspaceAudit(audit.workspace, agents)


def _row(name: str, totals: AuditTotals) -> tuple[str, ...]:
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
