"""Whose rate limiter is whose, and how long one is remembered."""

import asyncio
import gc
from collections.abc import Iterator

import pytest

from chatloom_async import ApiKey, AsyncChatloom, RateLimit, RetryPolicy
from chatloom_async.events import Event, LimiterClosed, LimiterOpened
from chatloom_async.ratelimit.limiter import RateLimiter
from chatloom_async.ratelimit.registry import LimiterRegistry
from chatloom_async.ratelimit.values import ToldLimit
from chatloom_async.ratelimit.waiting import WaitLimits
from chatloom_async.testing import FakeClock, StubReply, StubTransport


def test_limiters_that_know_nothing_any_more_are_forgotten() -> None:
    gates = LimiterRegistry()

    async def audit() -> int:
        for number in range(2000):
            limiter = gates.get("https://a.example", ApiKey(f"clf_{number}"), RateLimit())
            limiter.admitted(leave(limiter), "/a")
            await asyncio.sleep(0.1)
        return len(gates)

    assert FakeClock().run(audit()) <= 10


def leave(limiter: RateLimiter) -> float:
    departure = limiter.try_acquire()
    assert departure is not None
    return departure


@pytest.mark.parametrize(("idle", "remembered"), [(100.0, True), (121.0, False)])
def test_what_was_learned_is_remembered_for_two_minutes(*, idle: float, remembered: bool) -> None:
    clock, limit, gates = FakeClock(), RateLimit(per_minute=None), LimiterRegistry()
    learned = ApiKey("clf_learned")

    async def learn() -> None:
        limiter = gates.get("https://a.example", learned, limit)
        for _ in range(2):
            for _ in range(20):
                departure = limiter.try_acquire()
                if departure is None:
                    departure = await limiter.wait("/a", WaitLimits())
                limiter.admitted(departure, "/a")
                await asyncio.sleep(0.1)
            refused = await limiter.wait("/a", WaitLimits())
            limiter.refused(refused, ConnectionError(), None)
            limiter.admitted(await limiter.wait("/a", WaitLimits()), "/a")

    async def main() -> bool:
        await learn()
        await asyncio.sleep(idle)
        for number in range(3):  # each new one looks at some of the others
            gates.get("https://a.example", ApiKey(f"clf_{number}"), limit)
        gc.collect()
        return gates.get("https://a.example", learned, limit).statistics().rate is not None

    assert clock.run(main()) is remembered


def test_waiting_calls_leave_with_the_current_key() -> None:
    current, clock = ["clf_old"], FakeClock()

    def answers() -> Iterator[StubReply]:
        while True:
            stale = transport.requests[-1].fingerprint != ApiKey(current[0]).fingerprint
            yield StubReply({"domains": []}, 401 if stale else 200, after=0.05)

    async def main() -> int:
        client = AsyncChatloom(lambda: current[0], pool=transport, retry=RetryPolicy(attempts=2))
        calls = [asyncio.create_task(client.get_allowed_domains("agt_1")) for _ in range(300)]
        await asyncio.sleep(2)
        current[0] = "clf_new"
        return len(await asyncio.gather(*calls))

    transport = StubTransport(answers(), clock=clock)
    assert clock.run(main()) == 300
    assert len(transport.requests) <= 310


def test_what_a_key_may_send_outlives_the_loop() -> None:
    registry, limit = LimiterRegistry(), RateLimit(per_minute=60, burst=1)

    async def leaves() -> bool:
        return registry.get("https://a.example", ApiKey("clf_a"), limit).try_acquire() is not None

    assert [asyncio.run(leaves()) for _ in range(3)] == [True, False, False]


def test_a_limit_is_kept_though_loops_overlap() -> None:
    registry, limit = LimiterRegistry(), RateLimit(per_minute=1, burst=1)
    older, left = None, 0
    for _ in range(8):  # as in two threads, of which each begins its next loop while the other runs
        newer = asyncio.Runner()

        async def leaves() -> bool:
            gate = registry.get("https://a.example", ApiKey("clf_a"), limit)
            return gate.try_acquire() is not None

        left += newer.run(leaves())
        if older is not None:
            older.close()
        older = newer
    newer.close()
    assert left == 2


def test_a_quota_told_as_spent_is_remembered() -> None:
    registry = LimiterRegistry()

    async def main() -> bool:
        limiter = registry.get("https://a.example", ApiKey("clf_a"), RateLimit())
        departure = leave(limiter)
        limiter.heard(departure, ToldLimit("ratelimit", 0, 60.0))
        limiter.admitted(departure, "/a")
        del limiter
        await asyncio.sleep(5)
        for number in range(3):  # each new one looks at some of the others
            registry.get("https://a.example", ApiKey(f"clf_{number}"), RateLimit())
        gc.collect()
        limiter = registry.get("https://a.example", ApiKey("clf_a"), RateLimit())
        return limiter.try_acquire() is None

    assert FakeClock().run(main())


def test_a_closed_limiter_that_is_forgotten_opens_once() -> None:
    told = list[Event]()
    registry = LimiterRegistry(told.append)

    async def main() -> None:
        gate = registry.get("https://a.example", ApiKey("clf_a"), RateLimit())
        gate.refused(leave(gate), ConnectionError("429"), 10)
        await asyncio.sleep(200)
        for number in range(2):  # each new one looks at some of the others
            registry.get("https://a.example", ApiKey(f"clf_{number}"), RateLimit())
        gate.admitted(await gate.wait("/a", WaitLimits()), "/a")

    FakeClock().run(main())
    assert [type(event) for event in told] == [LimiterClosed, LimiterOpened]


@pytest.mark.parametrize("goes_on", [True, False])
def test_a_refusal_outlives_the_loop_with_its_clock(*, goes_on: bool) -> None:
    registry, clock = LimiterRegistry(), FakeClock()

    async def refuse() -> None:
        limiter = registry.get("https://a.example", ApiKey("clf_a"), RateLimit())
        await asyncio.sleep(100)
        limiter.refused(leave(limiter), ConnectionError("429"), 60)

    async def probe() -> float:
        limiter = registry.get("https://a.example", ApiKey("clf_a"), RateLimit())
        await limiter.wait("/a", WaitLimits())
        return asyncio.get_running_loop().time()

    clock.run(refuse())
    left = (clock if goes_on else FakeClock()).run(probe())  # another one begins at 0 again
    assert (160 <= left <= 160.1) if goes_on else (left == 0)


def test_a_probe_lost_with_its_loop_is_resent() -> None:
    told = list[Event]()
    registry, clock = LimiterRegistry(told.append), FakeClock()

    async def send_probe(*, refused: bool) -> None:
        limiter = registry.get("https://a.example", ApiKey("clf_a"), RateLimit())
        if refused:
            limiter.refused(leave(limiter), ConnectionError("429"), 1)
        probe = await limiter.wait("/a", WaitLimits())
        if not refused:
            limiter.admitted(probe, "/a")

    clock.run(send_probe(refused=True))
    clock.run(send_probe(refused=False))
    assert clock.monotonic() <= 1.2
    closed, opened = told
    assert isinstance(closed, LimiterClosed)
    assert isinstance(opened, LimiterOpened)
    assert closed.limiter == opened.limiter
