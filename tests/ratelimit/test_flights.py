"""How many attempts may be in flight."""

import pytest

from chatloom_async.ratelimit.flights import Flights


def fill(flights: Flights, start: float = 0.0) -> list[float]:
    """Let as many leave as may."""
    left = list[float]()
    while not flights.full:
        left.append(start + len(left))
        flights.out.add(left[-1])
    return left


def answered(flights: Flights, answers: int) -> None:
    for number in range(answers):
        flights.out.add(-number)
        flights.accepted(-number)


def test_few_are_in_flight_at_first_and_more_with_each_good_answer() -> None:
    flights = Flights()
    assert len(fill(flights)) == 6
    flights.accepted(0.0)
    assert len(fill(flights, 100.0)) == 2


def test_the_opening_ends_at_sixteen() -> None:
    flights = Flights()
    answered(flights, 300)
    assert len(fill(flights)) == 16


def test_a_server_without_limit_is_found_out() -> None:
    flights = Flights()
    answered(flights, 3000)
    assert len(fill(flights)) >= 150


def test_failures_let_fewer_be_in_flight() -> None:
    flights = Flights()
    answered(flights, 30)
    for _ in range(100):
        flights.failed()
    assert flights.room == 6


def test_those_in_flight_are_blamed_when_more_than_ever_are() -> None:
    flights = Flights()
    first, *_ = fill(flights)
    flights.back(first)
    flights.refused(told=False)
    assert flights.most == 5


def test_those_in_flight_are_not_blamed_when_the_server_says_when_to_return() -> None:
    flights = Flights()
    first, *_ = fill(flights)
    flights.back(first)
    flights.refused(told=True)
    assert flights.most is None


def test_a_refusal_with_hardly_anything_in_flight_acquits_their_number() -> None:
    flights = Flights()
    for departure in fill(flights):
        flights.back(departure)
        if flights.most is None:
            flights.refused(told=False)
    flights.refused(told=False)
    assert flights.most is None


@pytest.mark.parametrize("pardoned", [True, False])
def test_what_was_before_503s_returns_only_where_they_were_no_refusals(*, pardoned: bool) -> None:
    flights = Flights()
    answered(flights, 30)
    flights.halve()
    flights.refused(told=False)
    if pardoned:
        flights.pardon()
    flights.restart(1.0)
    assert flights.room == (16 if pardoned else 1)
