"""The seam's own parts: an alarm in a loop that was blocked, and what threads share."""

import asyncio

import pytest

from chatloom_async import ApiKey, Cache
from chatloom_async.transport import Alarm, Shared
from tests.threads import in_threads
from tests.virtual import virtual


def block(loop: asyncio.AbstractEventLoop, seconds: float) -> None:
    """Hold the loop up: its clock goes on and nothing else does."""
    time = loop.time
    setattr(loop, "time", lambda: time() + seconds)  # noqa: B010 - mypy forbids to assign a method


@pytest.mark.parametrize(
    ("blocked", "rings"),
    [(0.0, 1.0), (0.01, 1.01), (0.05, 1.1), (3.0, 4.1)],
    ids=["on time", "a busy loop", "a moment late", "suspended"],
)
@virtual
async def test_a_blocked_loops_alarm_waits_for_sockets(blocked: float, rings: float) -> None:
    rang = list[float]()
    loop = asyncio.get_running_loop()
    loop.call_at(0.999_999, block, loop, blocked)
    Alarm(1.0, lambda: rang.append(loop.time()))
    await asyncio.sleep(10)
    assert rang == [pytest.approx(rings, abs=0.001)]


@virtual
async def test_an_alarm_that_is_cancelled_never_rings() -> None:
    rang = list[int]()
    alarm = Alarm(1.0, lambda: rang.append(1))
    await asyncio.sleep(0.5)
    alarm.cancel()
    await asyncio.sleep(10)
    assert rang == []


def test_caches_are_forgotten_while_threads_add_some() -> None:
    shared, workspace = Shared(), (ApiKey("clf_shared"), "https://chatloom.app")
    caches = list[object]()

    async def work() -> None:
        for number in range(1, 500):
            caches.append(shared.answers(Cache(ttl=len(caches) + number)))
            shared.forget(workspace)

    in_threads(3, work)
