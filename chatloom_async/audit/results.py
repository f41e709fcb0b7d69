"""What an audit found out, as frozen values; how it finds out lives in ``run``.

One ``WorkspaceAudit`` is complete in itself: it can be written to a file, sent to another process
and compared with yesterday's. Keys are in none of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Literal, Self

from attrs import evolve, field, fields_dict, frozen

from chatloom_async.models import AuditedAgent, Gap, as_dict, served

Severity = Literal["low", "medium", "high"]

SEVERITIES: tuple[Severity, ...] = ("high", "medium", "low")  # the gravest first
# What a table has a column for, beside the agent's id.
AGENT_FIELDS = tuple(name for name in fields_dict(AuditedAgent) if name not in ("id", "extra"))


@served
@frozen(repr=False)
class Finding:
    """Something worth a look, by one of ``FINDING_RULES``.

    ``agent`` is an id, None when the finding concerns a whole workspace or several; ``domain`` is
    the entry as listed, its first 2,048 characters; None when it concerns none, or many.
    """

    rule: str
    severity: Severity
    agent: str | None
    domain: str | None
    message: str

    to_dict = as_dict


@served
@frozen(repr=False)
class WorkspaceAudit:
    """One workspace: what it holds, what is wrong, what could not be read, and what that cost.

    Attributes:
        workspace: the name it was given by the caller.
        agents: newest first, also those whose domains could not be read.
        findings: by rules that look at one workspace.
        gaps: what is missing from ``agents``.
        requests: requests sent.
        retried: those of them that repeated another one.
        refused: attempts of these that were refused: by a 429, or by what stands for one.
        elapsed: seconds from opening the workspace to its last answer, waiting included.
        read_at: when that last answer had come, as an aware datetime; None: an old file.
    """

    workspace: str
    agents: tuple[AuditedAgent, ...] = ()
    findings: tuple[Finding, ...] = ()
    gaps: tuple[Gap, ...] = ()
    requests: int = 0
    retried: int = 0
    refused: int = 0
    elapsed: float = 0.0
    read_at: datetime | None = None

    to_dict = as_dict


@served
@frozen(repr=False)
class AuditTotals:
    """Counts over workspaces, added up one by one: ``totals = totals.plus(workspace)``.

    ``domains`` counts entries as listed, ``findings`` by severity; ``unreadable`` counts workspaces
    of which not even the agents could be listed.
    """

    workspaces: int = 0
    unreadable: int = 0
    agents: int = 0
    domains: int = 0
    findings: Mapping[Severity, int] = field(
        factory=lambda: dict.fromkeys(SEVERITIES, 0), hash=False
    )
    gaps: int = 0
    requests: int = 0
    retried: int = 0
    refused: int = 0

    def plus(self, audit: WorkspaceAudit) -> Self:
        """Return the totals with one more workspace in them."""
        return evolve(
            self.plus_findings(audit.findings),
            workspaces=self.workspaces + 1,
            unreadable=self.unreadable + (not audit.agents and bool(audit.gaps)),
            agents=self.agents + len(audit.agents),
            domains=self.domains + sum(len(agent.allowed_domains or ()) for agent in audit.agents),
            gaps=self.gaps + len(audit.gaps),
            requests=self.requests + audit.requests,
            retried=self.retried + audit.retried,
            refused=self.refused + audit.refused,
        )

    def plus_findings(self, findings: Iterable[Finding]) -> Self:
        """Return the totals with findings that belong to no single workspace."""
        more = Counter(finding.severity for finding in findings)
        return evolve(self, findings={each: n + more[each] for each, n in self.findings.items()})

    to_dict = as_dict


@served
@frozen(repr=False)
class AuditReport:
    """A whole audit in memory.

    Attributes:
        workspaces: in the order in which they were finished.
        findings: by rules that compare workspaces; those of one workspace are with it.
        totals: counts over both.
        elapsed: seconds from the beginning to the end.
    """

    workspaces: tuple[WorkspaceAudit, ...]
    findings: tuple[Finding, ...]
    totals: AuditTotals
    elapsed: float

    to_dict = as_dict


@served
@frozen(repr=False)
class AuditRun:
    """What a run of audits was made with, and what shows only when its workspaces are compared.

    Attributes:
        began_at: when the run began, as an aware datetime.
        ended_at: when it had come to its end; None: it has not.
        workspaces: the names of all that it was to read.
        approved: the lines of the approved list; None: any domain was.
        ignored: ids of the rules that were left out.
        findings: by rules that compare workspaces.
    """

    began_at: datetime
    ended_at: datetime | None = None
    workspaces: tuple[str, ...] = ()
    approved: tuple[str, ...] | None = None
    ignored: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    to_dict = as_dict


@frozen
class AuditRow:
    """One agent with what concerns it.

    ``agent`` None: what concerns its workspace as a whole, or an agent that is not listed.
    """

    agent: AuditedAgent | None
    findings: list[Finding] = field(factory=list[Finding])
    gaps: list[Gap] = field(factory=list[Gap])


def rows(audit: WorkspaceAudit) -> Iterator[AuditRow]:
    """Yield the agents in their order, after the workspace's own row if there is need for one."""
    found = [AuditRow(agent) for agent in audit.agents]
    own = AuditRow(None)
    # Of an agent that is listed twice the first row has it all.
    by_agent: dict[str | None, AuditRow] = {
        row.agent.id: row for row in reversed(found) if row.agent is not None
    }
    for finding in audit.findings:
        by_agent.get(finding.agent, own).findings.append(finding)
    for gap in audit.gaps:
        by_agent.get(gap.agent, own).gaps.append(gap)
    if own.findings or own.gaps or not found:
        yield own
    yield from found
