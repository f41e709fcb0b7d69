"""What the schedule learns and never does, against servers in virtual time: its invariants.

How well it fares is judged by ``python -m benchmarks.politeness --check``.
"""

from collections import deque
from collections.abc import Callable
from itertools import count

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from chatloom_async.ratelimit.schedule import Schedule
from chatloom_async.ratelimit.values import RateLimit, ToldLimit
from chatloom_async.testing import Quota

UNLIMITED = RateLimit(per_minute=None)
START = 1000.0
LATENCY = 0.1

# What a server says to a request at a time: 0.0 to let it in, else how soon there is room.
Server = Callable[[float], float]


def no_jitter(low: float, _high: float) -> float:
    return low


def schedule(limit: RateLimit = UNLIMITED) -> Schedule:
    return Schedule(limit, START, no_jitter)


@define
class Run:
    """Calls that never stop coming, through a schedule, against a server."""

    server: Server
    tells: bool = True
    latency: float = LATENCY
    schedule: Schedule = field(factory=schedule)
    now: float = START
    accepted: list[float] = field(factory=list)
    refused: list[float] = field(factory=list)
    _back: deque[tuple[float, float, float]] = field(factory=deque)

    def until(self, end: float) -> "Run":
        """Go on until that many seconds after the start."""
        while True:
            back = self._back[0][0] if self._back else float("inf")
            self.now = max(self.now, min(back, self.schedule.ready))
            if self.now >= START + end:
                return self
            if back <= self.schedule.ready:
                self._report(*self._back.popleft())
            else:
                departure = self.schedule.leave(self.now)
                wait = self.server(self.now)
                self._back.append((self.now + self.latency, departure, wait))

    def _report(self, now: float, departure: float, wait: float) -> None:
        if wait:
            self.refused.append(departure)
            self.schedule.refused(now, departure, wait if self.tells else None)
        else:
            self.accepted.append(departure)
            self.schedule.admitted(now, departure, "/a")


def bucket(rate: float, capacity: float) -> Server:
    return Quota.token_bucket(60 * rate, capacity).meter().admit


def window(limit: int, span: float) -> Server:
    return Quota.fixed_window(limit, span).meter().admit


def crowd(most: int, service: float) -> Server:
    ends = deque[float]()

    def take(now: float) -> float:
        while ends and ends[0] <= now:
            ends.popleft()
        if len(ends) >= most:
            return service
        ends.append(now + service)
        return 0.0

    return take


def test_six_distinct_departures_are_in_flight_at_first() -> None:
    paced, out = schedule(), list[float]()
    while paced.ready <= START:
        out.append(paced.leave(START))
    assert len(out) == len(set(out)) == 6


def test_only_a_longer_echo_of_refusal_is_obeyed() -> None:
    paced = schedule()
    first, second, third, fourth = (paced.leave(START) for _ in range(4))
    paced.refused(START + 1, first, 2)
    before = paced.ready
    paced.refused(START + 1, second, None)
    assert paced.ready == before
    paced.refused(START + 1, third, 30)
    assert paced.ready >= START + 31
    paced.admitted(START + 32, paced.leave(START + 31), "/a")
    paced.refused(START + 33, fourth, 60)  # of before, when the gate is open again
    assert not paced.closed


@pytest.mark.parametrize(("asked", "longest", "wait"), [(20, 120, 20), (500, 120, 120), (60, 7, 7)])
def test_the_probe_waits_as_long_as_asked(asked: float, longest: float, wait: float) -> None:
    paced = schedule()
    paced.refused(START, paced.leave(START), asked, longest)
    assert paced.ready == START + wait


def test_one_probe_at_a_time_leaves() -> None:
    paced = schedule()
    paced.refused(START, paced.leave(START), 1)
    lost = paced.leave(START + 1)
    assert paced.ready == float("inf")
    paced.abandoned(START + 5, lost)
    assert paced.ready == START + 5
    assert paced.admitted(START + 6, paced.leave(START + 5), "/a")
    assert not paced.closed


