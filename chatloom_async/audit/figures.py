"""What a report counts and groups: totals, findings by kind, bars of charts; pure, and no page."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from math import inf

from attrs import frozen

from chatloom_async.audit.domains import name_of
from chatloom_async.audit.findings import FINDING_RULES, SHOWN
from chatloom_async.audit.judge import Judge
from chatloom_async.audit.results import SEVERITIES, AuditTotals, Finding, Severity, WorkspaceAudit

NewFindings = Collection[tuple[str | None, Finding]]
"""Findings that an earlier audit has not, each with its workspace; None: it concerns several."""

_MOST_DOMAINS = 12
_SPREAD = {"1": (1, 1), "2": (2, 2), "3 to 5": (3, 5), "6 to 10": (6, 10), "over 10": (11, inf)}


@frozen
class FindingLine:
    """One finding where it is told; ``agent`` is a name, "" where it concerns none or several."""

    workspace: str | None
    agent: str
    finding: Finding
    new: bool


@frozen
class Group:
    """The findings of one rule and severity, new ones first, then by workspace."""

    rule: str
    severity: Severity
    sentence: str
    lines: Sequence[FindingLine]

    @property
    def new(self) -> int:
        """How many of them are new."""
        return sum(line.new for line in self.lines)


@frozen
class Figures:
    """What the page shows above the workspaces.

    Attributes:
        totals: counts over everything.
        distinct: how many domains there are.
        groups: the findings, the gravest first.
        by_domain: the domains that most agents list: which, how many agents and workspaces.
        by_spread: how many domains are listed by so many agents, from a label to a count.
        marks: the places of ``by_domain`` by each spelling of their domain. The page finds rows by
            them and not by text: texts are cut, and one may be part of another.
    """

    totals: AuditTotals
    distinct: int
    groups: Sequence[Group]
    by_domain: Sequence[tuple[str, int, int]]
    by_spread: Mapping[str, int]
    marks: Mapping[str, int]


def told(finding: Finding) -> str:
    """Return what a finding says, the entry that it is about included."""
    domain = finding.domain
    if domain is None or finding.message.startswith(repr(domain[:SHOWN])[:-1]):
        return finding.message
    return f"{domain!r} {finding.message}"


def figures(audits: Sequence[WorkspaceAudit], new: NewFindings, judge: Judge) -> Figures:
    """Count and group what the audits hold; ``new`` are findings that an earlier one has not."""
    shared = judge.across(audits)
    totals = AuditTotals()
    for audit in audits:
        totals = totals.plus(audit)
    lists = [agent.allowed_domains or () for audit in audits for agent in audit.agents]
    names = {domain: name_of(domain) for domain in set(chain(*lists))}
    listed = Counter(chain(*(dict.fromkeys(map(names.__getitem__, domains)) for domains in lists)))
    most = listed.most_common(_MOST_DOMAINS)
    bars = {name: number for number, (name, _) in enumerate(most)}
    marks = bars | {domain: bars[name] for domain, name in names.items() if name in bars}
    reach = Counter(number for audit in audits for number in bars_of(audit, marks))
    return Figures(
        totals.plus_findings(shared),
        len(listed),
        _groups(audits, shared, frozenset(new)),
        [(domain, amount, reach[number]) for number, (domain, amount) in enumerate(most)],
        {
            label: sum(least <= amount <= greatest for amount in listed.values())
            for label, (least, greatest) in _SPREAD.items()
        },
        marks,
    )


def bars_of(audit: WorkspaceAudit, marks: Mapping[str, int]) -> list[int]:
    """Return the numbers of all bars that lead to this workspace."""
    listed = chain(*(agent.allowed_domains or () for agent in audit.agents))
    return sorted({marks[domain] for domain in listed if domain in marks})


def _groups(
    audits: Iterable[WorkspaceAudit], shared: Iterable[Finding], new: NewFindings
) -> tuple[Group, ...]:
    lines: defaultdict[tuple[str, Severity], list[FindingLine]] = defaultdict(list)
    across = WorkspaceAudit("", findings=tuple(shared))
    for audit in (*audits, across):
        workspace = None if audit is across else audit.workspace
        names: dict[str | None, str] = {agent.id: agent.name for agent in audit.agents}
        for each in audit.findings:
            agent = names.get(each.agent, each.agent or "")
            line = FindingLine(workspace, agent, each, (workspace, each) in new)
            lines[each.rule, each.severity].append(line)
    return tuple(
        Group(
            rule,
            severity,
            FINDING_RULES[rule].sentence if rule in FINDING_RULES else "",
            sorted(found, key=lambda line: (not line.new, line.workspace or "")),
        )
        for (rule, severity), found in sorted(
            lines.items(), key=lambda item: (SEVERITIES.index(item[0][1]), -len(item[1]), item[0])
        )
    )
