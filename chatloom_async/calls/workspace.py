"""One workspace read whole: its agents, then the domains of each.

Clients and audits read by it. Not here: the values (``models``), rules and findings (``audit``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from attrs import define, field

from chatloom_async.errors import APIStatusError, AuthenticationError, ChatloomError
from chatloom_async.fanout import Failure, FanOut
from chatloom_async.models import (
    Agent,
    AgentList,
    AllowedDomains,
    AuditedAgent,
    Gap,
    WorkspaceSnapshot,
)

_LONGEST_MESSAGE = 500
_NOT_OURS = "the source of the key, a hook or a subclass failed; its words may hold the key"


async def read_workspace(
    list_agents: Callable[[], Awaitable[AgentList]],
    get_allowed_domains: Callable[[str], Awaitable[AllowedDomains]],
    *,
    lookups: int = 100,
) -> WorkspaceSnapshot:
    """Read a workspace through a client's two methods, with so many look-ups at once.

    What cannot be looked up is a gap; a key that is refused meanwhile is one gap.

    Raises:
        ChatloomError: the agents cannot be listed.
    """
    listed = await list_agents()
    reading = _Reading(get_allowed_domains, listed.agents, listed.answered_at, listed.is_stale)
    places = range(len(listed.agents))
    async with FanOut(reading.look_up, places, concurrency=lookups) as answers:
        async for answer in answers:
            if isinstance(answer, Failure):
                raise answer.error
    key_gap = () if reading.key_gap is None else (reading.key_gap,)
    return WorkspaceSnapshot(
        tuple(
            AuditedAgent.of(agent, reading.domains.get(place)) for place, agent in enumerate(listed)
        ),
        (*key_gap, *(reading.gaps[place] for place in sorted(reading.gaps))),
        listed.count,
        reading.answered_at,
        reading.is_stale,
    )


@define(eq=False, repr=False)
class _Reading:
    """What several tasks have found of one workspace."""

    get_allowed_domains: Callable[[str], Awaitable[AllowedDomains]]
    agents: tuple[Agent, ...]
    answered_at: datetime | None
    is_stale: bool
    domains: dict[int, tuple[str, ...]] = field(factory=dict)
    gaps: dict[int, Gap] = field(factory=dict)
    key_gap: Gap | None = None

    async def look_up(self, place: int) -> None:
        """Look up the domains of one agent."""
        if self.key_gap is not None:
            return
        agent_id = self.agents[place].id
        try:
            answer = await self.get_allowed_domains(agent_id)
        except AuthenticationError as error:
            self.key_gap = gap(None, error)
        except ChatloomError as error:
            self.gaps[place] = gap(agent_id, error)
        else:
            self.domains[place] = answer.domains
            self.is_stale = self.is_stale or answer.is_stale
            if answer.answered_at is not None and self.answered_at is not None:
                self.answered_at = min(self.answered_at, answer.answered_at)


def gap(agent: str | None, error: Exception) -> Gap:
    """Return the gap that an error leaves, in one agent or (None) in the whole workspace."""
    kind = type(error).__name__
    if not isinstance(error, ChatloomError):
        return Gap(agent, kind, None, _NOT_OURS)
    status = error.status if isinstance(error, APIStatusError) else None
    return Gap(agent, kind, status, error.message[:_LONGEST_MESSAGE])
