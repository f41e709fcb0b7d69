"""The ceiling as a value, and the schedule's ten lines, one by one, told what the time is."""

import math
from itertools import pairwise

import pytest
from attrs.exceptions import FrozenInstanceError

from chatloom_async.errors import ConfigurationError
from chatloom_async.ratelimit.bucket import LearnedBucket
from chatloom_async.ratelimit.schedule import Schedule
from chatloom_async.ratelimit.values import RateLimit

UNLIMITED = RateLimit(per_minute=None)
A, B, C = "/agents/a", "/agents/b", "/agents/c"


def no_jitter(low: float, high: float) -> float:
    return low if low == 0 else (low + high) / 2


def schedule(limit: RateLimit = UNLIMITED, now: float = 1000.0) -> Schedule:
    return Schedule(limit, now, no_jitter)


def depart(subject: Schedule, until: float) -> list[float]:
    """Let everybody leave as early as possible, all admitted 50 ms later."""
    departures = list[float]()
    while subject.ready < until:
        departures.append(subject.leave(subject.ready))
        subject.admitted(departures[-1], A)
    return departures


def learned(per_second: float = 10.0, now: float = 1000.0) -> tuple[Schedule, float]:
    """Refuse twice, ten seconds and `10 * per_second` admitted requests apart."""
    subject = schedule(now=now)
    refuse(subject, now)
    start = probe(subject)
    for number in range(round(10 * per_second)):
        subject.admitted(now + (number + 1) / per_second, A)
    subject.ready = now + 10
    refuse(subject, now + 10)
    assert start < now + 10
    return subject, now + 10


def refuse(subject: Schedule, now: float, retry_after: float | None = None) -> float:
    subject.ready = min(subject.ready, now)
    departure = subject.leave(now)
    subject.refused(now, departure, retry_after)
    return departure


def probe(subject: Schedule) -> float:
    """Let the probe leave and succeed at once."""
    assert subject.closed
    now = subject.ready
    departure = subject.leave(now)
    subject.reopen(now)
    subject.admitted(departure, A)
    return now


def measured(per_second: float = 10.0, seconds: float = 10.0, pause: float = 1.0) -> LearnedBucket:
    """Refused at 0 and after so many seconds, so many a second let in between, then reopened."""
    subject = LearnedBucket(0.0)
    subject.refuse(0.0, 0.0)
    subject.reopen(1.0, 1.0, 1.0)
    accepted(subject, round(per_second * seconds) + 1, 0.0, seconds)
    subject.refuse(seconds, seconds)
    subject.reopen(seconds + pause, seconds + pause, pause)
    assert subject.rate == pytest.approx(per_second)
    return subject


def accepted(subject: LearnedBucket, count: int, start: float, end: float) -> None:
    for number in range(count):
        subject.accepted(start + (end - start) * (number + 0.5) / count)


def stored(subject: LearnedBucket, now: float) -> int:
    """Take what may leave at once, and count it."""
    subject.spend(now)
    count = 1
    while subject.due(now, -math.inf) <= now + 1e-9:
        subject.spend(now)
        count += 1
    return count


# The ceiling as a value


def test_the_default_is_fair_use() -> None:
    assert RateLimit() == RateLimit(per_minute=300, burst=300)


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, "300", True, [], 1e-9])
def test_per_minute_is_refused_when_it_is_no_positive_number(value: object) -> None:
    with pytest.raises(ConfigurationError, match=r"^RateLimit\.per_minute is"):
        RateLimit(per_minute=value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [0, 0.5, -1, math.nan, math.inf, "60", None, False])
def test_burst_is_refused_below_one(value: object) -> None:
    with pytest.raises(ConfigurationError, match=r"^RateLimit\.burst is"):
        RateLimit(burst=value)  # type: ignore[arg-type]


def test_one_request_in_a_thousand_minutes_is_a_ceiling_too() -> None:
    assert RateLimit(per_minute=0.001).per_minute == 0.001


def test_the_ceiling_cannot_be_changed() -> None:
    limit = RateLimit()
    with pytest.raises(FrozenInstanceError):
        limit.burst = 1000  # type: ignore[misc]


# Line 1: the ceiling


