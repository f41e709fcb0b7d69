"""One workspace read whole: its agents, then the domains of each.

Clients and audits read by it. Not here: the values (``models``), rules and findings (``audit``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from chatloom_async.errors import APIStatusError, AuthenticationError, ChatloomError
from chatloom_async.fanout import Failure, FanOut
from chatloom_async.models import AgentList, AllowedDomains, AuditedAgent, Gap, WorkspaceSnapshot

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
    answers: dict[int, AllowedDomains] = {}
    gaps: dict[int, Gap] = {}
    key_gap: tuple[Gap, ...] = ()

    async def look_up(place: int) -> None:
        nonlocal key_gap
        if key_gap:
            return
        agent_id = listed[place].id
        try:
            answers[place] = await get_allowed_domains(agent_id)
        except AuthenticationError as error:
            key_gap = (gap(None, error),)
        except ChatloomError as error:
            gaps[place] = gap(agent_id, error)

    async with FanOut(look_up, range(len(listed)), concurrency=lookups) as ended:
        async for each in ended:
            if isinstance(each, Failure):
                raise each.error
    read: tuple[AgentList | AllowedDomains, ...] = (listed, *answers.values())
    moments = [each.answered_at for each in read if each.answered_at is not None]
    return WorkspaceSnapshot(
        tuple(
            AuditedAgent.of(agent, answers[place].domains if place in answers else None)
            for place, agent in enumerate(listed)
        ),
        (*key_gap, *(gaps[place] for place in sorted(gaps))),
        listed.count,
        min(moments, default=None),
        any(each.is_stale for each in read),
    )


def gap(agent: str | None, error: Exception) -> Gap:
    """Return the gap that an error leaves, in one agent or (None) in the whole workspace."""
    kind = type(error).__name__
    if not isinstance(error, ChatloomError):
        return Gap(agent, kind, None, _NOT_OURS)
    status = error.status if isinstance(error, APIStatusError) else None
    return Gap(agent, kind, status, error.message[:_LONGEST_MESSAGE])
