"""The token bucket that measures the server's rate."""

import pytest

from chatloom_async.ratelimit.bucket import LearnedBucket
from chatloom_async.ratelimit.departures import Departures

START = 1000.0


def measured(*refusals: float, every: float = 0.1) -> LearnedBucket:
    """Return a bucket that was refused at these seconds, and let in evenly all the time."""
    log = Departures()
    bucket, now = LearnedBucket(log), 0.0
    for refusal in refusals:
        while now < refusal:
            log.add(START + now)
            now = round(now + every, 6)
        bucket.close(START + refusal, START + refusal, 0)
        bucket.reopen(START + refusal, START + refusal)
    return bucket


def test_what_came_through_between_two_refusals_is_the_rate() -> None:
    assert measured(0.0, 10.0).rate == pytest.approx(10, rel=0.02)


def test_nothing_is_learned_from_one_refusal() -> None:
    assert measured(5.0).rate is None


def test_no_rate_is_measured_between_refusals_out_of_order() -> None:
    bucket = LearnedBucket(Departures())
    bucket.pace(START + 5, 3.0)
    bucket.close(START + 5.1, START + 4.9, 0)
    assert bucket.rate == 3.0


def test_the_rate_holds_for_as_long_as_it_was_measured_and_then_rises() -> None:
    bucket = measured(0.0, 10.0)
    rate = bucket.rate or 0.0
    assert bucket.speed(START + 19) <= max(rate, 40)
    assert bucket.due(START + 60, START + 60) - (START + 60) < 1 / rate


def test_a_rate_that_was_told_holds_for_as_long_as_said() -> None:
    bucket = LearnedBucket(Departures())
    bucket.pace(START, 2.0, 600.0)
    for second in range(500):
        bucket.spend(START + second / 2)
    assert bucket.speed(START + 250) == pytest.approx(2)


def test_an_outage_is_no_part_of_a_measurement() -> None:
    bucket = measured(0.0)
    bucket.recover(START + 30, START + 30)
    bucket.close(START + 31, START + 31, 0)
    assert bucket.rate is None
