"""What is tried again, how often, after how long, and what bounds it; all in virtual time."""

import asyncio
import logging
import math
import random
from collections.abc import Iterable
from itertools import pairwise, product
from typing import Any
from unittest.mock import Mock

import pytest
from attrs import frozen

from chatloom_async import (
    AgentList,
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AsyncChatloom,
    ChatloomError,
    ConfigurationError,
    DeadlineExceededError,
    InternalServerError,
    RateLimit,
    RateLimitError,
    RetryPolicy,
)
from chatloom_async.errors import ConnectionReason
from chatloom_async.testing import FakeClock, StubReply, StubTransport
from tests.clients import KEY, scripted
from tests.virtual import now

pytestmark = pytest.mark.virtual
OK = StubReply({"agents": [], "count": 0})
FAILING = StubReply(status=503)
LIMITED = StubReply(status=429)
DEFAULT = RetryPolicy()


def asking(status: int, seconds: float) -> StubReply:
    return StubReply(status=status, headers={"Retry-After": str(seconds)})


@frozen
class Told:
    """How a call went: its result or error, when its requests were made and when it ended."""

    result: AgentList | ChatloomError
    at: list[float]
    ended: float

    @property
    def error(self) -> ChatloomError:
        assert isinstance(self.result, ChatloomError), self.result
        return self.result

    @property
    def succeeded(self) -> bool:
        return isinstance(self.result, AgentList)


def call(*replies: StubReply | ChatloomError, **options: Any) -> Told:
    return calls(1, replies, **options)[0]


def calls(count: int, replies: Iterable[StubReply | ChatloomError], **options: Any) -> list[Told]:
    """What became of so many calls at once; ``at`` are the requests of all of them."""
    clock = FakeClock()
    transport = StubTransport(replies, clock=clock)
    client = AsyncChatloom(KEY, pool=transport, **options)
    ended: dict[int, float] = {}

    async def one(number: int) -> AgentList:
        try:
            return await client.list_agents()
        finally:
            ended[number] = clock.monotonic()

    async def main() -> list[AgentList | BaseException]:
        return await asyncio.gather(*map(one, range(count)), return_exceptions=True)

    told = []
    for number, result in enumerate(clock.run(main())):
        if not isinstance(result, AgentList | ChatloomError):
            raise result
        told.append(Told(result, [request.at for request in transport.requests], ended[number]))
    return told


SECONDS = ["deadline", "patience", "initial_delay", "max_delay", "max_retry_after"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *product(["attempts"], [0, -1, 1.5, 4.0, "4", None, True, math.inf]),
        *product(SECONDS, [0, 0.0, -1, math.nan, math.inf, -math.inf, "1", True, [1]]),
        *product(SECONDS[1:], [None]),
    ],
)
def test_a_policy_that_cannot_work_is_refused(name: str, value: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=rf"^RetryPolicy\.{name} is a (positive|whole) number"
    ):
        RetryPolicy(**{name: value})


@pytest.mark.parametrize(
    ("failures", "upper"), [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 8.0), (6, 8.0), (5000, 8.0)]
)
def test_backoff_is_uniform_below_a_doubling_bound(failures: int, upper: float) -> None:
    random.seed(failures)
    capped = RetryPolicy(initial_delay=10, max_delay=1)
    assert max(capped.backoff(failures) for _ in range(500)) <= 1
    waits = [DEFAULT.backoff(failures) for _ in range(4000)]
    assert 0 <= min(waits) < 0.01 * upper
    assert 0.99 * upper < max(waits) <= upper
    assert sum(waits) / len(waits) == pytest.approx(upper / 2, rel=0.05)
    below = sum(wait < upper / 4 for wait in waits) / len(waits)
    assert below == pytest.approx(0.25, abs=0.03)


def test_waits_stay_below_their_doubling_bounds() -> None:
    for _ in range(40):
        at = call(*[FAILING] * 4).at
        waits = [later - earlier for earlier, later in pairwise(at)]
        assert all(wait <= bound for wait, bound in zip(waits, (0.5, 1, 2), strict=True))


@pytest.mark.parametrize(
    ("status", "seconds", "options"),
    [
        *((503, seconds, {}) for seconds in (1, 20, 120)),
        (503, 4.9, {"retry": RetryPolicy(deadline=5)}),
        (503, 10, {"retry": RetryPolicy(initial_delay=100, max_delay=100)}),
        (429, 0.25, {}),
        (429, 30, {"rate_limit": None}),
        (429, 300, {"retry": RetryPolicy(max_retry_after=600)}),
    ],
)
def test_a_retry_after_is_waited_with_little_jitter(
    status: int, seconds: float, options: dict[str, Any]
) -> None:
    told = call(asking(status, seconds), OK, **options)
    assert (told.succeeded, len(told.at)) == (True, 2)
    assert seconds <= told.at[1] <= 1.1 * seconds + 0.1


