"""Whose rate limiter is whose, and how long one is remembered."""

import asyncio
import gc
from collections.abc import Iterator

import pytest

from chatloom_async import ApiKey, AsyncChatloom, RateLimit, RetryPolicy
from chatloom_async.events import Event, LimiterClosed, LimiterOpened
from chatloom_async.ratelimit.limiter import RateLimiter
from chatloom_async.ratelimit.registry import LimiterRegistry
from chatloom_async.ratelimit.values import Stage, ToldLimit
from chatloom_async.ratelimit.waiting import WaitLimits
from chatloom_async.testing import FakeClock, StubReply, StubTransport

pytestmark = pytest.mark.virtual
FAIR, SLOW = RateLimit(), RateLimit(per_minute=1, burst=1)
REFUSAL = ConnectionError("429")


@pytest.fixture
def told() -> list[Event]:
    return []


@pytest.fixture
def registry(told: list[Event]) -> LimiterRegistry:
    return LimiterRegistry(told.append)


def get(registry: LimiterRegistry, key: str = "a", limit: RateLimit = FAIR) -> RateLimiter:
    return registry.get("https://a.example", ApiKey(f"clf_{key}"), limit)


def leave(limiter: RateLimiter) -> float:
    departure = limiter.try_acquire()
    assert departure is not None
    return departure


async def pass_time(registry: LimiterRegistry, seconds: float) -> None:
    await asyncio.sleep(seconds)
    for number in range(3):  # each new one looks at some of the others
        get(registry, str(number))
    gc.collect()


async def test_limiters_that_know_nothing_any_more_are_forgotten(registry: LimiterRegistry) -> None:
    for number in range(2000):
        limiter = get(registry, str(number))
        limiter.admitted(leave(limiter), "/a")
        await asyncio.sleep(0.1)
    assert len(registry) <= 10


@pytest.mark.parametrize(("idle", "remembered"), [(100.0, True), (121.0, False)])
async def test_what_was_learned_is_remembered_for_two_minutes(
    registry: LimiterRegistry, *, idle: float, remembered: bool
) -> None:
    async def learn(limiter: RateLimiter) -> None:
        for _ in range(2):
            for _ in range(20):
                limiter.admitted(await limiter.wait("/a", WaitLimits()), "/a")
                await asyncio.sleep(0.1)
            limiter.refused(await limiter.wait("/a", WaitLimits()), REFUSAL, None)
            limiter.admitted(await limiter.wait("/a", WaitLimits()), "/a")

    await learn(get(registry))
    await pass_time(registry, idle)
    assert (get(registry).statistics().rate is not None) is remembered


async def test_a_quota_told_as_spent_is_remembered(registry: LimiterRegistry) -> None:
    limiter = get(registry)
    departure = leave(limiter)
    limiter.heard(departure, ToldLimit("ratelimit", 0, 60.0))
    limiter.admitted(departure, "/a")
    del limiter
    await pass_time(registry, 5)
    assert get(registry).try_acquire() is None


async def test_a_wait_of_an_hour_is_remembered(registry: LimiterRegistry) -> None:
    limiter = get(registry)
    limiter.refused(leave(limiter), REFUSAL, 3600, 3600)
    del limiter
    await pass_time(registry, 130)
    assert get(registry).try_acquire() is None


async def test_two_limits_of_one_key_are_one_key(registry: LimiterRegistry) -> None:
    limiters, stages = list[RateLimiter](), list[Stage]()
    for key, limit in (("a", FAIR), ("a", SLOW), ("b", FAIR)):
        limiters.append(get(registry, key, limit))
        common = limiters[0].common
        assert common is not None
        stages.append(common.stage)
    assert stages == [Stage.ALONE, Stage.ALONE, Stage.COUNTING]


async def test_a_closed_limiter_that_is_forgotten_opens_once(
    registry: LimiterRegistry, told: list[Event]
) -> None:
    gate = get(registry)
    gate.refused(leave(gate), REFUSAL, 10)
    await pass_time(registry, 200)
    gate.admitted(await gate.wait("/a", WaitLimits()), "/a")
    assert [type(event) for event in told] == [LimiterClosed, LimiterOpened]


async def test_waiting_calls_leave_with_the_current_key() -> None:
    def answers() -> Iterator[StubReply]:
        while True:
            stale = transport.requests[-1].fingerprint != ApiKey(current[0]).fingerprint
            yield StubReply({"domains": []}, 401 if stale else 200, after=0.05)

    current, transport = ["clf_old"], StubTransport(answers())
    client = AsyncChatloom(lambda: current[0], pool=transport, retry=RetryPolicy(attempts=2))
    calls = [asyncio.create_task(client.get_allowed_domains("agt_1")) for _ in range(300)]
    await asyncio.sleep(2)
    current[0] = "clf_new"
    assert len(await asyncio.gather(*calls)) == 300
    assert len(transport.requests) <= 310


def test_a_limit_is_kept_though_loops_overlap(registry: LimiterRegistry) -> None:
    async def leaves() -> bool:
        return get(registry, limit=SLOW).try_acquire() is not None

    older, left = asyncio.Runner(), 0
    for _ in range(8):  # as in two threads, of which each begins its next loop while the other runs
        newer = asyncio.Runner()
        left += newer.run(leaves())
        older.close()
        older = newer
    newer.close()
    assert left == 2


@pytest.mark.parametrize("goes_on", [True, False])
def test_a_refusal_outlives_the_loop_with_its_clock(
    registry: LimiterRegistry, *, goes_on: bool
) -> None:
    clock = FakeClock()

    async def refuse() -> None:
        limiter = get(registry)
        await asyncio.sleep(100)
        limiter.refused(leave(limiter), REFUSAL, 60)

    async def probe() -> float:
        await get(registry).wait("/a", WaitLimits())
        return asyncio.get_running_loop().time()

    clock.run(refuse())
    left = (clock if goes_on else FakeClock()).run(probe())  # another one begins at 0 again
    assert (160 <= left <= 160.1) if goes_on else (left == 0)


def test_a_probe_lost_with_its_loop_is_resent(registry: LimiterRegistry, told: list[Event]) -> None:
    async def refuse() -> None:
        get(registry).refused(leave(get(registry)), REFUSAL, 1)
        await get(registry).wait("/a", WaitLimits())

    async def probe() -> None:
        get(registry).admitted(await get(registry).wait("/a", WaitLimits()), "/a")

    clock = FakeClock()
    clock.run(refuse())
    clock.run(probe())
    assert clock.monotonic() <= 1.2
    closed, opened = told
    assert isinstance(closed, LimiterClosed)
    assert isinstance(opened, LimiterOpened)
    assert closed.limiter == opened.limiter
