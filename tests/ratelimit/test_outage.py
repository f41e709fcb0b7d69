"""When failures in a row are an outage, and when 503s are refusals."""

from chatloom_async.ratelimit.outage import OutageDetector


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
        found = detector.is_refusal(1.0, f"/{number}", told=told)
    return found


def test_many_503s_among_good_answers_are_refusals() -> None:
    assert not busy(OutageDetector(), good=5, bad=9)
    assert busy(OutageDetector(), good=5, bad=10)
    assert busy(OutageDetector(), good=5, bad=3, told=True)  # they say when to return
    assert not busy(OutageDetector(), good=0, bad=30)


def test_503s_of_one_resource_are_no_refusals() -> None:
    detector = OutageDetector()
    busy(detector, good=5, bad=0)
    assert not any(detector.is_refusal(1.0, "/poisoned", told=False) for _ in range(20))


def test_503s_are_failures_when_no_probe_succeeds() -> None:
    detector = OutageDetector()
    busy(detector, good=5, bad=10)
    detector.no_refusals()
    assert not detector.is_refusal(2.0, "/a", told=False)
