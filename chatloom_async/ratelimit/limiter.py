"""Rate limits and outages: one learning gate per API key, in ten lines.

 1. Every attempt of every task takes its departure at one gate per key, which ``RateLimit`` caps.
 2. While nothing is known: 40 a second, twice as many every 20 s.
 3. The first 429 closes the gate, more in flight are echoes; a refusal costs time, no attempt.
 4. After Retry-After (else 1, 2, 4 … s, at most a minute) one probe leaves; its success opens it.
 5. Refused, the server is empty: (let in between two refusals) ÷ (time between) is the limit.
 6. A token bucket fills at that rate, also while closed; surplus leaves fast, the rest evenly.
 7. Each refusal empties it; refused with tokens left, the server holds less: the bucket gets a cap.
 8. Measured over T s, a rate holds for T s (at most 90), then rises along a cubic until refused.
 9. Measured far below the rate in use, or refused far above it: the limit moved, measure afresh.
10. Ten failures in a row, not one resource's own, are an outage: probes after 0.5, 1, 2, 4, 4 … s;
    a failed probe costs no attempt, and beyond a call's patience ends its wait with the real error.

Times are float seconds. Here: 3, 4, 10 (``Schedule``: no clock, no I/O) and the gate around it. Not
here: 1 (``schedule``), 2 and 5 to 9 (``bucket``), who is next (``waiting``), what fails
(``calls.call``).
"""

from __future__ import annotations

import asyncio
import copy
import logging
import math

from attrs import define, evolve, field

from chatloom_async.errors import DeadlineExceededError
from chatloom_async.ratelimit.schedule import LONGEST, Schedule
from chatloom_async.ratelimit.values import Cost, LimiterStatistics, RateLimit, WaitLimits
from chatloom_async.ratelimit.waiting import Waiter, WaitingLine

_log = logging.getLogger("chatloom_async")
_MANY, _LONG = 100, 10.0  # calls, seconds: worth a line
_BLOCKED, _GRACE = 0.05, 0.02  # seconds: so late a timer is only in a loop that was held up


@define(eq=False)
class GateLog:
    """One warning per closing, one line per opening and per long queue; ``name`` tells the key."""

    name: str
    _announced: bool = False

    def closed(self, wait: float, *, outage: bool) -> None:
        """Tell that the gate was closed, for that many seconds at first."""
        reason = "the service fails" if outage else "rate limit reached"
        _log.warning("key %s: %s; gate closed, probe in %.1f s", self.name, reason, wait)

    def opened(self, shut: float) -> None:
        """Tell that the gate is open, after so many seconds."""
        _log.info("key %s: gate open again after %.1f s", self.name, shut)

    def queue(self, waiting: int, wait: float) -> None:
        """Tell, once per queue, how many calls wait and for about how many seconds."""
        if not self._announced and (waiting > _MANY or wait > _LONG):
            self._announced = True
            _log.info("key %s: %d calls wait, for about %.0f s", self.name, waiting, wait)

    def nobody_waits(self) -> None:
        """Take note that the queue ended."""
        self._announced = False


