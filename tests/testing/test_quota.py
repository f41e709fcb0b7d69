"""Quotas: pure meters in given time, and the 429s a sandbox makes of them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatloom_async.testing.faults import Fault
from chatloom_async.testing.meters import Meter, Standing
from chatloom_async.testing.quota import AppliedQuota, Quota
from chatloom_async.testing.sandbox import Sandbox
from chatloom_async.testing.workspaces import make_workspace

AGENTS = "/api/plugin/agents"


def admitted(meter: Meter, now: float, requests: int) -> int:
    return sum(meter.admit(now) == 0 for _ in range(requests))


# Token bucket


def test_a_bucket_admits_its_burst_at_once() -> None:
    assert admitted(Quota.token_bucket(60, 10).meter(), 0.0, 50) == 10


def test_a_bucket_refills_at_its_rate_and_no_higher_than_its_burst() -> None:
    meter = Quota.token_bucket(60, 10).meter()
    admitted(meter, 0.0, 10)
    assert admitted(meter, 3.0, 50) == 3
    assert admitted(meter, 1000.0, 50) == 10


def test_a_bucket_tells_when_the_next_token_comes() -> None:
    meter = Quota.token_bucket(60, 1).meter()
    meter.admit(0.0)
    assert meter.admit(0.25) == pytest.approx(0.75)


def test_a_bucket_counting_refusals_starves_a_client_that_keeps_asking() -> None:
    patient = Quota.token_bucket(60, 1).meter()
    starved = Quota.token_bucket(60, 1, count_refused=True).meter()
    times = [n * 0.5 for n in range(20)]
    assert sum(patient.admit(now) == 0 for now in times) == 10
    assert sum(starved.admit(now) == 0 for now in times) == 1


# GCRA


def test_gcra_admits_its_burst_at_once_then_one_each_interval() -> None:
    meter = Quota.gcra(120, 4).meter()
    assert admitted(meter, 0.0, 20) == 4
    assert meter.admit(0.1) == pytest.approx(0.4)
    assert admitted(meter, 0.5, 20) == 1


def test_gcra_counting_refusals_starves_a_client_that_keeps_asking() -> None:
    meter = Quota.gcra(60, 1, count_refused=True).meter()
    assert sum(meter.admit(n * 0.5) == 0 for n in range(20)) == 1


# Fixed window


def test_a_fixed_window_starts_with_its_first_request() -> None:
    meter = Quota.fixed_window(3, 10).meter()
    assert admitted(meter, 7.0, 5) == 3
    assert meter.admit(16.0) == pytest.approx(1.0)
    assert admitted(meter, 17.0, 5) == 3


def test_a_fixed_window_lets_two_limits_pass_around_its_edge() -> None:
    meter = Quota.fixed_window(3, 10).meter()
    meter.admit(0.0)
    assert admitted(meter, 9.9, 5) + admitted(meter, 10.0, 5) == 5


# Sliding window


def test_a_sliding_window_frees_one_place_as_each_request_grows_old() -> None:
    meter = Quota.sliding_window(2, 10).meter()
    meter.admit(0.0)
    meter.admit(4.0)
    assert meter.admit(9.0) == pytest.approx(1.0)
    assert admitted(meter, 10.0, 5) == 1
    assert admitted(meter, 14.0, 5) == 1


def test_a_sliding_window_counting_refusals_starves_a_client_that_keeps_asking() -> None:
    meter = Quota.sliding_window(2, 10, count_refused=True).meter()
    assert sum(meter.admit(n * 1.0) == 0 for n in range(60)) == 2


# Bucket in steps


def test_a_stepped_bucket_gives_its_tokens_at_once() -> None:
    meter = Quota.token_steps(10, 1, 20).meter()
    assert admitted(meter, 0.5, 50) == 20
    assert meter.admit(1.4) == pytest.approx(0.1)
    assert admitted(meter, 1.5, 50) == 10


# Windows of the clock


def test_an_aligned_window_ends_with_the_clocks() -> None:
    meter = Quota.fixed_window(3, 10, aligned=True).meter()
    assert admitted(meter, 9.0, 5) == 3
    assert admitted(meter, 10.0, 5) == 3


def test_two_counters_weigh_the_last_window() -> None:
    meter = Quota.sliding_counters(10, 10).meter()
    assert admitted(meter, 9.0, 50) == 10
    assert admitted(meter, 10.0, 50) == 0
    assert admitted(meter, 15.0, 50) == 5
    assert meter.standing(15.0).reset == pytest.approx(5.0)


# In flight


def test_a_place_in_flight_comes_back_with_the_answer() -> None:
    applied = AppliedQuota(Quota.in_flight(2))
    assert [applied.admit("key", 0.0, 0.0).admitted for _ in range(3)] == [True, True, False]
    applied.done("key")
    assert applied.admit("key", 0.0, 0.0).admitted


# Beside the counting


def test_a_cached_refusal_holds_until_the_reset() -> None:
    applied = AppliedQuota(Quota.sliding_counters(10, 10).cached())
    while applied.admit("key", 2.0, 0.0).admitted:
        pass
    assert not applied.admit("key", 9.9, 0.0).admitted
    assert applied.admit("key", 11.0, 0.0).admitted


# What holds for all


MAKERS: list[Callable[..., Quota]] = [
    lambda **options: Quota.token_bucket(90, 5, **options),
    lambda **options: Quota.gcra(90, 5, **options),
    lambda **options: Quota.fixed_window(5, 3.0, **options),
    lambda **options: Quota.sliding_window(5, 3.0, **options),
    lambda **_: Quota.sliding_counters(5, 3.0),
    lambda **_: Quota.token_steps(5, 3.0, 5),
    lambda **_: Quota.fixed_window(5, 3.0, aligned=True),
]
GAPS = st.lists(st.floats(0, 5), max_size=60)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("count_refused", [True, False])
@given(gaps=GAPS)
def test_who_waits_as_long_as_told_is_admitted(
    *, make: Callable[..., Quota], count_refused: bool, gaps: list[float]
) -> None:
    meter, now = make(count_refused=count_refused).meter(), 1000.0
    for gap in gaps:
        now += gap
        wait = meter.admit(now)
        assert 0 <= wait < math.inf
        if wait:
            now += wait
            assert meter.admit(now) == 0


@given(gaps=GAPS)
def test_a_sliding_window_never_admits_more_than_its_limit(gaps: list[float]) -> None:
    meter, now, passed = Quota.sliding_window(5, 3.0).meter(), 0.0, list[float]()
    for gap in gaps:
        now += gap / 10
        if meter.admit(now) == 0:
            passed.append(now)
    assert all(late - early >= 3.0 - 1e-6 for early, late in zip(passed, passed[5:], strict=False))


@given(gaps=GAPS)
def test_gcra_and_the_bucket_are_two_ways_to_count_the_same(gaps: list[float]) -> None:
    # Halves and eighths of a second are exact in binary: no request falls on a rounding error.
    bucket, cells = Quota.token_bucket(120, 5).meter(), Quota.gcra(120, 5).meter()
    now = 0.0
    for gap in gaps:
        now += round(gap) / 8
        assert bucket.admit(now) == pytest.approx(cells.admit(now), abs=1e-6)


@pytest.mark.parametrize(
    ("wait", "precision", "header"),
    [
        (0.01, 1.0, "1"),
        (1.0, 1.0, "1"),
        (1.2, 1.0, "2"),
        (59.5, 1.0, "60"),
        (0.21, 0.05, "0.25"),
        (0.3, 0.1, "0.3"),
    ],
)
def test_retry_after_is_rounded_up_never_down(wait: float, precision: float, header: str) -> None:
    quota = Quota.fixed_window(1, 9, precision=precision)
    assert quota.headers(Standing(1, 9, 0, wait, wait=wait)) == {"Retry-After": header}


@pytest.mark.parametrize(
    "make",
    [
        lambda: Quota.token_bucket(0, 1),
        lambda: Quota.gcra(-1, 1),
        lambda: Quota.fixed_window(0, 1),
        lambda: Quota.sliding_window(1, 0),
        lambda: Quota.sliding_window(1, 1, precision=0),
    ],
)
def test_a_limit_that_is_none_is_refused(make: Callable[[], Quota]) -> None:
    with pytest.raises(ValueError, match="must be >"):
        make()


# On the wire


class Time:
    """A clock tests move."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


