"""A demonstration: workspaces like those of an agency's clients, and faults that heal on retry.

Invented data only, in ``demo.toml``, with something in it for an audit to find.
"""

import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from importlib.resources import files

from chatloom_async.testing.api import AGENTS, domains_path
from chatloom_async.testing.faults import Fault
from chatloom_async.testing.workspaces import SandboxAgent, Workspace, iso

_REVOKED = "former-client"

_LOOK = (
    ("#611F69", "#764ba2", "bottom-right", "modern"),
    ("#0B6E4F", "#73BA9B", "bottom-left", "classic"),
    ("#1D3557", "#457B9D", "bottom-right", "minimal"),
    ("#9B2226", "#EE9B00", "top-right", "modern"),
)

# One that no release of a client can know yet.
_NEW_LOOK = ("#222222", "#DDDDDD", "center", "immersive")


def demo_workspaces() -> tuple[Workspace, ...]:
    """Seven workspaces with 66 agents; the last one's key is revoked.

    Among the domains: a wildcard, localhost, an IP address, a URL, one name twice in different
    case, a look-alike in punycode, one domain in two workspaces, and agents with none at all.
    """
    tables = tomllib.loads(files("chatloom_async.testing").joinpath("demo.toml").read_text("utf-8"))
    return tuple(_workspace(*each) for each in tables.items())


def demo_faults() -> tuple[Fault, ...]:
    """What goes wrong in the demonstration: all of it heals on retry but for one agent's 500s."""
    return (
        Fault.status(429, path=_domains("brightleaf", 4), retry_after="0.2"),
        Fault.status(429, path=_domains("northwind-travel", 6), retry_after=1),
        Fault.status(429, path=_domains("kitesoft", 3)),
        Fault.status(429, path=AGENTS, workspace="meridian-books", retry_after="0.5"),
        Fault.status(500, path=_domains("brightleaf", 7), times=2),
        Fault.status(500, path=AGENTS, workspace="orchard-clinic"),
        Fault.status(503, path=_domains("halden-insurance", 2), retry_after="0.3"),
        Fault.status(502, path=_domains("meridian-books", 5)),
        Fault.disconnect(path=_domains("halden-insurance", 5)),
        Fault.cut_body(path=_domains("northwind-travel", 2)),
        Fault.delay(0.4, path=_domains("orchard-clinic", 6)),
        Fault.status(500, path=_domains("kitesoft", 10), times=None),
    )


def _workspace(name: str, table: Mapping[str, list[str]]) -> Workspace:
    agents = (_agent(name, number, *row) for number, row in enumerate(table.items(), start=1))
    return Workspace(name, f"clf_demo_{name}", tuple(agents), revoked=name == _REVOKED)


def _agent(workspace: str, number: int, title: str, domains: list[str]) -> SandboxAgent:
    newest = (workspace, number) == ("kitesoft", 12)
    primary, secondary, position, template = _NEW_LOOK if newest else _LOOK[number % len(_LOOK)]
    return SandboxAgent(
        _id(workspace, number),
        title,
        primary,
        secondary,
        position,
        template,
        created_at=iso(datetime(2025, 2, 3, 9, 30, tzinfo=UTC) + timedelta(days=19 * number)),
        domains=tuple(domains),
    )


def _id(workspace: str, number: int) -> str:
    return f"agt_{workspace.partition('-')[0]}_{number:02d}"


def _domains(workspace: str, number: int) -> str:
    return domains_path(_id(workspace, number))