@define(eq=False)
class RateLimiter:
    """The gate of one key, made in the loop that it serves.

    An attempt gets its departure from ``try_acquire``, or from ``wait`` where that returns None,
    and reports back by one of ``admitted``, ``refused``, ``failed``, ``abandoned``. ``name`` stands
    for the key.
    """

    limit: RateLimit
    name: str
    last_error: Exception | None = field(default=None, init=False)  # why the gate is closed
    loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop, init=False)
    _schedule: Schedule = field(init=False)
    _line: WaitingLine = field(factory=WaitingLine, init=False)
    _log: GateLog = field(init=False)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)
    _alarm: float = field(default=math.inf, init=False)  # uvloop's timers do not tell when
    _patience: float = field(default=math.inf, init=False)  # the probe's
    _shift: float = field(default=0.0, init=False)  # from the loop's time to the schedule's
    _sent: int = field(default=0, init=False)
    _done: int = field(default=0, init=False)
    _refused: int = field(default=0, init=False)
    _waited: float = field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        """Open the gate."""
        self._schedule, self._log = Schedule(self.limit, self._now()), GateLog(self.name)

    def try_acquire(self) -> float | None:
        """Leave at once, if the gate is open and nobody waits."""
        schedule, now = self._schedule, self._now()
        if now < schedule.ready or schedule.closed or self._line.waiting:
            return None
        self._sent += 1
        return schedule.leave(now)

    async def wait(self, path: str, terms: WaitLimits, *, refused: bool = False) -> float:
        """Queue for a departure, at the head of its lane if just ``refused``.

        Raises a copy of ``last_error`` when the gate stays closed for longer than the terms allow.
        """
        if self._shift:
            terms = evolve(terms, give_up_at=terms.give_up_at + self._shift)
        waiter, start = Waiter(path, terms, self.loop.create_future()), self._now()
        told = self._schedule.not_before if start < self._schedule.ready else start
        if self.last_error is not None and not terms.allow(start, told):
            raise copy.copy(self.last_error)
        ahead = self._line.ahead(urgent=terms.urgent)
        free_at = self._schedule.ceiling.opens_at(ahead + 1)
        if free_at > terms.give_up_at:
            wait, left = free_at - start, terms.give_up_at - start
            raise DeadlineExceededError(
                f"not sent: RateLimit has no room for it within the {left:.1f} s that its deadline "
                f"leaves, but in about {wait:.1f} s",
                retry_after=wait,
            )
        self._line.add(waiter, urgent=terms.urgent, first=refused)
        if self._timer is None:
            self._pump()
        try:
            outcome = await waiter.outcome
        except asyncio.CancelledError:
            self._abandon(waiter)
            raise
        finally:
            self._waited += self._now() - start
        if isinstance(outcome, Exception):
            raise copy.copy(outcome)
        return outcome

    def admitted(self, departure: float, path: str) -> None:
        """Report any answer but a 429 or a failure."""
        self._done += 1
        schedule = self._schedule
        if departure == schedule.probe:
            now, self.last_error = self._now(), None
            schedule.reopen(now)
            self._log.opened(now - schedule.closed_since)
            self._pump()
        schedule.admitted(departure, path)

    def refused(
        self,
        departure: float,
        error: Exception,
        retry_after: float | None,
        longest: float = LONGEST,
    ) -> Cost:
        """Report a 429; a probe waits for its ``retry_after``, for the ``longest`` at most."""
        self._refused += 1
        probe, now = departure == self._schedule.probe, self._now()
        self._schedule.refused(now, departure, retry_after, longest)
        return self._judge(now, error, Cost.FREE, probe=probe)

    def failed(
        self, departure: float, path: str, error: Exception, retry_after: float | None = None
    ) -> Cost:
        """Report a 5xx, a lost connection or a timeout."""
        probe, now = departure == self._schedule.probe, self._now()
        self._schedule.failed(now, departure, path, retry_after)
        return self._judge(now, error, Cost.COUNTED, probe=probe)

    def abandoned(self, departure: float) -> None:
        """Report an attempt that was cancelled or never made."""
        self._done += 1
        self._schedule.abandoned(self._now(), departure)
        self._pump()

    def statistics(self) -> LimiterStatistics:
        """Return a snapshot."""
        schedule, rate = self._schedule, self._schedule.budget.rate
        return LimiterStatistics(
            sent=self._sent,
            refused=self._refused,
            waited=self._waited,
            waiting=self._line.waiting,
            in_flight=self._sent - self._done,
            rate=None if rate is None else rate * 60,
            state="outage" if schedule.outage_backoff else "refused" if schedule.closed else "open",
        )

    def is_as_good_as_new(self, now: float) -> bool:
        """Tell whether it may be forgotten when nobody holds it."""
        return self._schedule.is_as_good_as_new(now + self._shift)

    def inherit(self, other: RateLimiter) -> None:
        """Go on where the limiter of a closed loop ended; what it had in flight is lost."""
        self._schedule, other._schedule = other._schedule, self._schedule
        self.last_error = other.last_error
        self._shift = max(0.0, self._schedule.latest - self.loop.time())
        self._schedule.restart(self._now())
        self._sent = self._done = other._sent
        self._refused, self._waited = other._refused, other._waited

    def _now(self) -> float:
        """Return the schedule's time: the loop's, but never earlier than in the loop before."""
        return self.loop.time() + self._shift

    def _judge(self, now: float, error: Exception, verdict: Cost, *, probe: bool) -> Cost:
        self._done += 1
        schedule, line = self._schedule, self._line
        if schedule.closed and self.last_error is None:
            self.last_error = error
            self._log.closed(schedule.ready - now, outage=schedule.outage_backoff > 0)
        if probe:
            self.last_error, shut = error, now - schedule.closed_since
            verdict = Cost.FINAL if shut >= self._patience else Cost.FREE
            everywhere, failing = (
                not schedule.outage_backoff or schedule.streak.is_wide(),
                schedule.streak.resources,
            )
            for waiter in line:
                if shut >= waiter.terms.patience and (everywhere or waiter.path in failing):
                    line.settle(waiter, error)
        for waiter in line if schedule.not_before > now else ():
            if not waiter.terms.allow(now, schedule.not_before):
                line.settle(waiter, error)
        self._pump()
        return verdict

    def _pump(self) -> None:
        schedule, line, now = self._schedule, self._line, self._now()
        while now >= schedule.ready and line.anyone():
            self._sent += 1
            self._grant(schedule.leave(now))
        if not line.waiting:
            self._log.nobody_waits()
        due = max(schedule.ready, now + 1e-6) if line.anyone() else math.inf
        if self._timer is not None and self._alarm != due:
            self._timer.cancel()
            self._timer = None
        if self._timer is None and due < math.inf:  # a probe that is out reports by itself
            self._timer, self._alarm = self.loop.call_at(due - self._shift, self._wake), due

    def _wake(self) -> None:
        late = self._now() - self._alarm
        if late > _BLOCKED:  # answers that came meanwhile are read first, refusals among them
            self._alarm += late + _GRACE
            self._timer = self.loop.call_at(self._alarm - self._shift, self._wake)
            return
        self._timer, waiting = None, self._line.waiting
        self._log.queue(waiting, self._schedule.forecast(self._now(), waiting))
        self._pump()

    def _grant(self, departure: float) -> None:
        schedule, line = self._schedule, self._line
        if departure == schedule.probe:  # where nothing has failed yet, one of an outage says most
            waiter = line.take_probe(schedule.streak.resources if schedule.outage_backoff else ())
            self._patience = waiter.terms.patience
        else:
            waiter = line.take()
        waiter.outcome.set_result(departure)

    def _abandon(self, waiter: Waiter) -> None:
        if self._line.forget(waiter) or isinstance(departure := waiter.outcome.result(), Exception):
            return  # else the departure came in the very tick of the cancellation, and must go on
        if self._line.anyone() and (departure == self._schedule.probe or not self._schedule.closed):
            self._grant(departure)
        else:
            self.abandoned(departure)
