"""An audit as one self-contained web page (extra ``report``): the only door of jinja2.

Here: the figures of the page, and its making. What it looks like is in ``templates``.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from attrs import frozen

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

_MOST_DOMAINS = 15
_MOST_CHARACTERS = 160
_COLOUR = re.compile(r"#([0-9a-fA-F]{3}|[0-9a-fA-F]{6})")
_UNKNOWN_COLOUR = "#8a8a94"
_SEVERITIES: tuple[Severity, ...] = ("high", "medium", "low")
_SPREAD = ((1, 1, "1"), (2, 2, "2"), (3, 5, "3 to 5"), (6, 10, "6 to 10"), (11, 10**9, "over 10"))


@frozen
class Bar:
    """One bar of a chart.

    ``share`` is 0 to 1 of the longest one, ``kind`` names the colour, ``find`` is what a click
    looks for among the workspaces.
    """

    label: str
    count: int
    share: float
    kind: str = "plain"
    hint: str = ""
    find: str = ""


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
    environment.filters["shown"] = lambda text: visible(text, _MOST_CHARACTERS)
    environment.filters["plural"] = plural
    environment.filters["look"] = _look
    return environment


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
        [finding for row in whole for finding in row.findings],
        [gap for row in whole for gap in row.gaps],
        [row for row in per_agent if row.agent is not None],
    )


def _concern(part: WorkspacePart) -> tuple[int, int, int, int, str]:
    counts = part.severities
    worst = (-counts.get("high", 0), -len(part.audit.gaps))
    return (*worst, -counts.get("medium", 0), -counts.get("low", 0), part.audit.workspace)


def _figures(audits: Sequence[WorkspaceAudit]) -> Figures:
    shared = shared_domains(audits)
    totals = AuditTotals()
    for audit in audits:
        totals = totals.plus(audit)
    found = [finding for audit in audits for finding in audit.findings]
    listed = Counter(
        domain
        for audit in audits
        for agent in audit.agents
        for domain in {each.lower() for each in agent.allowed_domains or ()}
    )
    return Figures(
        totals.plus_findings(shared),
        len(listed),
        shared,
        _rules(found, shared),
        _bars(listed.most_common(_MOST_DOMAINS), clickable=True),
        _bars(list(_spread(listed)), clickable=False),
    )


def _bars(counts: Sequence[tuple[str, int]], *, clickable: bool) -> tuple[Bar, ...]:
    longest = max((count for _, count in counts), default=1) or 1
    return tuple(
        Bar(label, count, count / longest, find=label if clickable else "")
        for label, count in counts
    )


def _rules(found: Iterable[Finding], shared: Iterable[Finding]) -> tuple[Bar, ...]:
    """Count findings by rule, the severest rules first; shared ones belong to no workspace."""
    clickable = Counter((finding.rule, finding.severity) for finding in found)
    counts = clickable + Counter((finding.rule, finding.severity) for finding in shared)
    longest = max(counts.values(), default=1)
    return tuple(
        Bar(
            rule,
            count,
            count / longest,
            severity,
            FINDING_RULES[rule].sentence if rule in FINDING_RULES else "",
            rule if (rule, severity) in clickable else "",
        )
        for (rule, severity), count in sorted(
            counts.items(), key=lambda each: (_SEVERITIES.index(each[0][1]), -each[1], each[0])
        )
    )


def _spread(listed: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    for least, most, label in _SPREAD:
        yield label, sum(least <= count <= most for count in listed.values())
