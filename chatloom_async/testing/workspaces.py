"""Workspaces as data: what a ``Sandbox`` serves, and a generator for large ones.

Nothing here knows about HTTP; the demonstration set is in ``demo``.
"""

from datetime import UTC, datetime, timedelta

from attrs import field, frozen


@frozen
class SandboxAgent:
    """One agent, with the values of the API reference's example by default.

    ``created_at`` is sent as it stands and must be ISO 8601 (without an offset it counts as UTC),
    else ValueError. ``status="deleted"`` hides the agent. ``domains`` are oldest first.
    """

    id: str
    name: str = "Sales Assistant"
    primary_color: str = "#611F69"
    secondary_color: str = "#764ba2"
    position: str = "bottom-right"
    template: str = "modern"
    status: str = "active"
    created_at: str = "2026-01-15T09:00:00.000Z"
    domains: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        _ = self.created
        if isinstance(self.domains, str):
            raise TypeError(f"domains is a tuple of names: ({self.domains!r},)")

    @property
    def created(self) -> datetime:
        """``created_at`` as an aware datetime, to order by."""
        parsed = datetime.fromisoformat(self.created_at)
        return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


@frozen
class Workspace:
    """A workspace: its name (the handle tests use), its API key, its agents.

    The key of a ``revoked`` one is refused with a 401.
    """

    name: str
    key: str = field(repr=False)
    agents: tuple[SandboxAgent, ...] = ()
    revoked: bool = False


def make_workspace(name: str, key: str, agents: int = 10, domains: int = 2) -> Workspace:
    """A workspace of that many agents with that many domains each; the same every time.

    Agents are created an hour apart, the last one newest: ``agt_<name>_1``, ``agt_<name>_2`` …
    """
    return Workspace(name, key, tuple(_agent(name, n, domains) for n in range(1, agents + 1)))


def iso(moment: datetime) -> str:
    """A moment as the API writes it: UTC, milliseconds, Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _agent(workspace: str, number: int, domains: int) -> SandboxAgent:
    return SandboxAgent(
        f"agt_{workspace}_{number}",
        name=f"Assistant {number}",
        created_at=iso(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number)),
        domains=tuple(f"site{n}.agent{number}.example" for n in range(1, domains + 1)),
    )
