"""What answers tell of the limit, and how far it is believed."""

import pytest

from chatloom_async.ratelimit.told import ToldQuota
from chatloom_async.ratelimit.values import ToldLimit

NAME = "x-ratelimit-remaining"


def told(remaining: float, reset: float) -> ToldLimit:
    return ToldLimit(NAME, remaining, reset, 100, None)


def heard(remaining: float, reset: float, since: int = 0) -> ToldQuota:
    quota = ToldQuota()
    quota.hear(0.0, 0.0, since, told(remaining, reset))
    return quota


@pytest.mark.parametrize(
    ("remaining", "reset", "since", "due"),
    [(1, 10, 0, 1), (0, 10, 0, 10), (5, 10, 5, 10), (0, 3000, 0, 1)],
    ids=["something is left", "nothing is left", "the rest left since", "a reset far away"],
)
def test_a_reset_is_waited_for_when_nothing_is_left(
    remaining: float, reset: float, since: int, due: float
) -> None:
    assert heard(remaining, reset, since).due(1.0) == pytest.approx(due, abs=0.1)


def test_an_older_answer_changes_nothing() -> None:
    quota = ToldQuota()
    quota.hear(2.0, 1.5, 0, told(0, 10))
    quota.hear(2.1, 1.0, 0, told(50, 10))
    assert quota.due(3.0) > 11


def test_a_refusal_against_it_ends_the_belief() -> None:
    quota = heard(50, 10)
    assert quota.contradicted(1.0)
    quota.hear(2.0, 2.0, 0, told(0, 10))
    assert not quota.guides
    assert quota.due(3.0) == 3.0


def test_a_quota_that_comes_back_bit_by_bit_is_paced_evenly() -> None:
    quota = heard(0, 10)
    assert quota.spend(10.1)  # the first one after the reset
    assert quota.hear(10.2, 10.1, 0, told(1, 10)) == pytest.approx(9.8, rel=0.05)


def test_neighbours_on_the_key_make_it_leave_evenly() -> None:
    quota = heard(100, 10)
    for second in range(60):
        quota.spend(second / 60)
    quota.hear(1.1, 1.1, 0, told(0, 9))  # they took the other 40
    quota.spend(10.5)
    quota.hear(10.6, 10.5, 0, told(99, 10))
    assert quota.due(10.7) == pytest.approx(10.7 + 9.9 / 99, abs=0.01)


def test_a_late_answer_gives_nothing_back_after_a_refusal() -> None:
    quota = heard(0, 10)
    assert not quota.contradicted(1.0)
    quota.hear(1.1, 0.9, 0, told(2, 9))
    assert quota.due(2.0) > 9
    assert quota.spend(10.1)  # the first one after the reset