def test_a_silent_pause_is_tried_at_round_times() -> None:
    run = Run(window(5, 60), tells=False).until(61)
    probes = [at - START for at in run.refused if at - START > 0.2]
    assert [round(at) for at in probes if at > 0.6] == [1, 2, 5, 10, 15, 30]


def test_hours_without_a_call_count_for_nothing() -> None:
    paced = schedule()
    paced.refused(START, paced.leave(START), 1)
    paced.leave(START + 7200)
    assert paced.closed_since >= START + 7199


@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.parametrize(("rate", "capacity"), [(5, 300), (10, 20), (20, 5), (1, 10)])
def test_a_buckets_rate_is_learned(rate: float, capacity: float, *, tells: bool) -> None:
    run = Run(bucket(rate, capacity), tells).until(300)
    assert len(run.accepted) >= 0.85 * (capacity + 300 * rate)
    assert len(run.refused) <= 24 + 0.02 * len(run.accepted)


@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.parametrize(("limit", "span"), [(300, 60), (100, 10), (10, 1), (50, 30)])
def test_a_window_is_learned(limit: int, span: float, *, tells: bool) -> None:
    run = Run(window(limit, span), tells).until(10 * span - 0.1)
    assert run.schedule.window is not None
    assert run.schedule.window.span == span
    assert len(run.accepted) >= 0.9 * 10 * limit - 1
    assert len(run.refused) <= 30


@pytest.mark.parametrize("most", [3, 5, 8, 20])
def test_a_count_in_flight_is_learned(most: int) -> None:
    run = Run(crowd(most, 0.3), tells=False, latency=0.3).until(60)
    assert len(run.accepted) >= 0.5 * 60 / 0.3 * most
    assert len(run.refused) <= 0.02 * len(run.accepted) + 20


@pytest.mark.parametrize(("before", "after"), [(10.0, 5.0), (5.0, 10.0)])
def test_a_limit_that_moves_is_followed(before: float, after: float) -> None:
    old, new = bucket(before, 20), bucket(after, 20)
    run = Run(lambda now: (old if now < START + 120 else new)(now)).until(420)
    lately = [at for at in run.accepted if at >= START + 330]
    assert len(lately) >= 0.8 * 90 * after
    assert len(run.refused) <= 0.03 * len(run.accepted)


def test_no_limit_is_found_where_there_is_none() -> None:
    run = Run(lambda _now: 0.0, latency=0.05).until(7.5)
    assert len(run.accepted) >= 10_000
    assert run.schedule.is_as_good_as_new(run.now)


def test_a_first_refusal_wastes_little() -> None:
    run = Run(window(300, 60)).until(30)
    assert len(run.refused) <= 16


def told(remaining: float, reset: float) -> ToldLimit:
    return ToldLimit("x-ratelimit-remaining", remaining, reset, 100, 10)


def test_no_more_leave_than_are_told_left() -> None:
    paced, moments = schedule(), count(1)
    first = paced.leave(START)
    paced.heard(START + 0.1, first, told(3, 10))
    paced.admitted(START + 0.1, first, "/a")
    left = 0
    while paced.ready < START + 5:
        paced.admitted(START + 0.2 + 0.01 * next(moments), paced.leave(START + 0.2), "/a")
        left += 1
    assert left == 3
    assert paced.ready == pytest.approx(START + 10.1, abs=0.1)
    assert paced.limited_by(START + 5) == "told by x-ratelimit-remaining"


def test_a_contradicting_refusal_ends_the_belief() -> None:
    paced = schedule()
    first, second = paced.leave(START), paced.leave(START)
    paced.heard(START + 0.1, first, told(50, 10))
    paced.admitted(START + 0.1, first, "/a")
    paced.refused(START + 0.2, second, 1)
    paced.admitted(START + 1.5, paced.leave(START + 1.3), "/a")
    last = paced.leave(START + 1.6)
    paced.heard(START + 1.7, last, told(0, 10))
    paced.admitted(START + 1.7, last, "/a")
    assert paced.ready < START + 3


def test_a_reset_far_away_is_not_waited_for() -> None:
    paced = schedule()
    first = paced.leave(START)
    paced.heard(START, first, told(0, 3000))
    paced.admitted(START, first, "/a")
    assert paced.ready <= START


