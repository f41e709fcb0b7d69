"""What the ceiling of a RateLimit lets through."""

import math

import pytest
from attrs.exceptions import FrozenInstanceError

from chatloom_async.errors import ConfigurationError
from chatloom_async.ratelimit.ceiling import Ceiling
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


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, "300", True, [], 1e-9])
def test_per_minute_is_refused_when_it_is_no_positive_number(value: object) -> None:
    with pytest.raises(ConfigurationError, match=r"^RateLimit\.per_minute is"):
        RateLimit(per_minute=value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [0, 0.5, -1, math.nan, math.inf, "60", None, False])
def test_burst_is_refused_below_one(value: object) -> None:
    with pytest.raises(ConfigurationError, match=r"^RateLimit\.burst is"):
        RateLimit(burst=value)  # type: ignore[arg-type]


def test_the_ceiling_cannot_be_changed() -> None:
    limit = RateLimit()
    with pytest.raises(FrozenInstanceError):
        limit.burst = 1000  # type: ignore[misc]


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
