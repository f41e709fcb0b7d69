"""An audit as one self-contained web page (extra ``report``): the only door of jinja2.

Here: the figures of the page, and its making. What it looks like is in ``templates``.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from importlib.resources import files
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from attrs import evolve, frozen

from chatloom_async.audit.findings import FINDING_RULES, shared_domains
from chatloom_async.audit.rows import AuditRow, rows
from chatloom_async.audit.values import (
    AuditedAgent,
    AuditTotals,
    Finding,
    Gap,
    Severity,
    WorkspaceAudit,
)
from chatloom_async.errors import ConfigurationError
from chatloom_async.text import plural, visible

if TYPE_CHECKING:
    from jinja2 import Environment

_MOST_DOMAINS = 12
_MOST_SHARED = 200
_MOST_CHARACTERS = 160
_COLOUR = re.compile(r"#([0-9a-fA-F]{3}|[0-9a-fA-F]{6})")
_UNKNOWN_COLOUR = "#8a8a94"
_SEVERITIES: tuple[Severity, ...] = ("high", "medium", "low")
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
class WorkspacePart:
    """One workspace on the page."""

    audit: WorkspaceAudit
    domains: int
    severities: Mapping[Severity, int]
    findings: Sequence[Finding]
    gaps: Sequence[Gap]
    agents: Sequence[AuditRow]


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


def write_report(audits: Iterable[WorkspaceAudit], path: str | Path, made_at: datetime) -> None:
    """Write the page of an audit; ``made_at`` stands in its heading.

    Every text on it is escaped and shown on one line, cut to 160 characters; the page loads nothing
    and runs no script but its own, which its Content-Security-Policy enforces.

    Raises:
        ConfigurationError: jinja2 is not installed, or the file cannot be written.

    """
    environment = _environment()
    parts = sorted((_part(audit) for audit in audits), key=_concern)
    try:
        with Path(path).open("w", encoding="utf-8", errors="backslashreplace") as file:
            _render(environment, parts, made_at, file)
    except OSError as error:
        raise ConfigurationError(f"cannot write {str(path)!r}: {error.strerror}") from None


def _render(
    environment: Environment, parts: Sequence[WorkspacePart], made_at: datetime, file: TextIO
) -> None:
    looks = _looks(parts)
    style, script = _asset("report.css") + _launchers(looks), _asset("report.js")
    page = environment.get_template("report.html").stream(
        figures=_figures([part.audit for part in parts]),
        workspaces=parts,
        looks=looks,
        made_at=made_at,
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        most_shared=_MOST_SHARED,
    )
    page.enable_buffering(100)
    file.writelines(page)


def _environment() -> Environment:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigurationError(
            "the report needs jinja2: pip install 'chatloom_async[report]'"
        ) from None
    environment = Environment(
        loader=PackageLoader("chatloom_async.audit"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shown"] = _shown
    environment.filters["plural"] = plural
    environment.filters["look"] = _look
    return environment


def _shown(text: str) -> str:
    """Return the text fit for the page; what would show nothing is named."""
    if text.strip():
        return visible(text, _MOST_CHARACTERS)
    return "(blank)" if text else "(empty)"


def _asset(name: str) -> str:
    return files("chatloom_async.audit").joinpath("templates", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Return what a Content-Security-Policy (CSP level 3, §2.3.1) knows an inline element by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _look(agent: AuditedAgent) -> tuple[str, str]:
    """Return the agent's two colours, none that is not a plain hex colour: they go into CSS."""
    primary, secondary = (
        text if _COLOUR.fullmatch(text) else _UNKNOWN_COLOUR
        for text in (agent.primary_color, agent.secondary_color)
    )
    return primary, secondary


def _looks(parts: Iterable[WorkspacePart]) -> dict[tuple[str, str], str]:
    """Return a class name for each pair of colours: thousands of agents share a few."""
    pairs = {_look(agent): None for part in parts for agent in part.audit.agents}
    return {pair: f"look{number}" for number, pair in enumerate(pairs)}


def _launchers(looks: Mapping[tuple[str, str], str]) -> str:
    return "".join(
        f".{name}::before {{ background: linear-gradient(90deg, {one} 50%, {other} 50%); }}\n"
        for (one, other), name in looks.items()
    )


def _part(audit: WorkspaceAudit) -> WorkspacePart:
    per_agent = list(rows(audit))
    whole = [row for row in per_agent if row.agent is None]
    return WorkspacePart(
        audit,
        sum(len(agent.allowed_domains or ()) for agent in audit.agents),
        Counter(finding.severity for finding in audit.findings),
        sorted((finding for row in whole for finding in row.findings), key=_gravity),
        [gap for row in whole for gap in row.gaps],
        [_gravest_first(row) for row in per_agent if row.agent is not None],
    )


def _gravest_first(row: AuditRow) -> AuditRow:
    return evolve(row, findings=tuple(sorted(row.findings, key=_gravity)))


def _gravity(finding: Finding) -> int:
    return _SEVERITIES.index(finding.severity)


def _concern(part: WorkspacePart) -> tuple[int, int, int, int, str]:
    counts = part.severities
    worst = (-counts.get("high", 0), -len(part.audit.gaps))
    return (*worst, -counts.get("medium", 0), -counts.get("low", 0), part.audit.workspace)


def _figures(audits: Sequence[WorkspaceAudit]) -> Figures:
    shared = sorted(shared_domains(audits), key=lambda finding: finding.domain or "")
    totals = AuditTotals()
    for audit in audits:
        totals = totals.plus(audit)
    listed = _listed(audits)
    most = listed.most_common(_MOST_DOMAINS)
    found = Counter(
        (finding.rule, finding.severity) for audit in audits for finding in audit.findings
    )
    numbers = count()
    marks = Marks(
        {rule: next(numbers) for rule in found}, {domain: next(numbers) for domain, _ in most}
    )
    reach = Counter(number for audit in audits for number in marks.of(audit))
    return Figures(
        totals.plus_findings(shared),
        len(listed),
        shared,
        _rules(found + Counter((each.rule, each.severity) for each in shared), marks, reach),
        _domains(most, marks, reach),
        _spread(listed),
        marks,
    )


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
        counts.items(), key=lambda each: (_SEVERITIES.index(each[0][1]), -each[1], each[0])
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
