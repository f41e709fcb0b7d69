"""Meters: limits counted in given time, without clock and server."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatloom_async.testing.meters import Meter
from chatloom_async.testing.quota import AppliedQuota, Quota


def admitted(meter: Meter, now: float, requests: int) -> int:
    return sum(meter.admit(now) == 0 for _ in range(requests))


def test_a_bucket_admits_its_burst_at_once() -> None:
    assert admitted(Quota.token_bucket(60, 10).meter(), 0.0, 50) == 10


def test_a_bucket_refills_to_its_burst_at_most() -> None:
    meter = Quota.token_bucket(60, 10).meter()
    admitted(meter, 0.0, 10)
    assert admitted(meter, 3.0, 50) == 3
    assert admitted(meter, 1000.0, 50) == 10


def test_a_bucket_tells_when_the_next_token_comes() -> None:
    meter = Quota.token_bucket(60, 1).meter()
    meter.admit(0.0)
    assert meter.admit(0.25) == pytest.approx(0.75)


def test_gcra_admits_its_burst_then_spaces_evenly() -> None:
    meter = Quota.gcra(120, 4).meter()
    assert admitted(meter, 0.0, 20) == 4
    assert meter.admit(0.1) == pytest.approx(0.4)
    assert admitted(meter, 0.5, 20) == 1


def test_a_fixed_window_starts_with_its_first_request() -> None:
    meter = Quota.fixed_window(3, 10).meter()
    assert admitted(meter, 7.0, 5) == 3
    assert meter.admit(16.0) == pytest.approx(1.0)
    assert admitted(meter, 17.0, 5) == 3


def test_a_fixed_window_lets_two_limits_meet() -> None:
    meter = Quota.fixed_window(3, 10).meter()
    meter.admit(0.0)
    assert admitted(meter, 9.9, 5) + admitted(meter, 10.0, 5) == 5


def test_a_sliding_window_frees_places_one_by_one() -> None:
    meter = Quota.sliding_window(2, 10).meter()
    meter.admit(0.0)
    meter.admit(4.0)
    assert meter.admit(9.0) == pytest.approx(1.0)
    assert admitted(meter, 10.0, 5) == 1
    assert admitted(meter, 14.0, 5) == 1


def test_a_stepped_bucket_gives_its_tokens_at_once() -> None:
    meter = Quota.token_steps(10, 1, 20).meter()
    assert admitted(meter, 0.5, 50) == 20
    assert meter.admit(1.4) == pytest.approx(0.1)
    assert admitted(meter, 1.5, 50) == 10


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


def test_a_place_in_flight_comes_back() -> None:
    applied = AppliedQuota(Quota.in_flight(2))
    assert [applied.admit("key", 0.0, 0.0).admitted for _ in range(3)] == [True, True, False]
    applied.done("key")
    assert applied.admit("key", 0.0, 0.0).admitted


@pytest.mark.parametrize("make", [Quota.token_bucket, Quota.gcra])
def test_counting_refusals_starves_who_keeps_asking(make: Callable[..., Quota]) -> None:
    patient, starved = make(60, 1).meter(), make(60, 1, count_refused=True).meter()
    times = [n * 0.5 for n in range(20)]
    assert sum(patient.admit(now) == 0 for now in times) == 10
    assert sum(starved.admit(now) == 0 for now in times) == 1


def test_a_window_counting_refusals_starves_too() -> None:
    meter = Quota.sliding_window(2, 10, count_refused=True).meter()
    assert sum(meter.admit(n * 1.0) == 0 for n in range(60)) == 2


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
def test_a_sliding_window_never_admits_too_many(gaps: list[float]) -> None:
    meter, now, passed = Quota.sliding_window(5, 3.0).meter(), 0.0, list[float]()
    for gap in gaps:
        now += gap / 10
        if meter.admit(now) == 0:
            passed.append(now)
    assert all(late - early >= 3.0 - 1e-6 for early, late in zip(passed, passed[5:], strict=False))


@given(gaps=GAPS)
def test_gcra_counts_as_the_bucket_does(gaps: list[float]) -> None:
    # Halves and eighths of a second are exact in binary: no request falls on a rounding error.
    bucket, cells = Quota.token_bucket(120, 5).meter(), Quota.gcra(120, 5).meter()
    now = 0.0
    for gap in gaps:
        now += round(gap) / 8
        assert bucket.admit(now) == pytest.approx(cells.admit(now), abs=1e-6)


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