@pytest.mark.parametrize(
    "limit", [RateLimit(), RateLimit(60, 1), RateLimit(1200, 7.5), RateLimit(30, 200)], ids=str
)
def test_no_window_ever_holds_more_than_the_ceiling(limit: RateLimit) -> None:
    departures = depart(schedule(limit), 1120.0)
    assert limit.per_minute is not None
    for first in range(0, len(departures), 7):
        for last in range(first, len(departures)):
            window = departures[last] - departures[first]
            assert last - first + 1 <= limit.burst + limit.per_minute / 60 * window + 1e-6


def test_the_ceiling_is_used_to_the_full() -> None:
    assert len(depart(schedule(RateLimit(burst=60)), 1120.1)) == 60 + 5 * 120


def test_a_probe_counts_against_the_ceiling() -> None:
    subject = schedule(RateLimit(per_minute=6, burst=1))
    refuse(subject, 1000.0, retry_after=1)
    assert subject.ready == pytest.approx(1010)


# Line 2: the opening


def test_forty_a_second_leave_while_nothing_is_known() -> None:
    assert 40 <= len(depart(schedule(), 1001.0)) <= 42


def test_twice_as_many_leave_twenty_seconds_later() -> None:
    subject = schedule()
    depart(subject, 1020.0)
    assert 79 <= len(depart(subject, 1021.0)) <= 84


@pytest.mark.parametrize(("seconds", "speed"), [(0, 40), (20, 80), (50, 40 * 2**2.5)])
def test_the_speed_of_the_opening_doubles_every_twenty_seconds(
    seconds: float, speed: float
) -> None:
    assert schedule().budget.speed(1000 + seconds) == pytest.approx(speed)


def test_the_opening_stands_still_while_nobody_wants_to_leave() -> None:
    subject = schedule()
    subject.leave(1000.0)
    subject.leave(5000.0)
    assert subject.ready == pytest.approx(5000 + 1 / 40, abs=0.006)


def test_the_opening_reaches_any_speed_without_overflow() -> None:
    subject, now = schedule(), 1000.0
    for _ in range(300_000):
        now += 0.5
        subject.leave(now)
    assert subject.ready < now + 1e-6


def test_tickets_of_one_moment_differ() -> None:
    subject = schedule()
    assert len({subject.leave(1000.0) for _ in range(100)}) == 100


# Line 3: the first refusal


def test_the_first_refusal_closes_the_gate() -> None:
    subject = schedule()
    refuse(subject, 1000.0)
    assert subject.closed
    assert subject.ready == 1001


def test_an_echo_changes_nothing() -> None:
    subject = schedule()
    departures = [subject.leave(1000 + number / 40) for number in range(5)]
    subject.refused(1000.2, departures[0], None)
    ready = subject.ready
    for echo in departures[1:]:
        subject.refused(1000.25, echo, None)
    assert subject.ready == ready


def test_an_echo_is_none_when_it_arrives_after_the_reopening() -> None:
    subject = schedule()
    departures = [subject.leave(1000 + number / 40) for number in range(5)]
    subject.refused(1000.2, departures[0], None)
    probe(subject)
    subject.refused(subject.ready, departures[4], None)
    assert not subject.closed


def test_an_echo_that_asks_for_longer_is_obeyed() -> None:
    subject = schedule()
    departures = [subject.leave(1000 + number / 40) for number in range(2)]
    subject.refused(1000.2, departures[0], 5)
    subject.refused(1000.3, departures[1], 9)
    assert subject.ready == pytest.approx(1009.3)


# Line 4: how long the gate stays closed


@pytest.mark.parametrize(
    ("retry_after", "expected"),
    [(30, 30), (0.25, 0.25), (1e9, 120), (None, 1), (0, 1), (-5, 1), (math.nan, 1)],
)
def test_the_probe_waits_as_long_as_asked(retry_after: float | None, expected: float) -> None:
    subject = schedule()
    refuse(subject, 1000.0, retry_after)
    assert subject.ready == pytest.approx(1000 + expected)


def test_a_refused_probe_waits_as_long_as_it_is_asked_to() -> None:
    subject = schedule()
    refuse(subject, 1000.0)
    now = subject.ready
    subject.refused(now, subject.leave(now), 30)
    assert subject.ready == pytest.approx(now + 30)


def test_only_one_probe_leaves() -> None:
    subject = schedule()
    refuse(subject, 1000.0)
    subject.leave(1001.0)
    assert subject.ready == math.inf


