"""Several keys at one address: one limit of all, limits of their own, and one that hangs."""

import asyncio
import itertools
from collections.abc import Iterator

import pytest

from benchmarks.simulated_clients import NO_CEILING, Crew
from benchmarks.simulated_jobs import Job, Outcome, run
from chatloom_async import AsyncChatloom, RateLimitError
from chatloom_async.auth import ApiKey
from chatloom_async.ratelimit.common import CommonGate, Suspicion
from chatloom_async.ratelimit.limiter import RateLimiter
from chatloom_async.ratelimit.registry import LimiterRegistry
from chatloom_async.ratelimit.values import Stage
from chatloom_async.ratelimit.waiting import WaitLimits
from chatloom_async.testing import Quota, StubReply, StubTransport
from tests.virtual import now

pytestmark = pytest.mark.virtual
KEYS = "abc"


def play(quota: Quota, calls: int, keys: int) -> Outcome:
    return run(Job(quota, calls, 60, Crew(keys=keys), one_heap=False), "chatloom_async", 1)


class Address:
    """A server that refuses the keys it is told to; one key hangs."""

    def __init__(self, retry_after: str = "60") -> None:
        self.transport = StubTransport(self.answers())
        self.refusal = StubReply(status=429, headers={"Retry-After": retry_after}, after=0.05)
        self.full: range | None = range(0)  # None: it refuses all
        self.hangs = range(0)

    def answers(self) -> Iterator[StubReply]:
        while True:
            asking = self.transport.requests[-1].fingerprint
            if self.full is None or asking in map(fingerprint, self.full):
                yield self.refusal
            else:
                hangs = asking in map(fingerprint, self.hangs)
                yield StubReply({"domains": []}, after=14.0 if hangs else 0.05)

    def ask(self, keys: range, times: int = 1) -> list[asyncio.Task[object]]:
        clients = [
            AsyncChatloom(f"clf_{number}", pool=self.transport, rate_limit=NO_CEILING)
            for number in keys
        ]
        return [
            asyncio.create_task(client.get_allowed_domains("agt_1"))
            for client in clients
            for _ in range(times)
        ]


def fingerprint(number: int) -> str:
    return ApiKey(f"clf_{number}").fingerprint


@pytest.mark.parametrize(
    ("quota", "refused"),
    [
        (Quota.token_bucket(1200, 20).telling("silent"), 0.07),
        (Quota.token_bucket(1200, 20).telling("silent").answering(503, html=True), 0.07),
        (Quota.fixed_window(40, 2).telling("silent"), 0.07),
        (Quota.fixed_window(40, 2).telling("draft-7"), 0.07),
    ],
)
def test_many_keys_behind_one_address_share_its_limit(quota: Quota, refused: float) -> None:
    outcome = play(quota.per_address(), calls=600, keys=12)
    assert outcome.failed == 0
    assert outcome.time < 1.3
    assert outcome.refused < refused


async def test_many_keys_have_many_in_flight() -> None:
    await asyncio.gather(*Address().ask(range(1, 301)))
    assert now() < 4 * 0.05


@pytest.mark.parametrize(
    "quota", [Quota.token_bucket(300, 20), Quota.fixed_window(5, 1).telling("silent")]
)
def test_keys_with_limits_of_their_own_go_alone(quota: Quota) -> None:
    outcome = play(quota, calls=1200, keys=20)
    assert outcome.failed == 0
    assert outcome.time < 1.4


async def test_keys_that_hang_hold_up_no_other() -> None:
    address = Address()
    address.hangs = range(3)
    hanging = address.ask(range(3), times=20)
    await asyncio.gather(*address.ask(range(3, 50), times=5))
    assert now() < 2.5
    await asyncio.gather(*hanging)


async def test_a_key_with_room_goes_on_meanwhile() -> None:
    address = Address()
    address.full = range(5)
    waiting = address.ask(range(5), times=2)
    await asyncio.sleep(0.2)
    await asyncio.gather(*address.ask(range(5, 10), times=3))
    assert now() < 1.0
    address.full = range(0)
    await asyncio.gather(*waiting)


@pytest.mark.parametrize("way", [0.75, 1.5])
def test_slow_answers_open_the_gate_and_fill_it(way: float) -> None:
    quota = Quota.fixed_window(60, 10).telling("silent").per_address()
    job = Job(quota, 400, 400, Crew(keys=40), one_heap=False, latency=lambda _: (way, way))
    assert run(job, "chatloom_async", 1).time < 2


async def test_trials_are_of_keys_with_calls_that_wait() -> None:
    address = Address()
    address.full = range(3)
    waiting = address.ask(range(3), times=2)
    await asyncio.sleep(0.2)
    await asyncio.gather(*address.ask(range(3, 11)))
    assert now() < 1.0
    for each in waiting:
        each.cancel()


