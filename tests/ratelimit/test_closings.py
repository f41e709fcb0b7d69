"""Why a gate closes, and for how long."""

import pytest

from chatloom_async.ratelimit.bucket import LearnedBucket
from chatloom_async.ratelimit.closings import OutageDetector, Pause
from chatloom_async.ratelimit.departures import Departures


def failing(detector: OutageDetector, *resources: str, times: int = 10) -> bool:
    """Let so many fail in turn; tell whether it is an outage."""
    for number in range(times):
        detector.extend(resources[number % len(resources)])
    return detector.is_outage(100.0)


def test_ten_failures_of_three_resources_are_an_outage() -> None:
    detector = OutageDetector()
    detector.end(99.0, "/well")
    assert not failing(detector, "/a", "/b", "/c", times=9)
    assert failing(detector, "/a", times=1)


def test_one_resource_failing_alone_is_no_outage() -> None:
    for answered, outage in ((99.0, False), (39.0, True)):
        detector = OutageDetector()
        detector.end(answered, "/well")
        assert failing(detector, "/poisoned", times=50) is outage


def test_a_good_answer_starts_the_count_afresh() -> None:
    detector = OutageDetector()
    failing(detector, "/a", "/b", "/c", times=9)
    detector.end(99.0, "/a")
    assert not failing(detector, "/a", "/b", "/c", times=9)


def busy(detector: OutageDetector, *, good: int, bad: int, told: bool = False) -> bool:
    """Let 503s come among good answers; tell whether the last one is a refusal."""
    found = False
    for number in range(good):
        detector.end(1.0, f"/{number}")
    for number in range(bad):
        found = detector.judge_503(1.0, f"/{number}", told=told)
    return found


def test_many_503s_among_good_answers_are_refusals() -> None:
    assert not busy(OutageDetector(), good=5, bad=9)
    assert busy(OutageDetector(), good=5, bad=10)
    assert busy(OutageDetector(), good=5, bad=3, told=True)  # they say when to return
    assert not busy(OutageDetector(), good=0, bad=30)


def test_503s_of_one_resource_are_no_refusals() -> None:
    detector = OutageDetector()
    busy(detector, good=5, bad=0)
    assert not any(detector.judge_503(1.0, "/poisoned", told=False) for _ in range(20))


def test_503s_stay_refusals_for_a_minute() -> None:
    detector = OutageDetector()
    busy(detector, good=5, bad=10)
    busy(detector, good=30, bad=0)
    assert detector.judge_503(60.0, "/a", told=False)


@pytest.mark.parametrize(("rate", "wait"), [(None, 0.25), (100.0, 0.25), (2.0, 0.75)])
def test_the_first_probe_waits_for_a_token(rate: float | None, wait: float) -> None:
    bucket = LearnedBucket(Departures(), rate)
    assert Pause().first_probe(10.0, bucket, None) == pytest.approx(10 + wait)


@pytest.mark.parametrize(("opened_at", "troubled"), [(0.0, False), (99.0, True)])
def test_a_meaningless_opening_counts_for_nothing(opened_at: float, *, troubled: bool) -> None:
    pause = Pause()
    pause.begin(100.0, 99.9)
    pause.in_vain(100.3)
    assert pause.next_probe(100.3, opened_at, 0.0, None, troubled=troubled) == pytest.approx(100.53)


@pytest.mark.parametrize(("period", "probe"), [(45.0, 45.03), (170.0, 2.03)])
def test_what_repeats_within_a_minute_is_a_window(period: float, probe: float) -> None:
    pause = Pause(period=period)
    pause.begin(1.0, 0.9)
    pause.in_vain(1.3)
    assert pause.next_probe(1.3, 0.0, 0.0, None, troubled=False) == pytest.approx(probe)


@pytest.mark.parametrize(("waited", "probe"), [(16.0, 30), (60.0, 70), (75.0, 80), (131.0, 140)])
def test_probes_come_evenly_after_a_minute_of_them(waited: float, probe: float) -> None:
    pause = Pause()
    pause.begin(1.0, 0.9)
    pause.in_vain(waited)
    found = pause.next_probe(waited, 0.0, 0.0, None, troubled=False)
    assert found == pytest.approx(probe + 0.03)
