"""How many are in flight, and what refusals say of their number."""

import pytest

from chatloom_async.ratelimit.concurrency import LearnedConcurrency


def fill(concurrency: LearnedConcurrency, start: float = 0.0) -> list[float]:
    """Let as many leave as may."""
    left = list[float]()
    while not concurrency.full:
        left.append(start + len(left))
        concurrency.out.add(left[-1])
    return left


def answered(concurrency: LearnedConcurrency, answers: int) -> None:
    for number in range(answers):
        concurrency.out.add(-number)
        concurrency.accepted(0.0, -number)


def test_few_are_in_flight_at_first_and_more_with_each_good_answer() -> None:
    concurrency = LearnedConcurrency()
    assert len(fill(concurrency)) == 6
    concurrency.accepted(0.1, 0.0)
    assert len(fill(concurrency, 100.0)) == 2


def test_the_opening_ends_and_a_server_without_limit_is_found_out() -> None:
    concurrency = LearnedConcurrency()
    answered(concurrency, 300)
    assert len(fill(concurrency)) == 16
    concurrency = LearnedConcurrency()
    answered(concurrency, 3000)
    assert len(fill(concurrency)) >= 150


def test_failures_let_fewer_be_in_flight() -> None:
    concurrency = LearnedConcurrency()
    answered(concurrency, 30)
    for _ in range(100):
        concurrency.failed()
    assert concurrency.room == 6


@pytest.mark.parametrize(("told", "most"), [(False, 5), (True, None)])
def test_those_in_flight_are_blamed_when_nothing_is_told(*, told: bool, most: int | None) -> None:
    concurrency = LearnedConcurrency()
    first, *_ = fill(concurrency)
    concurrency.back(first)
    concurrency.refused(told=told)
    assert concurrency.most == most


def test_a_refusal_with_hardly_anything_in_flight_acquits_their_number() -> None:
    concurrency = LearnedConcurrency()
    for departure in fill(concurrency):
        concurrency.back(departure)
        if concurrency.most is None:
            concurrency.refused(told=False)
    concurrency.refused(told=False)
    assert concurrency.most is None


@pytest.mark.parametrize("pardoned", [True, False])
def test_what_was_before_503s_returns_only_where_they_were_no_refusals(*, pardoned: bool) -> None:
    concurrency = LearnedConcurrency()
    answered(concurrency, 30)
    concurrency.halve()
    concurrency.refused(told=False)
    if pardoned:
        concurrency.pardon()
    concurrency.restart(1.0)
    assert concurrency.room == (16 if pardoned else 1)


def blamed() -> LearnedConcurrency:
    """Return one whose first six were refused when the first of them came back."""
    concurrency = LearnedConcurrency()
    first, *_ = fill(concurrency)
    concurrency.back(first)
    concurrency.refused(told=False)
    return concurrency


def test_each_refusal_of_one_moment_was_none_of_those_accepted() -> None:
    concurrency = blamed()
    for departure in (1, 2):
        concurrency.back(departure)
        concurrency.refused_with_it()
    assert concurrency.most == len(concurrency.out) == 3
    assert concurrency.crowded


def test_a_probe_refused_with_others_in_flight_blames_them() -> None:
    concurrency = blamed()
    for departure in (1, 2, 3):
        concurrency.back(departure)
    assert concurrency.probe_refused()
    assert concurrency.most == 2
    concurrency.clear()
    assert not concurrency.probe_refused()
    assert concurrency.most is None


def test_one_more_is_tried_at_times_and_given_up_when_refused() -> None:
    concurrency = blamed()
    concurrency.clear()
    answered(concurrency, 50)
    assert concurrency.most == 6
    fill(concurrency)
    concurrency.refused(told=False)
    assert concurrency.most == 5
    answered(concurrency, 50)
    assert concurrency.most == 5  # it takes twice as long until the next time


@pytest.mark.parametrize(("seconds", "grown"), [(0.05, 1.09), (0.2, 1.36), (3.0, 1.5)])
def test_after_a_refusal_slow_answers_let_in_more_than_fast_ones(
    seconds: float, grown: float
) -> None:
    concurrency = LearnedConcurrency()
    concurrency.refused(told=False)
    concurrency.restart(1.0)
    concurrency.accepted(seconds, 0.0)
    assert concurrency.room == pytest.approx(grown)


def test_what_the_server_tells_to_be_left_may_be_in_flight() -> None:
    concurrency = LearnedConcurrency()
    concurrency.restart(1.0)
    concurrency.allow(9.0)
    assert concurrency.room == 9
    concurrency.allow(1000.0)
    assert concurrency.room == 16
