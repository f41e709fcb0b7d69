"""What answers tell of the limit, and how far it is believed."""

import pytest

from chatloom_async.ratelimit.departures import Departures
from chatloom_async.ratelimit.told import ToldQuota
from chatloom_async.ratelimit.values import ToldLimit

NAME = "x-ratelimit-remaining"


def told(remaining: float, reset: float) -> ToldLimit:
    return ToldLimit(NAME, remaining, reset, 100, None)


def heard(remaining: float, reset: float, others: int = 0, own: int = 100) -> ToldQuota:
    """Return what is known after one answer; ``own`` of 100 requests are ours."""
    departures = Departures()
    for number in range(own):
        departures.add(number / 1000)
    quota = ToldQuota(departures)
    quota.hear(0.0, 0.0, others, told(remaining, reset))
    return quota


@pytest.mark.parametrize(
    ("remaining", "reset", "others", "due"),
    [(1, 10, 0, 1), (0, 10, 0, 10), (5, 10, 5, 10)],
    ids=["something is left", "nothing is left", "the rest is in flight"],
)
def test_nothing_left_means_waiting_for_the_reset(
    remaining: float, reset: float, others: int, due: float
) -> None:
    assert heard(remaining, reset, others).due(1.0) == pytest.approx(due, abs=0.1)


def test_the_fewest_told_of_one_window_count() -> None:
    quota = heard(2, 10)
    quota.hear(0.1, 0.0, 0, told(50, 10))  # it was overtaken
    assert quota.left == 2


def test_an_answer_from_before_the_reset_changes_nothing() -> None:
    quota = heard(0, 10)
    assert quota.spend(10.1)
    quota.hear(10.2, 9.9, 0, told(0, 10))
    assert quota.due(10.3) == 10.3


def test_a_quota_returning_in_bits_is_paced_evenly() -> None:
    quota = heard(0, 10)
    assert quota.spend(10.1)  # the first one after the reset
    assert quota.hear(10.2, 10.1, 0, told(1, 10)) == pytest.approx(9.8, rel=0.05)


@pytest.mark.parametrize(("own", "gap"), [(98, 9.9 / 99), (99, 0.0)])
def test_neighbours_on_the_key_make_it_leave_evenly(own: int, gap: float) -> None:
    quota = heard(0, 10, own=own)  # who else used the rest of the 100?
    quota.spend(10.5)
    quota.hear(10.6, 10.5, 0, told(99, 10))
    assert quota.due(10.7) == pytest.approx(10.7 + gap, abs=0.01)


def test_a_rounded_reset_is_not_waited_out() -> None:
    quota = heard(0, 2)
    quota.spend(2.03)
    quota.hear(2.1, 2.03, 0, told(99, 1.9))  # of a window of one second, at 4.0
    quota.left = 0
    assert quota.confirmed
    assert quota.due(2.2) == pytest.approx(3.06)


def test_a_window_refused_early_is_tried_later() -> None:
    quota = heard(0, 2)
    for now, end in ((2.03, 3.06), (5.0, 6.12), (9.0, 11.09)):
        quota.spend(now)
        quota.hear(now + 0.07, now, 0, told(99, 1.9))
        quota.left = 0
        assert quota.due(now + 0.1) == pytest.approx(end, abs=0.1)
        quota.spend(end)  # and it is refused
        quota.hear(end + 0.07, end, 0, told(0, now + 1.97 - end - 0.07))


def test_a_late_answer_gives_nothing_back() -> None:
    quota = heard(0, 10)
    assert not quota.contradicted(1.0)
    quota.hear(1.1, 0.9, 0, told(2, 9))
    assert quota.due(2.0) > 9
    assert quota.spend(10.1)  # the first one after the reset
