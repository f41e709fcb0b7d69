"""When the next attempt of a key may leave: no clock, no I/O.

The gate of a key is open or closed. Open, an attempt leaves as soon as all of these allow it: the
``RateLimit`` and the number in flight (``departures``), what the server told of its limit
(``told``), and what was learned from its refusals: a rate (``bucket``) or a window (``window``).

1. The first 429 closes the gate for all; other 429s in flight are echoes of the same refusal.
2. A closed gate waits as long as the server asks (but no longer than the refused call accepts).
   Where nothing is asked, it waits a moment at first, and after a probe in vain until a round time
   after the last opening (``ratelimit.closings``): servers count in windows of 1, 10 or 60 s. Then
   one attempt leaves, the probe. It exists because somebody must ask whether the way is clear, and
   one is enough.
3. The probe's success opens the gate. Where an earlier probe was refused, or the server said how
   long to wait, the limit is taken for a window, otherwise for a bucket that refills. A probe
   refused while others are still in flight means neither: they may be what is limited.
4. Ten failures in a row are an outage, unless they are of one resource or two and others were
   answered in the last minute. It closes the gate too, with probes after 0.5, 1, 2, 4, 4 … s.

Times are float seconds on the caller's clock. Not here: who is next (``ratelimit.waiting``), tasks
and timers (``ratelimit.limiter``).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import define, field

from chatloom_async.ratelimit.bucket import LearnedBucket
from chatloom_async.ratelimit.closings import OutageDetector, Pause
from chatloom_async.ratelimit.departures import Ceiling, Departures, LearnedConcurrency
from chatloom_async.ratelimit.values import RateLimit, ToldLimit
from chatloom_async.ratelimit.window import SHORTEST, Finding, LearnedWindow, round_down

if TYPE_CHECKING:
    from chatloom_async.ratelimit.told import ToldQuota

# In quotes beside a constant: the row of ``benchmarks.politeness`` that it decides.
# Seconds of a Retry-After that are waited at most, unless a call accepts more ("an hour's quota").
LONGEST = 120.0
_OUTDATED = 120.0  # seconds, as far back as the log looks
_IDLE = 1.0  # seconds the gate was ready and unused: that time proves nothing about the limit
# So many probes in vain
_VAIN_WINDOW = 1  # let a window be supposed ("window 10/1 s, silent")
_VAIN_LIE = 2  # the second one after the reset, show that what was told is wrong ("a reset past")
_VAIN_HICCUP = 2  # by 503, the next one let in, show that there is no limit ("a hiccup of 2 s")
_VAIN_OUTAGE = 3  # by 503 are an outage ("30 s of 503s")
_HELD, _MINUTE = 10.0, 60.0  # seconds for which a window's rate holds ("counters 10/1 s")
# Seconds at the most that connecting holds up the first request ("connecting takes 150 ms").
_CONNECTING = 1.0
_CAUTIOUS = 1.0  # in flight after a pause, and after a reset that was told ("counters 300/60 s")
_AGAIN = 4.0  # in flight at a window's beginning ("100/10 s at 300 ms")


@define(eq=False, repr=False)
class Schedule:
    """The gate of one key; is told the time, which never goes back.

    Attributes:
        ready: when the next attempt may leave; infinity while an answer must come first.
        closed: whether the gate is closed: by a refusal, or by an outage.
        closed_since: when the gate was closed, moved later by the time in which nobody waited.
        probe: the departure of the attempt that may open the gate; None while none is out.
        outage_backoff: seconds that the next probe of an outage waits; 0: there is none.
        not_before: until when the server asked to stay away.
        latest: the latest departure.
        told: what answers tell of the limit; None as long as none did.
        first_answer: when the first good answer since the opening came; infinity before.

    """

    limit: RateLimit
    ready: float
    uniform: Callable[[float, float], float] = random.uniform
    closed: bool = False
    closed_since: float = 0.0
    probe: float | None = None
    outage_backoff: float = 0.0
    not_before: float = -math.inf
    latest: float = -math.inf
    ceiling: Ceiling = field(init=False)
    bucket: LearnedBucket = field(init=False)
    concurrency: LearnedConcurrency = field(factory=LearnedConcurrency)
    told: ToldQuota | None = None
    first_answer: float = math.inf
    window: LearnedWindow | None = None
    outage: OutageDetector = field(factory=OutageDetector)
    _departures: Departures = field(factory=Departures)
    _pause: Pause = field(factory=Pause)
    _due: float = field(init=False)  # when the next may leave, but for ceiling and those in flight
    _room_at: float = -math.inf  # since when there has been room for one more in flight
    _opened_at: float = field(init=False)  # the departure that opened the gate
    _crowded_at: float = -math.inf  # when the latest refusal arrived that is no echo
    _failed: int = 0  # requests since the opening, as far as they are counted
    _nothing_known: bool = True  # of limits: then ``leave`` need not look at what was learned
    _busy: bool = False  # whether 503s came again after a pause: they are refusals
    _windowed: bool = True  # whether it may be a window

    def __attrs_post_init__(self) -> None:
        """Start now, knowing nothing."""
        self.ceiling, self.bucket = Ceiling(self.limit), LearnedBucket(self._departures)
        self._due = self._opened_at = self.ready

    def leave(self, now: float) -> float:
        """Let an attempt leave, ``ready`` having come; return when: the time, made unique."""
        departure = now if now > self.latest else math.nextafter(self.latest, math.inf)
        concurrency = self.concurrency
        concurrency.out[departure] = len(concurrency.out)
        self._departures.add(departure)
        opens_at = self.ceiling.pay(departure)
        if self._nothing_known:
            self.latest, self._due = departure, now
            ready = opens_at if opens_at > now else now  # noqa: FURB136 - max() is slow
            self.ready = math.inf if len(concurrency.out) >= concurrency.room else ready
        else:
            self._leave(now, departure)
        return departure

    def _leave(self, now: float, departure: float) -> None:
        """Let an attempt leave, something being known of the server."""
        late = now - max(self.ready, self._room_at)
        if late > _IDLE:  # nobody came
            if self.closed:
                self.closed_since += late  # that tried nobody's patience
            else:
                self.bucket.stand_still(late)  # and not the limit
        rested = departure - self.latest
        if self.window is not None and not self.closed and rested > 0.2 * self.window.span:
            self.concurrency.restart(_AGAIN)
            self._opened_at, self.first_answer = departure, math.inf
            self.window.begin(departure)
        if self.told and self.told.spend(now):
            self.concurrency.restart(_CAUTIOUS)
        self.latest = departure
        if self.closed:
            self.probe, self.ready = departure, math.inf
        else:
            if self.bucket.rate is not None:
                self.bucket.spend(now)
            self._hold(self._learned(now, now))

    def admitted(self, now: float, departure: float, resource: str) -> bool:
        """Take note of an answer that is no refusal and no failure; True: it opens the gate."""
        opens = departure == self.probe
        if opens:
            self._reopen(now, departure)
        if self.first_answer == math.inf:
            self.first_answer = now
        self.concurrency.accepted(now, departure)
        self.outage.end(departure, resource)
        if self.ready == math.inf:
            self._look(now)
        return opens

    def refused(
        self, now: float, departure: float, retry_after: float | None, longest: float = LONGEST
    ) -> None:
        """Take note of a 429; the gate waits no longer than ``longest`` of its Retry-After."""
        probe = departure == self.probe
        if not self.closed and departure <= self._pause.closed_at:
            self.excuse(now, departure)  # an echo of the refusal before; the gate is open again
            return
        before = self.not_before
        wait = self._told_wait(now, retry_after, longest)
        if not self.closed or (probe and self.outage_backoff):  # which is no outage any more
            self._close(now, departure)
            self._await_probe(now, wait)
            return
        self.concurrency.back(departure)
        self._departures.drop(departure)
        if not probe:  # an echo too: it may ask for a longer pause
            self.concurrency.refused_with_it()
            self._due = max(self._due, now + wait)
            self.not_before = max(before, self.not_before)
            self._look(now)
        else:
            if wait or not self.concurrency.probe_refused():
                self._pause.in_vain(departure)
                if self.told and self._pause.vain >= _VAIN_LIE:
                    self.told.distrust()
            self._await_probe(now, wait)

    def failed(
        self, now: float, departure: float, resource: str, retry_after: float | None = None
    ) -> None:
        """Take note of a 5xx, a lost connection or a timeout."""
        self.concurrency.back(departure)
        if self.window is not None:
            self.window.failed(departure)
        elif departure > self._opened_at and departure in self._departures:
            self._failed += 1
        self.outage.extend(resource)
        if departure != self.probe:
            if self.closed or not self.outage.is_outage(now):
                self._look(now)
                return
            self.closed, self.closed_since, self._pause.closed_at = True, now, now
            self._nothing_known = False
        self.outage_backoff = min(2 * self.outage_backoff, 4.0) or 0.5
        wait = self._told_wait(now, retry_after, LONGEST)
        self._hold(now + max(self.outage_backoff * self.uniform(0.9, 1.1), wait))

    def abandoned(self, now: float, departure: float) -> None:
        """Take note of an attempt that was given up; after a probe, another may leave at once."""
        self.concurrency.back(departure)
        if departure == self.probe:
            self._hold(now)
        self._look(now)

    def excuse(self, now: float, departure: float) -> None:
        """Learn nothing from a refusal: it is an echo, or the common gate judges it for all."""
        self._departures.drop(departure)
        self.abandoned(now, departure)

    @property
    def probed_in_vain(self) -> bool:
        """Whether a probe was refused since the latest closing."""
        return self._pause.vain > 0

    def accepted(self, now: float) -> int:
        """Return how many left in the last minute and came back, and were not refused."""
        return self._departures.count(now - _MINUTE) - len(self.concurrency.out)

    def heard(self, now: float, departure: float, told: ToldLimit) -> None:
        """Take note of what an answer tells of the limit, before the answer itself."""
        self._nothing_known = False
        others = len(self.concurrency.out) - (departure in self.concurrency.out)
        if (quota := self.told) is None:
            # Not at import, where it would cost those who import much and call nothing.
            from chatloom_async.ratelimit.told import ToldQuota  # noqa: PLC0415 - said above

            quota = self.told = ToldQuota(self._departures)
        rate = quota.hear(now, departure, others, told)
        if quota.confirmed and quota.left < math.inf:
            self.concurrency.allow(quota.left)
        if rate is not None:
            self._no_window(now)
            self.bucket.pace(now, rate)
        if not self.closed:
            self._hold(self._learned(now, self.latest))

    def judge_503(self, now: float, departure: float, resource: str, *, told: bool) -> bool:
        """Take note of a 503; tell whether it is a refusal, not a failure."""
        self._departures.drop(departure)
        new = not self.closed and departure > self._pause.closed_at
        self._busy |= new and self.outage.refuses(now)
        vain = self.closed and self._pause.vain >= _VAIN_OUTAGE
        if self.outage_backoff or (vain and not told and not self._busy):
            self.concurrency.pardon()
            return False
        self.concurrency.halve()
        refusal = self.outage.judge_503(now, resource, told=told)
        if not refusal:
            self._crowd(now, departure, told=told)
        return refusal

    def _crowd(self, now: float, departure: float, *, told: bool) -> None:
        """Take note of a refusal, or of what may be one: are too many in flight?"""
        self.concurrency.back(departure)
        if departure > self._crowded_at:
            self._crowded_at = now
            self.concurrency.refused(told=told)
        else:
            self.concurrency.refused_with_it()

    def forecast(self, now: float, waiting: int) -> float:
        """Return about how long it takes until so many have left."""
        until = max(self._due, self.ceiling.opens_at(waiting))
        if self.window is not None:
            speed = self.window.rate
        else:
            speed = self.bucket.speed(now) if self.bucket.rate else 10 * self.concurrency.room
        return max(until - now, waiting / speed)

    def opens_in(self, now: float) -> float:
        """Return in how many seconds a probe may leave, as far as is known."""
        return max(0.0, (self._due if self.ready == math.inf else self.ready) - now)

    def limited_by(self, now: float) -> str:
        """Tell what holds the next attempt back (``LimiterStatistics``)."""
        if self.closed:
            return "outage" if self.outage_backoff else "refused"
        if self.concurrency.full:
            return "in flight"
        if self.ceiling.opens_at() > now:
            return "ceiling"
        if self.told and self.told.due(now) > now:
            return f"told by {self.told.header}"
        return "measured" if self._due > now else "nothing"

    def is_as_good_as_new(self, now: float) -> bool:
        """Tell whether a new one would do the same: nothing is known, or it is long out of date."""
        learned = self.bucket.rate is not None or self.window is not None
        told = self.told is not None and self.told.due(now) > now
        counted = self.concurrency.most is not None
        knows = self.closed or learned or counted or told or not self.ceiling.is_whole(now)
        return not knows or (self.latest < now - _OUTDATED and self._due <= now)

    def restart(self, now: float) -> None:
        """Go on in another loop: no answer to what is in flight will come."""
        self.concurrency.clear()
        if self.probe is not None:
            self._hold(now)
        self._look(now)

    def _look(self, now: float = -math.inf) -> None:
        """Set ``ready`` by what is in flight."""
        if self.closed:
            blocked = self.probe is not None or self.concurrency.crowded
        else:
            blocked = self.concurrency.full
        if not blocked and self.ready == math.inf:
            self._room_at = now
        self.ready = math.inf if blocked else max(self._due, self.ceiling.opens_at())

    def _hold(self, until: float) -> None:
        """Let nobody leave before that time; take note that no probe is out."""
        self.probe, self._due = None, until
        self._look()

    def ready_for_people(self) -> float:
        """Return when a person may leave, who may use what the ceiling keeps for them."""
        if self.ready == math.inf or self.closed:
            return self.ready
        return max(self._due, self.ceiling.opens_at(urgent=True))

    def _learned(self, now: float, after: float) -> float:
        """Return when the next one may leave by what is known; drop a refuted window."""
        due = max(after, self.told.due(now) if self.told else now)
        if self.window is not None:
            self.window.begin_trial(now)
            due = max(due, self.window.due(after))
            if self.window.end_trial(now):
                self.window, self._windowed = None, False
                self.bucket.forget()
            return due
        return max(due, self.bucket.due(now, after)) if self.bucket.rate is not None else due

    def _told_wait(self, now: float, retry_after: float | None, longest: float) -> float:
        """Note how long the server asks to stay away; return what of it the gate waits."""
        wait = retry_after if retry_after and retry_after > 0 else 0.0
        self.not_before = now + wait if wait else -math.inf  # the latest word counts
        return min(wait, longest)

    def _close(self, now: float, departure: float) -> None:
        """Close the gate: the refusal is no echo of another one."""
        self._nothing_known = False
        if self.told:
            self.told.contradicted(now)
        self._crowd(now, departure, told=self.not_before > now)
        self._departures.drop(departure)
        in_flight = self.concurrency.since(self._opened_at)
        if self.concurrency.most is not None:
            self.bucket.forget()
            self.window = None
        elif self.window is not None:
            self.window.refuse(departure)
        else:
            self.bucket.close(now, departure, in_flight)
        self._pause.begin(now, departure)
        self.closed_since = self.closed_since if self.closed else now
        self.closed, self.outage_backoff = True, 0.0  # the outage's server is up, and only full

    @property
    def _late(self) -> float:
        """Seconds by which a window may have begun after the opening: connecting takes time."""
        return min(self.first_answer - self._opened_at, _CONNECTING)

    def _await_probe(self, now: float, wait: float) -> None:
        """Set when a probe may leave, after a refusal."""
        pause, window = self._pause, self.window
        if wait:
            until = now + wait
        elif pause.vain == 0:
            until = pause.first_probe(now, self.bucket, window)
        else:
            troubled = self.concurrency.troubled
            late = self._late
            until = pause.next_probe(now, self._opened_at, late, window, troubled=troubled)
        self._hold(until + self.uniform(0, 0.05))

    def _reopen(self, now: float, probe: float) -> None:
        """Open the gate: this probe was let through."""
        pause = self._pause
        if self.outage_backoff:
            self.bucket.stand_still(now - pause.closed_at)
            self.bucket.recover(now, probe)
        else:
            self._learn_from_pause(now, probe)
            if pause.vain >= _VAIN_HICCUP:
                self.concurrency.pardon()
            self.concurrency.restart(_CAUTIOUS)
        self.concurrency.back(probe)
        self._opened_at, self._failed, self.first_answer = probe, 0, now
        self.closed, self.outage_backoff, self.not_before = False, 0.0, -math.inf
        self._hold(self._learned(now, probe))

    def _learn_from_pause(self, now: float, probe: float) -> None:
        """Draw the conclusions of the pause that ends: was it a window's, and which?"""
        pause, cycle = self._pause, probe - self._opened_at
        told = self.not_before > -math.inf
        if pause.vain >= _VAIN_WINDOW:
            pause.period = cycle
        if self.window is not None:
            found = self.window.correct(pause.refused_at, pause.vain, probe, told=told)
            if found is not Finding.WINDOW:
                self._no_window(now)
            if found is Finding.NOTHING:
                self.bucket.forget()
        elif self.bucket.rate is None and self.concurrency.most is None:
            self._suppose_window(now, probe, cycle, told=told)
        if self.window is None:
            self.bucket.reopen(now, probe)
        else:
            self.window.began_at = probe

    def _suppose_window(self, now: float, probe: float, cycle: float, *, told: bool) -> None:
        """Suppose that all since the opening was a window's, if the pause was as a window's is."""
        pause = self._pause
        worth = self._departures.count(self._opened_at, pause.closed_at) - self._failed
        long = cycle < 2 * (now - pause.closed_at) and SHORTEST < cycle < _OUTDATED
        waited = (told or pause.vain >= _VAIN_WINDOW) and not (self.told and self.told.guides)
        if self._windowed and waited and long and worth > 0:
            vain = 0.0 if told else max(0.0, pause.vain_at - self._opened_at - self._late)
            span = math.floor(cycle + 0.05) if told and cycle > 1 else round_down(cycle)
            self.window = LearnedWindow(self._departures, span, worth, self._failed, probe, vain)
            self.window.begin(probe)

    def _no_window(self, now: float) -> None:
        """Go on evenly: the server does not count by windows, but what was counted is a rate."""
        window = self.window
        if window is not None:
            trust = min(max(window.span, _HELD), _MINUTE)
            self.bucket.pace(now, window.rate, trust, math.inf)
        self.window, self._windowed = None, False