def test_refused_probes_wait_1_2_4_up_to_64_seconds() -> None:
    subject, pauses = schedule(), list[float]()
    refuse(subject, 1000.0)
    for _ in range(9):
        now = subject.ready
        subject.refused(now, subject.leave(now), None)
        pauses.append(subject.ready - now)
    assert pauses == pytest.approx([2, 4, 8, 16, 32, 64, 64, 64, 64])


def test_the_probe_leaves_when_the_oldest_request_of_the_minute_is_sixty_seconds_old() -> None:
    subject, oldest = schedule(), 990.0
    subject.admitted(oldest, A)
    refuse(subject, 1000.0)
    sent = list[float]()
    for _ in range(6):
        now = subject.ready
        sent.append(now)
        subject.refused(now, subject.leave(now), None)
    assert sent[-1] == pytest.approx(oldest + 60.5)


def test_probes_refused_after_that_minute_wait_as_long_as_it_is_over() -> None:
    subject, pauses = schedule(), list[float]()
    subject.admitted(940.5, A)  # its minute, and a moment, is over at 1001
    refuse(subject, 1000.0, retry_after=0.5)
    for _ in range(4):
        now = subject.ready
        subject.refused(now, subject.leave(now), None)
        pauses.append(subject.ready - now)
    assert pauses == pytest.approx([1, 1, 1.5, 3])


def test_the_gate_is_not_shut_for_longer_while_nobody_wants_to_probe() -> None:
    subject = schedule()
    refuse(subject, 1000.0, retry_after=5)
    subject.leave(1005 + 3600)
    assert subject.closed_since == 1000 + 3600


def test_a_successful_probe_opens_the_gate() -> None:
    subject = schedule()
    refuse(subject, 1000.0)
    probe(subject)
    assert not subject.closed
    assert subject.ready < math.inf


def test_the_next_in_line_probes_when_the_probe_is_lost() -> None:
    subject = schedule()
    refuse(subject, 1000.0)
    subject.abandoned(1003.0, subject.leave(1001.0))
    assert subject.closed
    assert subject.ready == 1003


def test_a_pause_that_a_window_needed_is_tried_first_the_next_time() -> None:
    subject = schedule()
    refuse(subject, 1000.0, retry_after=40)
    now = probe(subject)
    for number in range(40):
        subject.admitted(now + number / 10, A)
    refuse(subject, now + 5)
    assert subject.ready == pytest.approx(now + 5 + 40)


def test_half_the_pause_that_a_bucket_needed_is_tried_first_the_next_time() -> None:
    subject = schedule()
    refuse(subject, 1000.0, retry_after=4)
    now = probe(subject)
    refuse(subject, now + 5)
    assert subject.ready == pytest.approx(now + 5 + 2)


# Line 5: the measurement


@pytest.mark.parametrize("per_second", [1.0, 5.0, 10.0, 50.0])
def test_what_was_let_in_between_two_refusals_is_the_limit(per_second: float) -> None:
    subject, _ = learned(per_second)
    assert subject.budget.rate == pytest.approx(per_second, rel=0.01, abs=0.11)


def test_nothing_is_learned_from_one_refusal() -> None:
    subject = schedule()
    refuse(subject, 1000.0)
    assert subject.budget.rate is None


def test_a_long_pause_tells_a_window_from_what_it_let_in() -> None:
    subject = schedule()
    for number in range(300):
        subject.admitted(1000 + number / 40, A)
    refuse(subject, 1008.0, retry_after=52)
    probe(subject)
    assert subject.budget.rate == pytest.approx(5.0)


def test_a_window_that_others_used_up_tells_nothing() -> None:
    subject = schedule()
    subject.admitted(999.0, A)
    refuse(subject, 1000.0, retry_after=52)
    probe(subject)
    assert subject.budget.rate is None


def test_a_server_that_let_only_the_probe_in_is_taken_to_let_one_in_each_time() -> None:
    subject = LearnedBucket(0.0)
    subject.refuse(0.0, 0.0)
    subject.reopen(1.0, 1.0, 1.0)
    subject.accepted(1.0)
    subject.refuse(5.0, 5.0)
    assert subject.rate == pytest.approx(1 / 5)


def test_the_limit_of_a_short_window_is_measured_between_refusals() -> None:
    subject = measured(10.0, seconds=10, pause=10)
    accepted(subject, 60, 20.0, 50.0)
    subject.refuse(50.0, 50.0)
    assert subject.rate == pytest.approx((101 + 60 - 1) / 50)


