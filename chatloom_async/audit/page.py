"""An audit as one self-contained web page (extra ``cli``): the only door of jinja2.

Here: what the page counts and groups. Not here: what it looks like (the templates beside it).
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from importlib.resources import files
from itertools import chain
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from chatloom_async.audit.domains import name_of
from chatloom_async.audit.draft import write_whole
from chatloom_async.audit.findings import FINDING_RULES, text_of
from chatloom_async.audit.judge import Judge
from chatloom_async.audit.results import SEVERITIES, AuditTotals, Finding, Severity, WorkspaceAudit
from chatloom_async.audit.text import plural, visible
from chatloom_async.errors import ConfigurationError
from chatloom_async.models import AuditedAgent

if TYPE_CHECKING:
    from jinja2 import Environment

NewFindings = Collection[tuple[str | None, Finding]]
"""Findings that an earlier audit has not, each with its workspace; None: it concerns several."""

_MOST_CHARACTERS = 160
_MOST_NAMED = 20  # workspaces that are missing
_MOST_DOMAINS = 12
_FEW = 12  # findings of a kind that are shown at once, without a click
_SPREAD = {"1": (1, 1), "2": (2, 2), "3 to 5": (3, 5), "6 to 10": (6, 10), "over 10": (11, inf)}
_COLOUR = re.compile(r"#([0-9a-fA-F]{3}|[0-9a-fA-F]{6})")
_UNKNOWN_COLOUR = "#8a8a94"


@frozen
class ReportContext:
    """What a page says beyond the workspaces that were read.

    Attributes:
        lacking: how many workspaces are missing, for the run was cut.
        missing: their names, as far as they are known.
        since: when the earlier audit was made that findings are compared with; "" if with none.
        new: the findings which that audit has not, each with its workspace.
        ignored: ids of the rules that the run left out.
    """

    lacking: int = 0
    missing: tuple[str, ...] = ()
    since: str = ""
    new: NewFindings = ()
    ignored: tuple[str, ...] = ()


@frozen
class _Line:
    """One finding where it is told."""

    workspace: str | None  # None: it concerns several
    agent: str  # its name
    finding: Finding
    new: bool


def write_report(
    audits: Iterable[WorkspaceAudit],
    path: str | Path,
    made_at: datetime,
    context: ReportContext = ReportContext(),
) -> None:
    """Write the page of an audit; ``made_at`` stands in its heading.

    Every text on it is escaped and shown on one line, cut to 160 characters; the page loads nothing
    and runs no script but its own, which its Content-Security-Policy enforces.

    Raises:
        ConfigurationError: jinja2 is not installed, or the file cannot be written.
    """
    template = _environment().get_template("report.html")
    counted = sorted(((audit, AuditTotals().plus(audit)) for audit in audits), key=_concern)
    shown = [audit for audit, _ in counted]
    shared = Judge(ignored=context.ignored).across(shown)
    totals = AuditTotals().plus_findings(shared)
    for audit in shown:
        totals = totals.plus(audit)
    # A class name for each pair of colours: thousands of agents share a few.
    pairs = dict.fromkeys(_look(agent) for audit in shown for agent in audit.agents)
    looks = {pair: f"look{number}" for number, pair in enumerate(pairs)}
    launchers = (
        f".{name}::before {{ background: linear-gradient(90deg, {one} 50%, {other} 50%); }}\n"
        for (one, other), name in looks.items()
    )
    page = template.stream(
        context=context,
        made_at=made_at,
        totals=totals,
        workspaces=counted,
        numbers={audit.workspace: number for number, audit in enumerate(shown)},
        groups=_groups(_lines(shown, shared, context.new)),
        rules=FINDING_RULES,
        charts=_charts(shown),
        looks=looks,
        style=_asset("report.css") + "".join(launchers),
        script=_asset("report.js"),
        few=_FEW,
        most_named=_MOST_NAMED,
    )
    page.enable_buffering(1000)
    write_whole(path, (text.encode("utf-8", "backslashreplace") for text in page))


def _environment() -> Environment:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigurationError(
            "the report needs jinja2: pip install 'chatloom_async[cli]'"
        ) from None
    environment = Environment(
        loader=PackageLoader("chatloom_async.audit"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "shown": _shown,
        "plural": plural,
        "look": _look,
        "message": text_of,
        "digest": _digest,
        "bars": _bars,
    }
    return environment


def _concern(counted: tuple[WorkspaceAudit, AuditTotals]) -> tuple[int, int, int, int, str]:
    audit, totals = counted
    found = totals.findings
    return (-found["high"], -totals.gaps, -found["medium"], -found["low"], audit.workspace)


def _lines(
    audits: Iterable[WorkspaceAudit], shared: Iterable[Finding], new: NewFindings
) -> list[_Line]:
    """Return every finding, new ones first, then by workspace."""
    known = frozenset(new)
    lines = [_Line(None, "", each, (None, each) in known) for each in shared]
    for audit in audits:
        names: dict[str | None, str] = {agent.id: agent.name for agent in audit.agents}
        for each in audit.findings:
            agent = names.get(each.agent, each.agent or "")
            lines.append(_Line(audit.workspace, agent, each, (audit.workspace, each) in known))
    return sorted(lines, key=lambda line: (not line.new, line.workspace or ""))


def _groups(lines: Iterable[_Line]) -> list[tuple[tuple[str, Severity], list[_Line]]]:
    """Group findings by rule and severity, the gravest first."""
    groups: defaultdict[tuple[str, Severity], list[_Line]] = defaultdict(list)
    for line in lines:
        groups[line.finding.rule, line.finding.severity].append(line)
    return sorted(
        groups.items(), key=lambda item: (SEVERITIES.index(item[0][1]), -len(item[1]), item[0])
    )


def _charts(audits: Sequence[WorkspaceAudit]) -> dict[str, Any]:
    """Return what is shown of domains, where the spellings of one name count as one domain."""
    lists = [agent.allowed_domains or () for audit in audits for agent in audit.agents]
    names = {domain: name_of(domain) for domain in set(chain(*lists))}
    agents = Counter(chain(*(dict.fromkeys(map(names.__getitem__, listed)) for listed in lists)))
    most = agents.most_common(_MOST_DOMAINS)
    bars = {name: number for number, (name, _) in enumerate(most)}
    # The page finds rows by the number of a bar, not by text: texts are cut, and one may be part of
    # another.
    marks = bars | {domain: bars[name] for domain, name in names.items() if name in bars}
    workspaces = Counter(chain(*(_bars(audit, marks) for audit in audits)))
    return {
        "distinct": len(agents),
        "most": [(name, count, workspaces[bars[name]]) for name, count in most],
        "spread": {
            label: sum(least <= count <= greatest for count in agents.values())
            for label, (least, greatest) in _SPREAD.items()
        },
        "marks": marks,
    }


def _bars(audit: WorkspaceAudit, marks: Mapping[str, int]) -> list[int]:
    """Return the numbers of all bars that lead to this workspace."""
    listed = chain(*(agent.allowed_domains or () for agent in audit.agents))
    return sorted({marks[domain] for domain in listed if domain in marks})


def _shown(text: str) -> str:
    """Return the text fit for the page; what would show nothing is named."""
    if text.strip():
        return visible(text, _MOST_CHARACTERS)
    return "(blank)" if text else "(empty)"


def _asset(name: str) -> str:
    return files("chatloom_async.audit").joinpath("templates", name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """Return what a Content-Security-Policy (CSP level 3, §2.3.1) knows an inline element by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _look(agent: AuditedAgent) -> tuple[str, str]:
    """Return the agent's two colours, none that is not a plain hex colour: they go into CSS."""
    primary, secondary = (
        text if _COLOUR.fullmatch(text) else _UNKNOWN_COLOUR
        for text in (agent.primary_color, agent.secondary_color)
    )
    return primary, secondary