@pytest.mark.parametrize("seconds", [1, 10])
def test_calls_told_one_moment_return_apart(seconds: float) -> None:
    told = calls(20, [asking(503, seconds)] * 20 + [OK] * 20, rate_limit=None)
    assert len(set(told[0].at[20:])) == 20


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("seconds", "policy"),
    [(120.5, DEFAULT), (3, RetryPolicy(max_retry_after=2)), (6, RetryPolicy(deadline=5))],
    ids=["the default", "below the longest backoff", "the deadline"],
)
def test_a_retry_after_beyond_bounds_is_raised(
    seconds: float, policy: RetryPolicy, status: int
) -> None:
    told = call(asking(status, seconds), retry=policy)
    assert isinstance(told.error, APIStatusError)
    assert (told.error.retry_after, len(told.at), told.ended) == (seconds, 1, 0)


@pytest.mark.parametrize("reply", [FAILING, asking(429, 1), APIConnectionError("x", "stale")])
def test_one_attempt_is_exactly_one_request(reply: StubReply | ChatloomError) -> None:
    told = call(reply, OK, retry=RetryPolicy(attempts=1))
    assert (len(told.at), told.succeeded) == (1, False)


@pytest.mark.parametrize("attempts", [2, 7])
def test_calls_that_fail_together_keep_their_attempts_apart(attempts: int) -> None:
    policy = RetryPolicy(attempts=attempts)
    told = calls(50, [FAILING] * 50 * attempts, retry=policy, rate_limit=None)
    assert {len(one.error.attempts) for one in told} == {attempts}
    assert len({one.error.attempts for one in told}) == 50


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 520, 599])
def test_a_status_that_may_heal_is_tried_again(status: int) -> None:
    assert call(StubReply(status=status), OK, rate_limit=None).succeeded


@pytest.mark.parametrize(
    "status", [301, 304, 400, 401, 402, 403, 404, 405, 409, 413, 422, 451, 501, 505]
)
@pytest.mark.parametrize("retry_after", [None, "1"])
def test_a_status_that_will_not_heal_is_final(status: int, retry_after: str | None) -> None:
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    refused = status == 403 and retry_after is not None
    assert len(call(StubReply(status=status, headers=headers), OK).at) == 1 + refused


@pytest.mark.parametrize("status", [500, 502, 504, 408])
def test_retry_after_means_nothing_on_a_failure(status: int) -> None:
    told = call(asking(status, 3600), OK)
    assert told.succeeded
    assert told.at[1] <= 0.5


BROKEN: list[ConnectionReason] = ["connect", "disconnected", "stale", "cut off", "protocol"]
LASTING: list[ConnectionReason] = ["dns", "proxy", "tls", "too large"]


@pytest.mark.parametrize("reason", [*BROKEN, *LASTING])
def test_a_broken_connection_is_tried_again(reason: ConnectionReason) -> None:
    assert call(APIConnectionError("x", reason), OK).succeeded is (reason in BROKEN)


def test_only_the_first_stale_loss_is_repeated_immediately() -> None:
    at = call(*[APIConnectionError("x", "stale")] * 5, rate_limit=None).at
    assert at[1] == 0 < at[2]
    assert len(at) == 4


@pytest.mark.parametrize(
    ("failures", "options", "requests"),
    [
        ([asking(429, 1)] * 12, {}, 13),
        ([LIMITED] * 5, {"rate_limit": None}, 4),
        ([LIMITED, *[FAILING] * 6], {}, 8),
    ],
    ids=["refused at a limiter", "refused without one", "failed as probes"],
)
def test_only_a_limiter_makes_attempts_free(
    failures: list[StubReply], options: dict[str, Any], requests: int
) -> None:
    told = call(*failures, OK, **options)
    assert (len(told.at), told.succeeded) == (requests, not options)


def test_a_refused_call_tells_its_own_attempts_only() -> None:
    told = calls(5, [LIMITED] * 500, retry=RetryPolicy(patience=10))
    assert {type(one.error) for one in told} == {RateLimitError}
    assert sum(len(one.error.attempts) for one in told) == len(told[0].at)


async def test_hanging_until_the_deadlines_is_an_outage() -> None:
    hangs = [StubReply(after=60)] * 200
    client, transport = scripted(*hangs, retry=RetryPolicy(deadline=5))

    async def call(number: int) -> None:
        await asyncio.sleep(number / 5)
        with pytest.raises(DeadlineExceededError):
            await client.get_allowed_domains(f"agt_{number % 20}")

    await asyncio.gather(*map(call, range(200)))
    assert len(transport.requests) <= 60


def test_waiting_at_the_gate_counts_against_the_deadline() -> None:
    told = call(LIMITED, retry=RetryPolicy(deadline=0.2))
    assert isinstance(told.error, DeadlineExceededError)
    assert told.ended == 0.2


def test_an_unanswered_attempt_is_the_last_failure() -> None:
    told = call(StubReply(after=60), retry=RetryPolicy(deadline=5))
    assert isinstance(told.error, DeadlineExceededError)
    assert isinstance(told.error.last_failure, APITimeoutError)
    assert [(each.outcome, each.elapsed) for each in told.error.attempts] == [("timeout", 5)]
    assert told.ended == 5