async def statuses(sandbox: Sandbox, requests: int, key: str = "clf_a") -> list[int]:
    found: list[int] = []
    async with aiohttp.ClientSession(sandbox.base_url, headers={"X-API-Key": key}) as session:
        for _ in range(requests):
            async with session.get(AGENTS) as response:
                found.append(response.status)
    return found


def sandbox_with(quota: Quota, time: Time) -> Sandbox:
    workspaces = [make_workspace(name, f"clf_{name}", agents=1) for name in "ab"]
    return Sandbox(workspaces, quota=quota, clock=time)


async def test_requests_over_the_quota_are_refused_until_time_has_passed() -> None:
    time = Time()
    async with sandbox_with(Quota.fixed_window(2, 10), time) as sandbox:
        assert await statuses(sandbox, 3) == [200, 200, 429]
        time.now = 10.0
        assert await statuses(sandbox, 1) == [200]


async def test_each_key_has_its_own_quota() -> None:
    async with sandbox_with(Quota.fixed_window(1, 10), Time()) as sandbox:
        assert await statuses(sandbox, 2, "clf_a") == [200, 429]
        assert await statuses(sandbox, 2, "clf_b") == [200, 429]


async def test_a_rotated_key_starts_with_a_fresh_quota() -> None:
    async with sandbox_with(Quota.fixed_window(1, 10), Time()) as sandbox:
        await statuses(sandbox, 2)
        assert await statuses(sandbox, 1, sandbox.rotate("a")) == [200]