@pytest.mark.parametrize(("failures", "next_in_turn"), [(0, 1), (9, 0)])
async def test_a_key_sends_nothing_while_it_closes(failures: int, next_in_turn: int) -> None:
    limiters, error = LimiterRegistry(), RateLimitError(429, "full")
    gates = [limiters.get("https://a.example", ApiKey(f"clf_{n}"), NO_CEILING) for n in range(4)]
    gate = gates[next_in_turn]
    for _ in range(failures):
        gate.failed(await gate.wait("/a", WaitLimits()), "/a", error)
    turns = [asyncio.create_task(one.wait("/a", WaitLimits())) for one in gates for _ in range(6)]
    await asyncio.sleep(0.1)  # as many as may be of all keys are in flight
    sent, departure = gate.statistics().sent, turns[6 * next_in_turn].result()
    if failures:
        gate.failed(departure, "/a", error)
    else:
        gate.refused(departure, error, 30.0)
    statistics = gate.statistics()
    assert statistics.state != "open"
    assert statistics.sent == sent
    for turn in turns:
        turn.cancel()


async def test_a_call_held_back_by_all_says_so() -> None:
    address = Address()
    address.full = None
    waiting = address.ask(range(5))
    await asyncio.sleep(0.2)
    statistics = address.transport.shared.limiters.statistics().values()
    assert {each.limited_by for each in statistics} == {"address"}
    address.full = range(0)
    await asyncio.gather(*waiting)


async def test_all_keys_end_at_once_before_long_pauses() -> None:
    address = Address(retry_after="300")
    address.full = None
    for keys in (range(200), range(200, 210)):
        outcomes = await asyncio.gather(*address.ask(keys), return_exceptions=True)
        assert all(isinstance(outcome, RateLimitError) for outcome in outcomes)
    assert now() < 1.0
    assert len(address.transport.requests) < 80


def two_of_one_limit() -> tuple[RateLimiter, RateLimiter, CommonGate]:
    limiters, url = LimiterRegistry(), "https://a.example"
    first, second = (limiters.get(url, ApiKey(f"clf_{name}"), NO_CEILING) for name in "ab")
    common = first.common
    assert common is not None
    common.stage, common.asked = Stage.LIMITING, True
    return first, second, common


async def test_calls_behind_a_trial_do_not_wait_for_too_long() -> None:
    first, second, common = two_of_one_limit()
    common.schedule.concurrency.room = 1
    second._schedule.concurrency.room = 1  # noqa: SLF001 - after its trial it has no room for more
    limits = WaitLimits(max_retry_after=10)
    departure = await first.wait("/a", limits)
    behind = [asyncio.create_task(second.wait("/a", limits)) for _ in range(3)]
    await asyncio.sleep(0)
    first.refused(departure, RateLimitError(429, "full"), 300.0)
    await asyncio.sleep(0.1)
    assert [isinstance(each.exception(), RateLimitError) for each in behind] == [False, True, True]


async def test_a_probe_of_before_a_refused_one_opens_nothing() -> None:
    first, second, common = two_of_one_limit()
    error = RateLimitError(429, "full")
    first.refused(await first.wait("/a", WaitLimits()), error, None)
    hanging = await first.wait("/a", WaitLimits())
    second.refused(await second.wait("/a", WaitLimits()), error, None)  # it left as the other hung
    first.failed(hanging, "/a", error)
    assert common.schedule.closed


async def test_each_refused_trial_puts_off_the_next() -> None:
    address = Address()
    address.full = None
    waiting = address.ask(range(8))
    await asyncio.sleep(50)
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    trials = sorted({round(request.at, 1) for request in address.transport.requests})
    pauses = [later - earlier for earlier, later in itertools.pairwise(trials)]
    assert 3 <= len(pauses) <= 7
    assert pauses == pytest.approx(sorted(pauses), abs=0.2)


@pytest.mark.parametrize(
    ("accepted", "apart", "suspected"), [(0, 0.1, True), (6, 0.1, False), (0, 1.1, False)]
)
def test_three_keys_refused_together_arouse_suspicion(
    accepted: int, apart: float, *, suspected: bool
) -> None:
    suspicion = Suspicion()
    found = [suspicion.add(10 + n * apart, key, accepted) for n, key in enumerate(KEYS)]
    assert found == [False, False, suspected]


def test_nothing_is_suspected_soon_after_a_mistake() -> None:
    suspicion = Suspicion()
    suspicion.was_wrong(10.0)
    assert not any(suspicion.add(69.0, key, 0) for key in KEYS)
    assert any(suspicion.add(71.0, key, 0) for key in KEYS)
