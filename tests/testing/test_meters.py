"""Meters: limits counted in given time, without clock and server."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatloom_async.testing.quota import Quota

Step = tuple[float, int, int] | tuple[float, int, int, float]
IMPATIENT: list[Step] = [(0, 1, 1), (0.5, 1, 0), (1.0, 1, 0), (1.5, 1, 0)]
COUNTED: dict[str, tuple[Quota, list[Step]]] = {
    "a bucket refills": (Quota.token_bucket(60, 10), [(0, 50, 10), (3, 50, 3), (1000, 50, 10)]),
    "a bucket tells when": (Quota.token_bucket(60, 1), [(0, 1, 1), (0.25, 1, 0, 0.75)]),
    "a bucket refilled in steps": (
        Quota.token_steps(10, 1, 20),
        [(0.5, 50, 20), (1.4, 1, 0, 0.1), (1.5, 50, 10)],
    ),
    "gcra spaces evenly": (Quota.gcra(120, 4), [(0, 20, 4), (0.1, 1, 0, 0.4), (0.5, 20, 1)]),
    "the first request begins": (Quota.fixed_window(3, 10), [(7, 5, 3), (16, 1, 0, 1), (17, 5, 3)]),
    "two limits meet": (Quota.fixed_window(3, 10), [(0, 1, 1), (9.9, 5, 2), (10, 5, 3)]),
    "an aligned window": (Quota.fixed_window(3, 10, aligned=True), [(9, 5, 3), (10, 5, 3)]),
    "places come back one by one": (
        Quota.sliding_window(2, 10),
        [(0, 1, 1), (4, 1, 1), (9, 1, 0, 1), (10, 5, 1), (14, 5, 1)],
    ),
    # Who asks too soon is let in later where refusals count.
    "a bucket of refusals": (Quota.token_bucket(60, 1, count_refused=True), IMPATIENT),
    "gcra of refusals": (Quota.gcra(60, 1, count_refused=True), IMPATIENT),
    "a log of refusals": (Quota.sliding_window(1, 1, count_refused=True), IMPATIENT),
    "two counters": (Quota.sliding_counters(10, 10), [(9, 50, 10), (10, 50, 0), (15, 50, 5)]),
}


@pytest.mark.parametrize(("quota", "steps"), COUNTED.values(), ids=COUNTED)
def test_a_meter_admits_so_many_of_so_many(quota: Quota, steps: list[Step]) -> None:
    meter = quota.meter()
    for now, requests, let_in, *wait in steps:
        waits = [meter.admit(now) for _ in range(requests)]
        assert waits.count(0) == let_in
        assert waits[-1:] == pytest.approx(wait or waits[-1:])


@pytest.mark.parametrize(
    ("quota", "reset"),
    [(Quota.sliding_counters(10, 10), 5.0), (Quota.gcra(120, 5), 1.5)],
    ids=["the end of the window", "the whole burst"],
)
def test_a_meter_tells_when_it_is_reset(quota: Quota, reset: float) -> None:
    meter = quota.meter()
    assert [meter.admit(15.0) for _ in range(3)] == [0, 0, 0]
    assert meter.standing(15.0).reset == pytest.approx(reset)


QUOTAS = (
    *(Quota.token_bucket(90, 5, count_refused=counted) for counted in (False, True)),
    *(Quota.gcra(90, 5, count_refused=counted) for counted in (False, True)),
    *(Quota.sliding_window(5, 3.0, count_refused=counted) for counted in (False, True)),
    *(Quota.fixed_window(5, 3.0, aligned=each, count_refused=each) for each in (False, True)),
    Quota.sliding_counters(5, 3.0),
    Quota.token_steps(5, 3.0, 5),
)
GAPS = st.lists(st.floats(0, 5), max_size=60)


MANY = settings(max_examples=5 * (settings.default.max_examples if settings.default else 100))


@MANY
@given(quota=st.sampled_from(QUOTAS), gaps=GAPS)
def test_who_waits_as_long_as_told_is_admitted(quota: Quota, gaps: list[float]) -> None:
    meter, now = quota.meter(), 1000.0
    for gap in gaps:
        now += gap
        wait = meter.admit(now)
        assert 0 <= wait < math.inf
        if wait:
            now += wait
            assert meter.admit(now) == 0


@MANY
@given(quota=st.sampled_from(QUOTAS), gaps=GAPS)
def test_what_is_told_to_remain_is_let_in(quota: Quota, gaps: list[float]) -> None:
    meter, now = quota.meter(), 1000.0
    for gap in gaps:
        now += round(gap) / 8  # exact in binary: no request falls on a rounding error
        meter.admit(now)
    left = meter.standing(now).remaining
    assert [meter.admit(now) for _ in range(left + 1)].count(0) == left


@pytest.mark.parametrize(
    "make",
    [
        lambda: Quota.token_bucket(0, 1),
        lambda: Quota.gcra(-1, 1),
        lambda: Quota.fixed_window(0, 1),
        lambda: Quota.sliding_window(1, 0),
        lambda: Quota.token_steps(1, 0, 1),
        lambda: Quota.in_flight(1).answering(200),
        lambda: Quota.in_flight(1).telling("nothing"),
    ],
)
def test_a_quota_that_makes_no_sense_is_refused(make: Callable[[], Quota]) -> None:
    with pytest.raises(ValueError, match=r"must be >|there are silent, retry-after"):
        make()
