"""A call may be cancelled, closed or timed out at any of its awaits; nothing else may notice."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from attrs import field, frozen

from chatloom_async import (
    AllowedDomains,
    AsyncChatloom,
    ClientClosedError,
    ConnectionPool,
    RateLimit,
    RetryPolicy,
)
from tests.clients import KEY, client_at
from tests.faults.case import answer, says
from tests.faults.server import Close, Hang, Pause, Script, Server

USUAL = {
    "retry": RetryPolicy(attempts=3, initial_delay=0.01),
    "rate_limit": RateLimit(per_minute=None),
}
NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # reading those of a machine takes long
pytestmark = pytest.mark.looptime

Call = Callable[[], Coroutine[None, None, AllowedDomains]]


async def slow_key() -> str:
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return KEY


@frozen
class Scene:
    """A call on its way through one part of the machinery."""

    name: str
    scripts: tuple[Script, ...] = ((answer(),),)
    options: Mapping[str, Any] = field(factory=dict)
    siblings: int = 0

    def __str__(self) -> str:
        return self.name


QUICK = {"retry": RetryPolicy(deadline=9.0, initial_delay=0.01)}
_ERROR = (says({"error": "later"}, status=503),)
_REFUSAL = (says({"error": "slow down"}, "Retry-After: 0.05", status=429),)
SCENES = (
    Scene("answered at once"),
    Scene(
        "answered in pieces",
        ((answer()[:40], Pause(0.02), answer()[40:90], Pause(0.02), answer()[90:]),),
    ),
    Scene("tried again after a wait", (_ERROR, _ERROR, (answer(),))),
    Scene("tried again after a lost connection", ((Close(),), (answer(),))),
    Scene("tried again after a timeout", ((Hang(),), (answer(),)), {"timeout": 0.05}),
    Scene("waiting at a closed gate", (_REFUSAL, _REFUSAL, (answer(),)), siblings=2),
    Scene("waiting for its turn", options={"rate_limit": RateLimit(600, burst=1)}, siblings=3),
    Scene("waiting for a slot", siblings=3),
    Scene("waiting for a key", options={"key": slow_key}),
    Scene("under a deadline", (_ERROR, (answer(),)), QUICK),
    Scene("without a gate", (_ERROR, (answer(),)), {"rate_limit": None}),
)


@asynccontextmanager
async def played(scene: Scene) -> AsyncGenerator[tuple[AsyncChatloom, Server]]:
    async with (
        Server(scene.scripts) as server,
        ConnectionPool(limit=1, ssl=NO_AUTHORITIES) as pool,
        client_at(server.url, pool, **{**USUAL, **scene.options}) as chatloom,
    ):
        yield chatloom, server


async def pass_steps(n: int) -> None:
    """Let the loop turn: first one iteration for each step, later a moment of virtual time."""
    for step in range(n):
        await asyncio.sleep(0 if step < 40 else 0.02)


async def assert_whole(chatloom: AsyncChatloom, server: Server) -> None:
    """Nothing is taken, nobody waits, and a slot, a ticket and a connection are to be had."""
    statistics = chatloom.stats()
    assert statistics.in_flight == 0
    if statistics.limiter is not None:
        assert (statistics.limiter.in_flight, statistics.limiter.waiting) == (0, 0)
    server.play((answer(),))
    async with asyncio.timeout(10):
        assert len(await chatloom.get_allowed_domains("after")) == 2


async def interrupt(scene: Scene, n: int) -> asyncio.Task[AllowedDomains]:
    """Cancel one call after n steps and see to everything around it."""
    async with played(scene) as (chatloom, server):
        siblings = [
            asyncio.create_task(chatloom.get_allowed_domains(f"sibling-{number}"))
            for number in range(scene.siblings)
        ]
        task = asyncio.create_task(chatloom.get_allowed_domains("agt_1"))
        await pass_steps(n)
        task.cancel()
        await asyncio.wait([task])
        for sibling in siblings:
            async with asyncio.timeout(10):
                assert len(await sibling) == 2
        await assert_whole(chatloom, server)
        return task


async def end_of(scene: Scene) -> int:
    """Count the steps after which a call is over."""
    async with played(scene) as (chatloom, _):
        names = ["agt_1", *(f"sibling-{number}" for number in range(scene.siblings))]
        *_, task = [asyncio.create_task(chatloom.get_allowed_domains(name)) for name in names[::-1]]
        steps = 0
        while not task.done():
            await asyncio.sleep(0 if steps < 40 else 0.02)
            steps += 1
        return steps


@pytest.mark.parametrize("scene", SCENES, ids=str)
async def test_cancelling_at_any_step_leaves_everything_whole(scene: Scene) -> None:
    steps = await end_of(scene)
    tasks = [await interrupt(scene, n) for n in range(steps)]
    assert all(task.cancelled() or len(task.result()) == 2 for task in tasks)
    assert sum(task.cancelled() for task in tasks) >= min(steps, 5)


@pytest.mark.parametrize("scene", SCENES, ids=str)
async def test_a_timeout_at_any_step_is_the_callers(scene: Scene) -> None:
    for n in range(0, await end_of(scene), 3):
        async with played(scene) as (chatloom, server):
            scope = asyncio.timeout(None)

            async def call() -> AllowedDomains:
                async with scope:
                    return await chatloom.get_allowed_domains("agt_1")

            task = asyncio.create_task(call())
            await pass_steps(n + 1)
            if not task.done():
                scope.reschedule(asyncio.get_running_loop().time())
            await asyncio.wait([task])
            assert task.exception() is None or type(task.exception()) is TimeoutError
            assert task.cancelling() == 0
            await assert_whole(chatloom, server)


@pytest.mark.parametrize("scene", SCENES, ids=str)
async def test_closing_at_any_step_ends_the_call_alone(scene: Scene) -> None:
    for n in range(await end_of(scene)):
        async with played(scene) as (chatloom, server):
            other = chatloom.with_options(timeout=20.0)

            async def call() -> None:
                with suppress(ClientClosedError):
                    await chatloom.get_allowed_domains("agt_1")
                await asyncio.sleep(0.1)  # a cancellation that comes too late would hit this

            task = asyncio.create_task(call())
            await pass_steps(n)
            closed_at = asyncio.get_running_loop().time()
            await chatloom.aclose()
            await task
            assert asyncio.get_running_loop().time() - closed_at < 0.11
            assert task.cancelling() == 0
            await assert_whole(other, server)


@pytest.mark.parametrize("scene", SCENES, ids=str)
async def test_cancelling_wins_over_closing(scene: Scene) -> None:
    for n in range(await end_of(scene)):
        async with played(scene) as (chatloom, _):
            task = asyncio.create_task(chatloom.get_allowed_domains("agt_1"))
            await pass_steps(n)
            over = task.done()
            task.cancel()
            await chatloom.aclose()
            await asyncio.wait([task])
            assert over or task.cancelled()


@pytest.mark.parametrize(
    ("scene", "steps", "early"),
    [
        # Earlier than the timeout, by less than the resolution of the loop's clock.
        (Scene("timeout", ((Hang(),),), {"timeout": 1.0}), 20, 5e-10),
        (Scene("deadline", ((Hang(),),), {"retry": RetryPolicy(deadline=1.0)}), 0, 0.0),
    ],
    ids=str,
)
async def test_cancelling_in_the_last_tick_still_cancels(
    scene: Scene, steps: int, early: float
) -> None:
    async with played(scene) as (chatloom, server):
        task = asyncio.create_task(chatloom.get_allowed_domains("agt_1"))
        await pass_steps(steps)
        loop = asyncio.get_running_loop()
        loop.call_at(loop.time() + 1.0 - early, task.cancel)
        await asyncio.wait([task])
        assert task.cancelled()
        await assert_whole(chatloom, server)
