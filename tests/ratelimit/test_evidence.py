"""What speaks for one limit of all keys, and against it."""

import pytest

from chatloom_async.ratelimit.evidence import Suspicion, Trial

KEYS = "abc"


@pytest.mark.parametrize(
    ("accepted", "apart", "suspected"), [(0, 0.1, True), (6, 0.1, False), (0, 1.1, False)]
)
def test_three_keys_refused_together_arouse_suspicion(
    accepted: int, apart: float, *, suspected: bool
) -> None:
    suspicion = Suspicion()
    found = [suspicion.refused(10 + n * apart, key, accepted) for n, key in enumerate(KEYS)]
    assert found == [False, False, suspected]


def test_nothing_is_suspected_soon_after_a_mistake() -> None:
    suspicion = Suspicion()
    suspicion.was_wrong(10.0)
    assert not any(suspicion.refused(69.0, key, 0) for key in KEYS)
    assert any(suspicion.refused(71.0, key, 0) for key in KEYS)


def test_each_refused_trial_puts_off_the_next() -> None:
    trial, now, pauses = Trial(), 10.0, list[float]()
    for _ in range(4):
        trial.refused(now)
        pauses.append(trial.at - now)
        now = trial.at
    assert pauses == sorted(set(pauses))


@pytest.mark.parametrize(("vain", "enough"), [(False, 6), (True, 2)])
def test_trials_let_in_a_row_prove_own_limits(*, vain: bool, enough: int) -> None:
    trial = Trial(vain=vain)
    assert not any(trial.let_in() for _ in range(enough - 1))
    trial.refused(10.0)
    assert [trial.let_in() for _ in range(enough)] == [False] * (enough - 1) + [True]