def test_a_long_pause_that_stored_less_than_half_of_its_tokens_was_not_a_windows() -> None:
    subject = measured(10.0, seconds=10, pause=10)
    accepted(subject, 40, 20.0, 25.0)
    subject.refuse(25.0, 25.0)
    assert subject.pause == 0
    assert subject.rate == pytest.approx(10.0)
    subject.reopen(26.0, 26.0, 1.0)
    accepted(subject, 21, 26.0, 35.0)
    subject.refuse(35.0, 35.0)
    assert subject.rate == pytest.approx(20 / 10)


# Line 6: the bucket


def test_tokens_of_the_pause_leave_quickly_and_the_rest_evenly() -> None:
    subject, now = learned(10.0)
    assert subject.ready == now + 1
    departures = [probe(subject), *depart(subject, now + 10)]
    gaps = [later - earlier for earlier, later in pairwise(departures)]
    assert gaps[1] < 0.08
    assert gaps[-1] == pytest.approx(0.1, rel=0.02)


def test_a_little_of_what_the_rate_allows_stays_with_the_server_after_a_refusal() -> None:
    subject, now = learned(10.0)
    probe(subject)
    rate = subject.budget.rate
    assert rate is not None
    assert 9 * rate - 5 <= len(depart(subject, now + 9)) <= 9 * rate - 2


def test_a_refused_bucket_begins_a_token_and_a_fifth_of_a_second_below_empty() -> None:
    subject = measured(10.0, seconds=10)
    subject.refuse(11.0, 11.0)
    assert subject.rate is not None
    assert subject.due(11.0, -math.inf) == pytest.approx(11.0 + 2 / subject.rate + 0.2)


def test_stored_tokens_leave_in_about_a_second_and_a_half() -> None:
    subject = measured(10.0, seconds=10)
    assert subject.speed(11.0) == pytest.approx(10 + (10 - 3) / 1.4)


def test_stored_tokens_do_not_leave_all_at_once() -> None:
    subject = measured(10.0, seconds=10)
    assert subject.due(11.0, 11.0) == pytest.approx(11 + 1 / subject.speed(11.0))


def test_an_idle_bucket_holds_what_a_minute_brings() -> None:
    subject = measured(0.5, seconds=20)
    subject.stand_still(3600)
    assert stored(subject, 3621.0) == 30


# Line 7: the cap


def test_the_bucket_is_capped_when_refused_with_tokens_left() -> None:
    subject, _ = learned(10.0)
    now = probe(subject) + 100  # idle, so that the bucket fills
    for number in range(20):
        subject.admitted(subject.leave(now + number / 40), A)
    refuse(subject, now + 0.5, retry_after=100)
    reopened = probe(subject)
    assert len(depart(subject, reopened + 1)) <= 20 + 10


@pytest.mark.parametrize("got_through", [1, 5])
def test_a_refusal_with_tokens_left_caps_the_bucket_at_what_got_through(got_through: int) -> None:
    subject = measured(10.0)
    accepted(subject, got_through, 11.0, 11.5)
    subject.refuse(11.5, 11.5)
    subject.reopen(12.5, 12.5, 1.0)
    subject.stand_still(100)
    assert stored(subject, 112.5) == got_through


def test_a_refusal_with_no_tokens_left_caps_nothing() -> None:
    subject = measured(10.0)
    taken = stored(subject, 11.0)
    accepted(subject, taken, 11.0, 11.5)
    subject.refuse(11.5, 11.5)
    subject.reopen(12.5, 12.5, 1.0)
    subject.stand_still(100)
    assert stored(subject, 112.5) > 10 * taken


# Line 8: growth


@pytest.mark.parametrize(
    ("trusts", "factor"), [(0.5, 1.0), (1.0, 1.0), (1.5, 1.1), (2.0, 1.8), (3.0, 7.4)]
)
def test_the_rate_rises_along_a_cubic(trusts: float, factor: float) -> None:
    subject = measured(10.0, seconds=10)
    stored(subject, 11.0)
    assert subject.speed(11 + trusts * 10) == pytest.approx(10 * factor)


def test_the_rate_holds_for_as_long_as_it_was_measured_and_then_rises() -> None:
    subject, _ = learned(10.0)
    opened = probe(subject)
    rate = subject.budget.rate
    assert rate is not None
    depart(subject, opened + 10)
    assert len(depart(subject, opened + 11)) <= rate + 1
    depart(subject, opened + 25)
    assert len(depart(subject, opened + 26)) > 2 * rate


