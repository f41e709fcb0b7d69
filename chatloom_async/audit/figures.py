"""What a report counts: totals, and the bars of its charts; pure, and no page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import count

from attrs import frozen

from chatloom_async.audit.findings import FINDING_RULES, shared_domains
from chatloom_async.audit.results import (
    SEVERITIES,
    AuditTotals,
    Finding,
    Severity,
    WorkspaceAudit,
)
from chatloom_async.audit.text import plural

_MOST_DOMAINS = 12
_SPREAD = ((1, 1, "1"), (2, 2, "2"), (3, 5, "3 to 5"), (6, 10, "6 to 10"), (11, 10**9, "over 10"))


@frozen
class Bar:
    """One bar of a chart.

    ``share`` is 0 to 1 of the longest one, ``kind`` names the colour; ``number`` is what the rows
    it stands for are marked with, None for a bar that leads to none.
    """

    label: str
    count: int
    share: float
    kind: str = "plain"
    hint: str = ""
    number: int | None = None


@frozen
class Marks:
    """The numbers of the bars that can be clicked.

    The page finds rows by them and not by text: texts are cut, and one may be part of another.
    """

    rules: Mapping[tuple[str, Severity], int]
    domains: Mapping[str, int]

    def rule(self, finding: Finding) -> int | None:
        """Return the number of the finding's bar."""
        return self.rules.get((finding.rule, finding.severity))

    def domain(self, listed: str) -> int | None:
        """Return the number of the domain's bar, if it is among the most allowed ones."""
        return self.domains.get(listed.lower())

    def of(self, audit: WorkspaceAudit) -> list[int]:
        """Return the numbers of all bars that lead to this workspace."""
        numbers = {self.rule(finding) for finding in audit.findings} | {
            self.domain(domain) for agent in audit.agents for domain in agent.allowed_domains or ()
        }
        return sorted(number for number in numbers if number is not None)


@frozen
class Figures:
    """What the page shows above the workspaces."""

    totals: AuditTotals
    distinct: int
    shared: Sequence[Finding]
    by_rule: Sequence[Bar]
    by_domain: Sequence[Bar]
    by_spread: Sequence[Bar]
    marks: Marks


def figures(audits: Sequence[WorkspaceAudit]) -> Figures:
    """Count what the audits hold."""
    shared = shared_domains(audits)
    totals = AuditTotals()
    for audit in audits:
        totals = totals.plus(audit)
    listed = _listed(audits)
    most = listed.most_common(_MOST_DOMAINS)
    found = _by_kind(finding for audit in audits for finding in audit.findings)
    numbers = count()
    marks = Marks(
        {rule: next(numbers) for rule in found}, {domain: next(numbers) for domain, _ in most}
    )
    reach = Counter(number for audit in audits for number in marks.of(audit))
    return Figures(
        totals.plus_findings(shared),
        len(listed),
        shared,
        _rules(found + _by_kind(shared), marks, reach),
        _domains(most, marks, reach),
        _spread(listed),
        marks,
    )


def _by_kind(findings: Iterable[Finding]) -> Counter[tuple[str, Severity]]:
    counts: Counter[tuple[str, Severity]] = Counter()
    for finding in findings:
        counts[finding.rule, finding.severity] += 1
    return counts


def _listed(audits: Iterable[WorkspaceAudit]) -> Counter[str]:
    """Count for each domain the agents that list it."""
    return Counter(
        domain
        for audit in audits
        for agent in audit.agents
        for domain in {each.lower() for each in agent.allowed_domains or ()}
    )


def _rules(
    counts: Counter[tuple[str, Severity]], marks: Marks, reach: Mapping[int, int]
) -> tuple[Bar, ...]:
    """Count findings by rule, the severest rules first; shared ones belong to no workspace."""
    longest = max(counts.values(), default=1)
    bars: list[Bar] = []
    for (rule, severity), amount in sorted(
        counts.items(), key=lambda each: (SEVERITIES.index(each[0][1]), -each[1], each[0])
    ):
        number = marks.rules.get((rule, severity))
        hint = FINDING_RULES[rule].sentence if rule in FINDING_RULES else ""
        where = "" if number is None else f" In {plural(reach[number], 'workspace')}."
        bars.append(Bar(rule, amount, amount / longest, severity, f"{hint}{where}", number))
    return tuple(bars)


def _domains(
    most: Sequence[tuple[str, int]], marks: Marks, reach: Mapping[int, int]
) -> tuple[Bar, ...]:
    return tuple(
        Bar(
            domain,
            amount,
            amount / most[0][1],
            hint=f"{plural(amount, 'agent')} in {plural(reach[number], 'workspace')}.",
            number=number,
        )
        for (domain, amount), number in zip(most, marks.domains.values(), strict=True)
    )


def _spread(listed: Mapping[str, int]) -> tuple[Bar, ...]:
    """Count the domains that so many agents list."""
    counts = [
        (label, sum(least <= agents <= most for agents in listed.values()))
        for least, most, label in _SPREAD
    ]
    longest = max(amount for _, amount in counts) or 1
    return tuple(Bar(label, amount, amount / longest) for label, amount in counts)
