"""How long a refusal closes the gate."""

import pytest

from chatloom_async.ratelimit.bucket import LearnedBucket
from chatloom_async.ratelimit.departures import Departures
from chatloom_async.ratelimit.pause import Pause
from chatloom_async.ratelimit.window import LearnedWindow


@pytest.mark.parametrize(("rate", "wait"), [(None, 0.25), (100.0, 0.25), (2.0, 0.75)])
def test_the_first_probe_waits_for_a_token(rate: float | None, wait: float) -> None:
    bucket = LearnedBucket(Departures(), rate)
    assert Pause().first_probe(10.0, bucket, None) == pytest.approx(10 + wait)


@pytest.mark.parametrize(("now", "probe"), [(2.0, 11.03), (12.0, 12.0)])
def test_the_first_probe_waits_for_the_windows_end(now: float, probe: float) -> None:
    departures = Departures()
    window = LearnedWindow(departures, 10.0, 1, 0, 1.0)
    departures.add(1.0)
    bucket = LearnedBucket(departures)
    assert Pause().first_probe(now, bucket, window) == pytest.approx(probe)


@pytest.mark.parametrize(("opened_at", "troubled"), [(0.0, False), (99.0, True)])
def test_a_meaningless_opening_counts_for_nothing(opened_at: float, *, troubled: bool) -> None:
    pause = Pause()
    pause.begin(100.0, 99.9)
    pause.in_vain(100.3)
    assert pause.next_probe(100.3, opened_at, None, troubled=troubled) == pytest.approx(100.53)


@pytest.mark.parametrize(("period", "probe"), [(45.0, 45.03), (170.0, 2.03)])
def test_what_repeats_within_a_minute_is_a_window(period: float, probe: float) -> None:
    pause = Pause(period=period)
    pause.begin(1.0, 0.9)
    pause.in_vain(1.3)
    assert pause.next_probe(1.3, 0.0, None, troubled=False) == pytest.approx(probe)


@pytest.mark.parametrize(("waited", "probe"), [(16.0, 30), (60.0, 60.25), (75.0, 80), (131.0, 135)])
def test_probes_are_frequent_after_a_minute_of_them(waited: float, probe: float) -> None:
    pause = Pause()
    pause.begin(1.0, 0.9)
    pause.in_vain(waited)
    found = pause.next_probe(waited, 0.0, None, troubled=False)
    assert found == pytest.approx(probe + 0.03)
