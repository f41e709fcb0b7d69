"""A limit per window, as learned from refusals."""

import pytest

from chatloom_async.ratelimit.departures import Departures
from chatloom_async.ratelimit.window import Finding, LearnedWindow


def window(*, used: int = 100, failed: int = 0) -> LearnedWindow:
    """Return a window of 100 in 10 s, of which so many left within its first second."""
    log = Departures()
    made = LearnedWindow(log, 10.0, 100, failed, 0.0)
    for number in range(used):
        log.add(number / 100)
    return made


def test_refused_early_twice_it_is_a_rate() -> None:
    made = window(used=20)
    for sent_at in (0.5, 0.6):
        made.refuse(sent_at)
        found = made.correct(sent_at, vain=0, probe=sent_at + 0.3, told=False)
    assert found is Finding.RATE


def test_a_longer_told_pause_lengthens_the_window() -> None:
    made = window(used=100)
    made.span = 2.0  # it had begun before
    made.began_at, made.doubted = 3.0, False
    made.refuse(3.0)
    assert made.correct(3.0, vain=0, probe=9.2, told=True) is Finding.WINDOW
    assert (made.worth, made.span) == (100, 10.0)


@pytest.mark.parametrize(("told", "rate"), [(True, 2.5), (False, 10.0)])
def test_a_store_taken_for_window_gives_its_rate(*, told: bool, rate: float) -> None:
    made = window(used=0)
    for sent_at in (20.0, 30.0):
        for tenth in range(20):
            made._departures.add(sent_at - 9 + tenth / 10)  # noqa: SLF001 - its log is the key's
        made.refuse(sent_at)
        made.correct(sent_at, vain=0, probe=sent_at + 1, told=told)
    assert made.rate == pytest.approx(rate)


def test_failures_take_no_place_until_refused() -> None:
    made = window(used=100, failed=3)
    made.failed(0.5)
    made.failed(0.6)
    assert made.due(1.0) < 2
    made.refuse(1.1)
    assert made.correct(1.1, vain=0, probe=10.1, told=False) is Finding.WINDOW
    assert (made.worth, made.doubted) == (103, False)
    made.failed(0.7)
    assert made.worth == 103


def test_a_shorter_span_is_tried_once_where_guessed() -> None:
    made = window()
    made.vain = 5.0
    made.begin(0.0)
    assert made.free_at() == pytest.approx(8.03)
    made.refuse(8.1)
    assert made.correct(8.1, vain=0, probe=10.1, told=False) is Finding.WINDOW
    assert (made.shorter, made.margin) == (0.0, window().margin)