async def test_changing_a_workspace_does_not_renew_its_quota() -> None:
    async with sandbox_with(Quota.fixed_window(1, 10), Time()) as sandbox:
        await statuses(sandbox, 1)
        sandbox.add(make_workspace("a", "clf_a", agents=2))
        assert await statuses(sandbox, 1) == [429]


async def test_refused_keys_use_up_no_quota() -> None:
    async with sandbox_with(Quota.fixed_window(1, 10), Time()) as sandbox:
        assert await statuses(sandbox, 3, "clf_nobody") == [401, 401, 401]


@pytest.mark.parametrize(("tells", "header"), [(True, "4"), (False, None)])
async def test_a_refusal_says_how_long_to_wait_if_the_quota_tells(
    *, tells: bool, header: str | None
) -> None:
    quota = Quota.fixed_window(1, 3.5, retry_after=tells)
    async with (
        sandbox_with(quota, Time()) as sandbox,
        aiohttp.ClientSession(sandbox.base_url, headers={"X-API-Key": "clf_a"}) as session,
    ):
        await (await session.get(AGENTS)).read()
        async with session.get(AGENTS) as response:
            assert response.headers.get("Retry-After") == header
            assert response.content_type == "application/json"
            assert list(await response.json()) == ["error"]


@pytest.mark.looptime
async def test_quotas_pass_in_the_loops_own_time() -> None:
    workspace = make_workspace("a", "clf_a", agents=1)
    async with Sandbox([workspace], quota=Quota.fixed_window(1, 3600)) as sandbox:
        assert await statuses(sandbox, 2) == [200, 429]
        await asyncio.sleep(3600)
        assert await statuses(sandbox, 1) == [200]


async def test_a_quota_concerns_only_its_path_and_workspace() -> None:
    quota = Quota.fixed_window(1, 10).on(path=AGENTS, workspace="a")
    async with sandbox_with(quota, Time()) as sandbox:
        assert await statuses(sandbox, 2, "clf_a") == [200, 429]
        assert await statuses(sandbox, 2, "clf_b") == [200, 200]


async def test_keys_of_one_address_share_its_quota() -> None:
    async with sandbox_with(Quota.fixed_window(1, 10).per_address(), Time()) as sandbox:
        assert await statuses(sandbox, 1, "clf_a") == [200]
        assert await statuses(sandbox, 1, "clf_b") == [429]


async def test_every_answer_tells_what_is_left() -> None:
    quota = Quota.fixed_window(2, 10).telling("draft-7").answering(503, html=True)
    async with (
        sandbox_with(quota, Time()) as sandbox,
        aiohttp.ClientSession(sandbox.base_url, headers={"X-API-Key": "clf_a"}) as session,
    ):
        told: list[tuple[int, str, str]] = []
        for _ in range(3):
            async with session.get(AGENTS) as response:
                told.append((response.status, response.content_type, response.headers["RateLimit"]))
    assert told == [
        (200, "application/json", "limit=2, remaining=1, reset=10"),
        (200, "application/json", "limit=2, remaining=0, reset=10"),
        (503, "text/html", "limit=2, remaining=0, reset=10"),
    ]


async def test_requests_at_a_time_are_limited_until_they_are_answered() -> None:
    workspace = make_workspace("a", "clf_a", agents=1)
    async with (
        Sandbox([workspace], quota=Quota.in_flight(1), faults=[Fault.hang()]) as sandbox,
        aiohttp.ClientSession(sandbox.base_url, headers={"X-API-Key": "clf_a"}) as session,
    ):
        hanging = asyncio.create_task(session.get(AGENTS))
        while not sandbox.count():
            await asyncio.sleep(0)
        assert await statuses(sandbox, 1) == [429]
        hanging.cancel()
        while (await statuses(sandbox, 1)) == [429]:
            await asyncio.sleep(0)
        assert sandbox.count(status=200) == 1
