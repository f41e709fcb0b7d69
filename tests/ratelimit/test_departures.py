"""What has left, and what the ceiling of a RateLimit lets through."""

import math
from itertools import product
from typing import Any

import pytest

from chatloom_async.errors import ConfigurationError
from chatloom_async.ratelimit.departures import Ceiling, Departures, LearnedConcurrency
from chatloom_async.ratelimit.values import RateLimit


def departures(limit: RateLimit, seconds: float, *, urgent: bool = False) -> list[float]:
    """Return when attempts leave that never stop coming, from 1000 on."""
    ceiling, left, now = Ceiling(limit), list[float](), 1000.0
    while now <= 1000 + seconds:
        left.append(now)
        ceiling.pay(now)
        now = max(now, ceiling.opens_at(urgent=urgent))
    return left


def test_the_default_is_fair_use() -> None:
    assert RateLimit() == RateLimit(per_minute=300, burst=300)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *product(["per_minute"], [0, -1, math.nan, math.inf, "300", True, [], 1e-9]),
        *product(["burst"], [0, 0.5, -1, math.nan, math.inf, "60", None, False]),
    ],
)
def test_a_limit_that_cannot_be_one_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"^RateLimit\.{name} is"):
        RateLimit(**{name: value})


@pytest.mark.parametrize("urgent", [True, False])
@pytest.mark.parametrize(
    "limit", [RateLimit(), RateLimit(60, 1), RateLimit(1200, 7.5), RateLimit(30, 200)], ids=str
)
def test_no_window_ever_holds_more_than_the_ceiling(limit: RateLimit, *, urgent: bool) -> None:
    left = departures(limit, 120, urgent=urgent)
    assert limit.per_minute is not None
    for first in range(0, len(left), 7):
        for last in range(first, len(left)):
            allowed = limit.burst + limit.per_minute / 60 * (left[last] - left[first])
            assert last - first + 1 <= allowed + 1e-6


@pytest.mark.parametrize(("limit", "most"), [(RateLimit(), 900), (RateLimit(60, 1), 121)], ids=str)
def test_the_ceiling_is_used_to_the_full(limit: RateLimit, most: int) -> None:
    assert len(departures(limit, 120.1)) == most


def test_a_burst_begins_anew_after_a_rest() -> None:
    ceiling = Ceiling(RateLimit())
    for moment in (0.0, 100.0):
        for _ in range(300):
            assert ceiling.opens_at() <= moment + 1e-6
            ceiling.pay(moment)
        assert ceiling.opens_at() == pytest.approx(moment + 60)
        assert ceiling.opens_at(urgent=True) == pytest.approx(moment + 0.2)


def test_no_ceiling_is_always_open() -> None:
    ceiling = Ceiling(RateLimit(per_minute=None))
    ceiling.pay(1.0)
    assert ceiling.opens_at(10**6) <= 1.0
    assert ceiling.is_whole(1.0)


def log(*departures: float) -> Departures:
    made = Departures()
    for departure in departures:
        made.add(departure)
    return made


def test_what_is_older_than_two_minutes_is_forgotten() -> None:
    made = log(*range(1000))
    assert 120 <= made.count(0) <= 122


def test_a_full_log_says_since_when_exactly() -> None:
    made = log(*(number / 1000 for number in range(6000)))
    assert made.known_since() == 1.0
    assert log(1, 2).known_since() == float("-inf")


@pytest.mark.parametrize("pardoned", [True, False])
def test_what_503s_reduced_returns_after_a_pardon(*, pardoned: bool) -> None:
    concurrency = LearnedConcurrency()
    concurrency.halve()
    concurrency.refused(told=False)
    if pardoned:
        concurrency.pardon()
    concurrency.restart(1.0)
    assert (concurrency.room > 1) is pardoned


def blamed() -> LearnedConcurrency:
    """Return one whose first six were refused when the first of them came back."""
    concurrency = LearnedConcurrency(out=dict.fromkeys(range(5), 0))
    concurrency.refused(told=False)
    assert concurrency.most == 5
    return concurrency


def test_a_refused_probe_blames_others_in_flight() -> None:
    concurrency = blamed()
    for departure in (1, 2, 3):
        concurrency.back(departure)
    assert concurrency.probe_refused()
    assert concurrency.most == 2


def test_one_more_is_tried_until_refused() -> None:
    concurrency = blamed()
    for number in range(410):
        concurrency.accepted(0.0, number)
    assert concurrency.most == 6
    concurrency.refused(told=False)
    assert concurrency.most == 5


def test_what_is_told_left_may_be_in_flight() -> None:
    concurrency = LearnedConcurrency()
    concurrency.restart(1.0)
    concurrency.allow(9.0)
    assert concurrency.room == 9