def test_a_call_only_waiting_has_no_last_failure() -> None:
    limit = RateLimit(per_minute=60, burst=1)
    *_, last = calls(61, [OK] * 60, retry=RetryPolicy(deadline=0.1), rate_limit=limit)
    assert isinstance(last.error, DeadlineExceededError)
    assert last.error.last_failure is None


async def test_what_closed_the_gate_is_the_last_failure() -> None:
    bulk, _ = scripted(LIMITED, StubReply({"agents": [], "count": 0}, after=10))
    waiting = asyncio.create_task(bulk.list_agents())
    await asyncio.sleep(1)
    with pytest.raises(DeadlineExceededError) as caught:
        await bulk.with_options(retry=RetryPolicy(deadline=3)).list_agents()
    assert isinstance(caught.value.last_failure, RateLimitError)
    assert caught.value.attempts == ()
    assert not waiting.done()


async def test_a_wait_beyond_the_deadline_is_refused() -> None:
    bulk, _ = scripted(asking(429, 60), OK, OK)
    brisk = bulk.with_options(retry=RetryPolicy(deadline=3))
    waiting = asyncio.create_task(bulk.list_agents())
    await asyncio.sleep(1)
    with pytest.raises(RateLimitError) as caught:
        await brisk.list_agents()
    assert (now(), caught.value.attempts) == (1, ())
    assert caught.value.retry_after == pytest.approx(59, abs=0.1)
    await waiting
    await brisk.list_agents()


async def test_those_waiting_learn_of_a_longer_wait() -> None:
    refusal = StubReply(status=429, headers={"Retry-After": "200"}, after=1.0)
    client, transport = scripted(refusal, OK, rate_limit=RateLimit(per_minute=6, burst=1))
    patient = client.with_options(retry=RetryPolicy(max_retry_after=300, patience=600))

    async def call_of(of: AsyncChatloom) -> tuple[float | None, float]:
        try:
            await of.list_agents()
        except RateLimitError as error:
            return error.retry_after, now()
        return None, now()

    first, waiting, kept = await asyncio.gather(*map(call_of, (client, client, patient)))
    assert first == waiting == (200.0, 1.0)
    assert (kept[0], len(transport.requests)) == (None, 2)


async def test_an_hours_wait_is_tried_after_two_minutes() -> None:
    client, transport = scripted(asking(429, 3600), OK)
    for wait, left in ((60, 3600), (60.2, 3540)):
        with pytest.raises(RateLimitError) as told:
            await client.list_agents()
        assert told.value.retry_after == pytest.approx(left, abs=1)
        await asyncio.sleep(wait)
    await client.list_agents()
    assert len(transport.requests) == 2


@pytest.mark.parametrize(
    ("replies", "deadline", "at"),
    [
        ([FAILING, OK], 4, [0, 2]),
        ([StubReply(status=503, after=3), OK], 9, [0, 6]),
        ([FAILING] * 4, 4, [0, 2]),
    ],
    ids=["half the deadline", "half of what is left", "failing again"],
)
def test_a_backoff_past_the_deadline_is_squeezed(
    replies: list[StubReply], deadline: float, at: list[float]
) -> None:
    told = call(*replies, retry=RetryPolicy(initial_delay=1e9, max_delay=1e9, deadline=deadline))
    assert (told.at, told.ended) == (at, at[-1])
    assert told.succeeded or isinstance(told.error, InternalServerError)


def test_a_key_sources_timeout_is_not_the_deadline() -> None:
    slow = Mock(side_effect=TimeoutError("the vault is slow"))
    client, _ = scripted(key=slow, retry=RetryPolicy(deadline=2))
    with pytest.raises(TimeoutError, match="the vault is slow"):
        FakeClock().run(client.list_agents())


@pytest.mark.parametrize(
    ("replies", "level", "least"),
    [([asking(503, 5)] * 4, logging.INFO, 5), ([*[asking(429, 1)] * 3, OK], logging.DEBUG, 0)],
    ids=["after a failure", "through the gate"],
)
def test_each_retry_is_logged(
    replies: list[StubReply], level: int, least: float, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "chatloom_async"):
        call(*replies)
    ours = [vars(record) for record in caplog.records if hasattr(record, "chatloom_path")]
    assert {each["chatloom_path"] for each in ours} == {"/api/plugin/agents"}
    assert all("GET /api/plugin/agents" in each["message"] for each in ours)
    told = [each for each in ours if "chatloom_attempt" in each]
    assert [(each["levelno"], each["chatloom_attempt"]) for each in told] == [
        (level, number) for number in (1, 2, 3)
    ]
    assert all(least <= each["chatloom_wait"] <= 1.1 * least + 0.1 for each in told)
    assert all(str(replies[0].status) in each["message"] for each in told)
