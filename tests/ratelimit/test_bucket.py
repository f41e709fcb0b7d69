"""The token bucket that measures the server's rate."""

import pytest

from chatloom_async.ratelimit.bucket import LearnedBucket
from chatloom_async.ratelimit.departures import Departures

START = 1000.0


def test_refusals_out_of_order_measure_no_rate() -> None:
    bucket = LearnedBucket(Departures())
    bucket.pace(START + 5, 3.0)
    bucket.close(START + 5.1, START + 4.9, 0)
    assert bucket.rate == 3.0


def test_a_told_rate_holds_as_long_as_said() -> None:
    bucket = LearnedBucket(Departures())
    bucket.pace(START, 2.0, 600.0)
    for second in range(500):
        bucket.spend(START + second / 2)
    assert bucket.speed(START + 250) == pytest.approx(2)


def test_an_outage_is_no_part_of_a_measurement() -> None:
    log = Departures()
    bucket = LearnedBucket(log)
    bucket.close(START, START, 0)
    for tenth in range(300):
        log.add(START + tenth / 10)
    bucket.recover(START + 30, START + 30)
    bucket.close(START + 31, START + 31, 0)
    assert bucket.rate is None


@pytest.mark.parametrize(("opened_at", "rate"), [(START + 2, 1.1), (START + 8, 5.0)])
def test_only_an_open_gate_measures_a_fall(opened_at: float, rate: float) -> None:
    log = Departures()
    bucket = LearnedBucket(log)
    bucket.close(START - 60, START - 60, 0)
    for fifth in range(300):
        log.add(START - 60 + fifth / 5)
    bucket.close(START, START, 0)
    bucket.reopen(opened_at, opened_at)
    for second in range(10):
        log.add(START + second)
    bucket.close(START + 10, START + 10, 0)
    assert bucket.rate == pytest.approx(rate, rel=0.2)
