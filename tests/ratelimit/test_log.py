"""The log of departures."""

from chatloom_async.ratelimit.log import DepartureLog


def log(*departures: float) -> DepartureLog:
    made = DepartureLog()
    for departure in departures:
        made.add(departure)
    return made


def test_departures_are_counted_between_two_moments() -> None:
    assert log(1, 2, 3, 4).count(2) == 3
    assert log(1, 2, 3, 4).count(2, 4) == 2


def test_a_refused_departure_is_taken_out() -> None:
    made = log(1, 2, 3)
    made.drop(2)
    made.drop(2.5)
    assert made.count(0) == 2


def test_the_last_ones_are_found() -> None:
    assert log(1, 2, 3).last(2) == 2
    assert log(1, 2, 3).last(4) == float("-inf")


def test_what_is_older_than_two_minutes_is_forgotten() -> None:
    made = log(*range(1000))
    assert 120 <= made.count(0) <= 122


def test_a_full_log_says_from_when_on_nothing_is_missing() -> None:
    made = log(*(number / 1000 for number in range(6000)))
    assert made.known_since() == 1.0
    assert log(1, 2).known_since() == float("-inf")
