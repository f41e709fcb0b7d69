"""An audit as one self-contained web page (extra ``cli``): the only door of jinja2.

Not here: what it counts (``figures``), what it looks like (the templates beside it).
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from chatloom_async.audit.draft import Draft, write
from chatloom_async.audit.figures import NewFindings, bars_of, figures, told
from chatloom_async.audit.judge import Judge
from chatloom_async.audit.results import AuditTotals, WorkspaceAudit
from chatloom_async.audit.text import plural, visible
from chatloom_async.errors import ConfigurationError
from chatloom_async.models import AuditedAgent

if TYPE_CHECKING:
    from jinja2 import Environment

_MOST_CHARACTERS = 160
_MOST_NAMED = 20  # workspaces that are missing
_FEW = 12  # findings of a kind that are shown at once, without a click
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
    environment = _environment()
    judged = sorted(((audit, AuditTotals().plus(audit)) for audit in audits), key=_concern)
    shown = [audit for audit, _ in judged]
    # A class name for each pair of colours: thousands of agents share a few.
    pairs = dict.fromkeys(_look(agent) for audit in shown for agent in audit.agents)
    looks = {pair: f"look{number}" for number, pair in enumerate(pairs)}
    launchers = (
        f".{name}::before {{ background: linear-gradient(90deg, {one} 50%, {other} 50%); }}\n"
        for (one, other), name in looks.items()
    )
    style, script = _asset("report.css") + "".join(launchers), _asset("report.js")
    page = environment.get_template("report.html").stream(
        figures=figures(shown, context.new, Judge(ignored=context.ignored)),
        workspaces=judged,
        numbers={audit.workspace: number for number, audit in enumerate(shown)},
        looks=looks,
        made_at=made_at,
        context=context,
        style=style,
        script=script,
        few=_FEW,
        most_named=_MOST_NAMED,
    )
    page.enable_buffering(1000)
    try:
        with Draft.begin(path) as draft:
            for text in page:
                write(draft.file, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise ConfigurationError(f"cannot write {str(path)!r}: {error.strerror}") from None


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
        "told": told,
        "digest": _digest,
        "bars_of": bars_of,
    }
    return environment


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


def _concern(judged: tuple[WorkspaceAudit, AuditTotals]) -> tuple[int, int, int, int, str]:
    audit, totals = judged
    found = totals.findings
    return (-found["high"], -totals.gaps, -found["medium"], -found["low"], audit.workspace)