def test_the_rate_does_not_rise_while_nobody_wants_to_leave() -> None:
    subject, _ = learned(10.0)
    now = probe(subject) + 3600
    subject.leave(now)
    assert subject.budget.speed(now) <= 40


# Line 9: the limit moved


def test_a_fall_is_learned_at_once() -> None:
    subject, now = learned(10.0)
    for _ in range(12):  # a minute at ten a second
        start = probe(subject)
        for number in range(50):
            subject.admitted(start + number / 10, A)
        now = start + 5
        refuse(subject, now)
    assert subject.budget.rate == pytest.approx(10.0, rel=0.25)
    start = probe(subject)
    for number in range(10):
        subject.admitted(start + number / 2, A)
    refuse(subject, start + 5)
    assert subject.budget.rate == pytest.approx(2.0, rel=0.2)


def test_a_fallen_limit_is_what_was_let_in_since_the_refusal_before() -> None:
    subject = measured(10.0)
    accepted(subject, 3, 11.0, 12.0)
    subject.refuse(12.0, 12.0)
    assert subject.rate == pytest.approx((3 + 1) / 2)


def test_a_limit_that_stays_is_measured_since_the_first_refusal() -> None:
    subject = measured(10.0, seconds=10)
    accepted(subject, 95, 11.0, 20.0)
    subject.refuse(20.0, 20.0)
    assert subject.rate == pytest.approx((101 + 95 - 1) / 20)


def test_a_rate_trusted_for_a_minute_and_refused_far_above_itself_is_left_behind() -> None:
    subject = measured(10.0, seconds=60)
    accepted(subject, 1200, 61.0, 181.0)
    subject.refuse(181.0, 181.0)  # two minutes of trust later: at 1.8 times its rate
    assert subject.rate == pytest.approx(18 / 1.25)
    subject.reopen(182.0, 182.0, 1.0)
    stored(subject, 182.0)
    subject.spend(182.0)
    assert subject.speed(182 + 2 * 5) == pytest.approx(1.8 * 18 / 1.25)


def test_a_rate_trusted_for_a_minute_and_refused_near_itself_is_measured_on() -> None:
    subject = measured(10.0, seconds=60)
    accepted(subject, 590, 61.0, 120.0)
    subject.refuse(120.0, 120.0)
    assert subject.rate == pytest.approx((590 - 1) / 60, rel=0.02)


def test_a_rate_of_a_few_seconds_is_measured_on_however_far_above_it_was_refused() -> None:
    subject = measured(10.0, seconds=10)
    accepted(subject, 180, 11.0, 31.0)
    subject.refuse(31.0, 31.0)
    assert subject.rate == pytest.approx((101 + 180 - 1) / 31)


def test_a_rise_is_followed() -> None:
    subject, now = learned(1.0)
    for _ in range(8):
        start = probe(subject)
        for number in range(10):
            subject.admitted(start + number, A)
        now = start + 10
        refuse(subject, now)
    start = probe(subject)
    departures = depart(subject, start + 250)
    refuse(subject, departures[-1] + 0.01)
    assert subject.budget.rate is not None
    assert subject.budget.rate > 2


# How long those wait who wait


def test_the_forecast_of_a_closed_gate_is_when_its_probe_leaves() -> None:
    subject = schedule()
    refuse(subject, 1000.0, retry_after=30)
    assert subject.forecast(1000.0, 1) == pytest.approx(30)


def test_the_forecast_of_an_open_gate_is_what_its_speed_allows() -> None:
    assert schedule().forecast(1000.0, 400) == pytest.approx(400 / 40)


# Line 10: outages


def fail(subject: Schedule, paths: list[str], now: float = 1000.0) -> None:
    for path in paths:
        subject.failed(now, subject.leave(now), path)


def test_ten_failures_in_a_row_from_three_resources_close_the_gate() -> None:
    subject = schedule()
    for path in (A, B, C):
        subject.admitted(subject.leave(1000.0), path)
    fail(subject, [A, B, C] * 3)
    assert not subject.closed
    fail(subject, [A])
    assert subject.closed
    assert subject.ready == 1000.5


def test_three_failing_resources_close_the_gate_although_a_fourth_answers() -> None:
    subject = schedule()
    subject.admitted(subject.leave(1000.0), "/agents/d")
    fail(subject, [A, B, C] * 3 + [A])
    assert subject.closed