def test_probes_of_an_outage_leave_ever_later() -> None:
    paced = schedule()
    for _ in range(10):
        paced.failed(START, paced.leave(START), "/a")
    waits, now = [], START
    for _ in range(5):
        waits.append(paced.ready - now)
        now = paced.ready
        paced.failed(now, paced.leave(now), "/a")
    assert waits == pytest.approx([0.45, 0.9, 1.8, 3.6, 3.6])


def test_the_old_pace_returns_after_an_outage() -> None:
    run = Run(bucket(10, 20)).until(60)
    rate = run.schedule.bucket.rate
    for _ in range(10):
        run.schedule.failed(run.now, run.schedule.leave(max(run.now, run.schedule.ready)), "/a")
    now = run.schedule.ready
    run.schedule.admitted(now + 0.1, run.schedule.leave(now), "/a")
    assert run.schedule.bucket.rate == rate


def test_a_refused_probe_makes_outage_a_refusal() -> None:
    paced = schedule()
    for _ in range(10):
        paced.failed(START, paced.leave(START), "/a")
    assert paced.limited_by(START) == "outage"
    paced.refused(START + 2, paced.leave(START + 1), 5)
    assert paced.limited_by(START + 2) == "refused"


def test_503s_that_come_again_are_no_outage() -> None:
    paced, now = schedule(), START

    def send(number: int, *, busy: bool = True) -> bool:
        departure, resource = paced.leave(now), f"/{number}"
        refusal = busy and paced.judge_503(now, departure, resource, told=False)
        if refusal:
            paced.refused(now, departure, None)
        elif busy:
            paced.failed(now, departure, resource)
        else:
            paced.admitted(now, departure, resource)
        return refusal

    for number in range(16):
        send(number, busy=False)
    for number in range(14):  # the last four of them are probes
        now = max(now, paced.ready)
        send(number)
    assert paced.outage_backoff
    now = paced.ready
    send(0, busy=False)
    for number in range(8):
        now = max(now, paced.ready)
        assert send(number)
    assert paced.closed
    assert not paced.outage_backoff


ANSWERS = st.sampled_from(["200", "200", "200", "429", "429", "503", "500", "given up"])


@settings(max_examples=200, deadline=None)
@given(
    events=st.lists(
        st.tuples(
            ANSWERS,
            st.floats(0, 3),
            st.none() | st.floats(0, 70),
            st.none() | st.tuples(st.integers(0, 20), st.floats(0, 70)),
        ),
        max_size=120,
    )
)
def test_no_answers_break_or_shut_the_gate(
    events: list[tuple[str, float, float | None, tuple[int, float] | None]],
) -> None:
    paced, now, out = schedule(), START, list[float]()
    for answer, later, asked, quota in events:
        now += later
        while now >= paced.ready:
            out.append(paced.leave(now))
        if not out:
            now = max(now, paced.ready)
            out.append(paced.leave(now))
        sent = out.pop(int(later * 1000) % len(out))
        if quota is not None:
            paced.heard(now, sent, ToldLimit("ratelimit", *quota, limit=20))
        resource = f"/{len(out) % 5}"
        if answer == "200":
            paced.admitted(now, sent, resource)
        elif answer == "429" or (
            answer == "503" and paced.judge_503(now, sent, resource, told=asked is not None)
        ):
            paced.refused(now, sent, asked)
        elif answer == "given up":
            paced.abandoned(now, sent)
        else:
            paced.failed(now, sent, resource)
    for sent in out:
        paced.abandoned(now, sent)
    assert paced.ready <= now + 250


def test_a_reset_in_vain_twice_is_believed_no_more() -> None:
    made = schedule()
    headers = list[str]()
    for _ in range(3):
        departure = made.leave(made.ready)
        made.heard(made.latest, departure, ToldLimit("RateLimit", 0, 1.0, 100))
        made.refused(made.latest, departure, 1.0)
        headers.append(made.told.header if made.told else "nobody")
    assert headers == ["RateLimit", "RateLimit", ""]
