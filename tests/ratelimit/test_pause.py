"""How long a refusal closes the gate."""

import pytest

from chatloom_async.ratelimit.bucket import LearnedBucket
from chatloom_async.ratelimit.departures import Departures
from chatloom_async.ratelimit.pause import Pause
from chatloom_async.ratelimit.window import LearnedWindow


@pytest.mark.parametrize(("rate", "wait"), [(None, 0.25), (100.0, 0.25), (2.0, 0.75)])
def test_the_first_probe_waits_for_a_token_of_a_known_rate(rate: float | None, wait: float) -> None:
    bucket = LearnedBucket(Departures(), rate)
    assert Pause().first_probe(10.0, bucket, None) == pytest.approx(10 + wait)


def test_the_first_probe_of_a_window_waits_for_its_end() -> None:
    departures = Departures()
    window = LearnedWindow(departures, 10.0, 1, 0, 1.0)
    departures.add(1.0)
    assert Pause().first_probe(2.0, LearnedBucket(departures), window) == pytest.approx(11.03)
    assert Pause().first_probe(12.0, LearnedBucket(departures), window) == pytest.approx(12.1)


def test_probes_in_vain_leave_at_round_times_after_the_opening() -> None:
    pause, now, waits = Pause(), 1.2, list[float]()
    pause.begin(now, 1.1)
    for _ in range(4):
        pause.in_vain(now)
        now = pause.next_probe(now, 0.0, None, troubled=False)
        waits.append(round(now, 2))
    assert waits == [2.03, 5.03, 10.03, 15.03]


@pytest.mark.parametrize(("opened_at", "troubled"), [(0.0, False), (99.0, True)])
def test_where_the_opening_means_nothing_the_refusal_counts(
    opened_at: float, *, troubled: bool
) -> None:
    pause = Pause()
    pause.begin(100.0, 99.9)
    pause.in_vain(100.3)
    assert pause.next_probe(100.3, opened_at, None, troubled=troubled) == pytest.approx(100.53)