def test_one_poisoned_resource_closes_nothing() -> None:
    subject = schedule()
    for path in (A, B, C):
        subject.admitted(subject.leave(1000.0), path)
    fail(subject, [A] * 50)
    assert not subject.closed


def test_one_resource_closes_the_gate_when_no_other_answered_lately() -> None:
    subject = schedule()
    subject.admitted(subject.leave(1000.0), B)
    fail(subject, [A] * 10, now=1060.5)
    assert subject.closed


def test_a_good_answer_between_starts_the_count_afresh() -> None:
    subject = schedule()
    fail(subject, [A, B, C] * 3)
    subject.admitted(subject.leave(1000.0), A)
    fail(subject, [A, B, C] * 3)
    assert not subject.closed


def test_a_good_answer_clears_the_resources_that_failed_before() -> None:
    subject = schedule()
    fail(subject, [A, B, C])
    subject.admitted(subject.leave(1000.0), B)
    fail(subject, [A] * 20)
    assert not subject.closed


def test_no_measurement_spans_an_outage() -> None:
    subject, _ = learned(10.0)
    now = probe(subject)
    rate = subject.budget.rate
    fail(subject, [A] * 10, now)
    subject.leave(now + 50)
    subject.reopen(now + 50)
    refuse(subject, now + 51)
    assert subject.budget.rate == rate


def test_probes_of_an_outage_leave_after_half_1_2_4_4_seconds() -> None:
    subject, pauses = schedule(), list[float]()
    fail(subject, [A] * 10)
    now = 1000.0
    for _ in range(6):
        pauses.append(subject.ready - now)
        now = subject.ready
        subject.failed(now, subject.leave(now), A)
    assert pauses == pytest.approx([0.5, 1, 2, 4, 4, 4])


def test_failures_of_requests_in_flight_do_not_prolong_an_outage() -> None:
    subject = schedule()
    departures = [subject.leave(1000.0) for _ in range(30)]
    for departure in departures:
        subject.failed(1000.1, departure, A)
    assert subject.ready == pytest.approx(1000.6)


def test_the_old_speed_returns_after_an_outage() -> None:
    subject = schedule()
    depart(subject, 1040.0)
    before = subject.budget.speed(1040.0)
    fail(subject, [A] * 10, now=1040.0)
    now = 1100.0
    subject.leave(now)
    subject.reopen(now)
    assert subject.budget.speed(now) == pytest.approx(before)


def test_a_refused_probe_turns_an_outage_into_an_ordinary_refusal() -> None:
    subject = schedule()
    fail(subject, [A] * 10)
    now = subject.ready
    subject.refused(now, subject.leave(now), 7)
    assert not subject.outage_backoff
    assert subject.closed
    assert subject.ready == pytest.approx(now + 7)


def test_a_refused_probe_of_an_outage_measures_nothing() -> None:
    subject, _ = learned(10.0)
    fail(subject, [A] * 10, probe(subject))
    rate, now = subject.budget.rate, subject.ready
    subject.refused(now, subject.leave(now), None)
    assert subject.budget.rate == rate


def test_a_good_answer_to_the_probe_ends_an_outage() -> None:
    subject = schedule()
    fail(subject, [A] * 10)
    probe(subject)
    assert (subject.closed, subject.outage_backoff) == (False, 0)


def test_the_gate_is_shut_since_the_outage_when_its_probe_is_refused() -> None:
    subject = schedule()
    fail(subject, [A] * 10)
    now = subject.ready
    subject.refused(now, subject.leave(now), None)
    assert subject.closed_since == 1000


def test_a_failed_probe_turns_a_refusal_into_an_outage() -> None:
    subject = schedule()
    refuse(subject, 1000.0, retry_after=30)
    now = subject.ready
    subject.failed(now, subject.leave(now), A)
    assert subject.outage_backoff
    assert subject.ready == pytest.approx(now + 0.5)


def test_failures_count_as_admitted() -> None:
    subject = schedule()
    refuse(subject, 1000.0)
    probe(subject)
    for number in range(100):
        sent_at = 1000 + (number + 1) / 10
        if number % 5:
            subject.failed(sent_at, sent_at, A)
        else:
            subject.admitted(sent_at, A)
    refuse(subject, 1010.0)
    assert subject.budget.rate == pytest.approx(10, rel=0.02)
