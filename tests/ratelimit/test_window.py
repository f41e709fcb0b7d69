"""A limit per window, as learned from refusals."""

import pytest

from chatloom_async.ratelimit.departures import Departures
from chatloom_async.ratelimit.window import Finding, LearnedWindow, round_down, round_up


def window(*, used: int = 100, vain: float = 0.0, failed: int = 0) -> LearnedWindow:
    """Return a window of 100 in 10 s, of which so many left within its first second."""
    log = Departures()
    made = LearnedWindow(log, 10.0, 100, failed, 0.0, vain)
    for number in range(used):
        log.add(number / 100)
    return made


def test_no_more_than_its_worth_leave_within_the_span() -> None:
    assert window(used=0).due(0.0, 0.0) == pytest.approx(10 / 6 / 100)  # they are spaced
    assert window(used=99).due(1.0, 1.0) < 1.1
    assert window(used=100).due(1.0, 1.0) == pytest.approx(10.03)


def test_a_window_that_has_to_end_early_is_worth_less() -> None:
    made = window(used=50)
    made.refuse(1.0)
    assert made.correct(1.0, vain=2, probe=10.1) is Finding.WINDOW
    assert made.worth == 50


def test_a_refusal_at_the_end_widens_the_margin_first() -> None:
    made = window(used=100)
    made.refuse(1.0)
    assert made.correct(1.0, vain=0, probe=10.1) is Finding.WINDOW
    assert made.worth == 100
    assert made.margin > 0.1


def test_refused_early_twice_it_is_a_rate() -> None:
    made = window(used=20)
    for sent_at in (0.5, 0.6):
        made.refuse(sent_at)
        found = made.correct(sent_at, vain=0, probe=sent_at + 0.3)
    assert found is Finding.RATE


@pytest.mark.parametrize(
    ("worth", "used", "probe", "found"),
    [(100, 1, 2.0, Finding.NOTHING), (4, 2, 10.1, Finding.WINDOW)],
)
def test_a_small_window_is_one_when_it_was_small_before(
    worth: int, used: int, probe: float, found: Finding
) -> None:
    made = window(used=used)
    made.worth = worth
    made.refuse(1.0)
    assert made.correct(1.0, vain=1, probe=probe) is found


def test_failures_take_no_place_until_a_refusal_shows_that_they_do() -> None:
    made = window(used=100, failed=3)
    made.failed(0.5)
    made.failed(0.6)
    assert made.due(1.0, 1.0) < 2
    made.refuse(1.1)
    assert made.correct(1.1, vain=0, probe=10.1) is Finding.WINDOW
    assert (made.worth, made.doubted) == (103, False)
    made.failed(0.7)
    assert made.worth == 103


def test_a_shorter_span_is_tried_where_the_end_was_guessed() -> None:
    made = window(vain=5.0)
    made.begin(0.0)
    assert made.free_at() == pytest.approx(8.03)


def test_it_is_tried_at_times_whether_there_is_more() -> None:
    made = window()
    made.due(40.0, 40.0)
    assert made.due(31.0, 31.0) < 31.1 or made.trying


@pytest.mark.parametrize(
    ("seconds", "up", "down"), [(0.3, 0.5, 0.25), (7, 10, 5), (10.1, 15, 10), (61.0, 62.0, 60)]
)
def test_round_times_are_what_people_choose(seconds: float, up: float, down: float) -> None:
    assert round_up(seconds) == up
    assert round_down(seconds) == down


def test_a_shorter_span_refused_is_not_tried_again() -> None:
    made = window(used=100, vain=5.0)
    made.shorter = 8.0
    made.refuse(8.1)
    assert made.correct(8.1, vain=0, probe=10.1) is Finding.WINDOW
    assert (made.shorter, made.margin) == (0.0, window().margin)


def test_what_lets_in_less_and_less_is_a_rate() -> None:
    made = window(used=100)
    for sent_at, found in ((1.0, Finding.WINDOW), (2.0, Finding.RATE)):
        made.refuse(sent_at)
        assert made.correct(sent_at, vain=0, probe=sent_at + 9) is found
