"""Rate limits and outages: one learning gate per API key, in ten lines.

 1. Every attempt of every task takes its ticket at one gate per key, which ``RateLimit`` caps.
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

Times are float seconds. Here: 1, 3, 4, 10 (``Pacer``: no clock, no I/O) and the gate around them.
Not here: 2 and 5 to 9 (``budget``), who is next (``lanes``), what a failure is (``call``).
"""

from __future__ import annotations

import asyncio
import copy
import logging
import math
import random
from collections import deque
from collections.abc import Callable

from attrs import define, field

from chatloom_async.budget import Budget
from chatloom_async.lanes import Lanes, Waiter
from chatloom_async.limits import LimiterStatistics, RateLimit, Verdict

__all__ = ["LimiterStatistics", "Pacer", "RateLimit", "RateLimiter", "Verdict"]

_log = logging.getLogger("chatloom_async")
_LONG_PAUSE, _LONGEST = 5.0, 120.0  # a window's, not a bucket's; what a Retry-After can ask for
_IDLE, _LATE = 1.0, 0.005  # ready for so long: nobody wanted to leave; a timer's delay, made up for
_FAILURES, _RESOURCES = 10, 3  # in a row, and of how many: an outage
_LONG_QUEUE, _LONG_WAIT = 100, 10.0  # calls, seconds: worth a line in the log


@define(eq=False)
class Pacer:
    """When the next attempt may leave; is told the time, which never goes back."""

    limit: RateLimit
    ready: float  # when the next one may leave: now at first, infinity while a probe is out
    uniform: Callable[[float, float], float] = random.uniform
    budget: Budget = field(init=False)
    closed: bool = False
    shut_at: float = 0.0  # when the gate was shut, later by the time in which nobody waited
    probe: float | None = None  # its ticket
    outage: float = 0.0  # how long its next probe waits; 0: none
    failing: set[str] = field(factory=set)  # resources, since the last good answer
    _failures: int = 0
    _answered: deque[tuple[float, str]] = field(factory=lambda: deque(maxlen=100))
    _last: float = -math.inf  # departure
    _paid: float = -math.inf  # up to when the ceiling is used
    _interval: float = field(init=False)
    _closed_at: float = -math.inf
    _backoff: float = 1.0

    def __attrs_post_init__(self) -> None:
        """Start now, knowing nothing."""
        self.budget = Budget(self.ready)
        self._interval = 60 / self.limit.per_minute if self.limit.per_minute else 0.0

    def leave(self, now: float) -> float:
        """Let an attempt leave, ``ready`` having come; return its ticket: the time, made unique."""
        late = now - self.ready
        if late > _IDLE:  # nobody came: that proves no limit, and tries no one's patience
            if self.closed:
                self.shut_at += late
            else:
                self.budget.stand_still(late)
        ticket = now if now > self._last else math.nextafter(self._last, math.inf)
        self._paid = max(self._paid, ticket) + self._interval
        self._last = ticket
        if self.closed:
            self.probe, self.ready = ticket, math.inf
        else:
            self.budget.spend(now)
            self._hold(self.budget.due(now, now - min(late, _LATE)))
        return ticket

    def admitted(self, sent_at: float, resource: str) -> None:
        """Take note of an answer which is neither a 429 nor a failure."""
        if self._failures:
            self._failures = 0
            self.failing.clear()
        self._answered.append((sent_at, resource))
        self.budget.let_in(sent_at)

    def reopen(self, now: float) -> None:
        """Open the gate: the probe was admitted."""
        shut = now - self._closed_at
        if self.outage:
            self.outage = 0.0
            self.budget.recover(now, self._last, shut)
        else:
            self.budget.reopen(now, self._last, shut)
        self.closed = False
        self._hold(self.budget.due(now, self._last))

    def refused(self, now: float, sent_at: float, retry_after: float | None) -> None:
        """Take note of a 429."""
        asked = min(retry_after, _LONGEST) if retry_after and retry_after > 0 else None
        if self.closed and sent_at != self.probe:
            self.ready = max(self.ready, now + (asked or 0.0))
        elif self.closed and not self.outage:
            self._backoff = min(2 * self._backoff, 64.0)
            self._pause(now, asked)
        elif sent_at > self._closed_at:  # else an echo of the refusal before
            self.budget.refuse(now, sent_at, afresh=self.outage > 0)
            pause, self.outage = self.budget.pause, 0.0  # the outage's server is up, and only full
            self._backoff = pause if pause > _LONG_PAUSE else max(1.0, pause / 2)
            self.shut_at = self.shut_at if self.closed else now
            self.closed, self._closed_at = True, now
            self._pause(now, asked)

    def failed(self, now: float, sent_at: float, resource: str) -> None:
        """Take note of a 5xx, a lost connection or a timeout."""
        self._failures += 1
        self.failing.add(resource)
        self.budget.let_in(sent_at)
        if sent_at != self.probe:
            if self.closed or not self._down(now):
                return
            self.closed, self.shut_at, self._closed_at = True, now, now
        self.outage = min(2 * self.outage, 4.0) or 0.5
        self._hold(now + self.outage * self.uniform(0.9, 1.1))

    def forecast(self, now: float, waiting: int) -> float:
        """Return about how long it takes until so many have left."""
        ceiling = self._paid - now + (waiting - self.limit.burst) * self._interval
        return max(self.ready - now, ceiling, waiting / self.budget.speed(now))

    def lost(self, now: float, sent_at: float) -> None:
        """Take note of an attempt that was given up; if it was the probe, the next in line is."""
        if sent_at == self.probe:
            self._hold(now)

    def _hold(self, until: float) -> None:
        ceiling = self._paid - (self.limit.burst - 1) * self._interval
        self.probe, self.ready = None, max(until, ceiling)

    def _pause(self, now: float, asked: float | None) -> None:
        if asked is None:
            left = self.budget.oldest(self._closed_at) + 60.5 - now
            asked = max(1.0, min(self._backoff, left) if left > 0 else -left)
        self._hold(now + asked + self.uniform(0, 0.1))

    def _down(self, now: float) -> bool:
        lately = (resource for at, resource in self._answered if at > now - 60)
        widely = len(self.failing) >= _RESOURCES or self.failing.issuperset(lately)
        return widely and self._failures >= _FAILURES


@define(eq=False)
class RateLimiter:
    """The gate of one key, made in the loop that it serves.

    An attempt takes a ticket with ``enter``, or with ``wait`` where that returns None, and gives it
    back by one of ``admitted``, ``refused``, ``failed``, ``lost``. ``name`` stands for the key.
    """

    limit: RateLimit
    name: str = field(kw_only=True)
    last_error: Exception | None = field(default=None, init=False)  # why the gate is closed
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop, init=False)
    _pacer: Pacer = field(init=False)
    _lanes: Lanes = field(factory=Lanes, init=False)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)
    _patience: float = field(default=math.inf, init=False)  # the probe's
    _announced: bool = field(default=False, init=False)
    _sent: int = field(default=0, init=False)
    _done: int = field(default=0, init=False)
    _refused: int = field(default=0, init=False)
    _waited: float = field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        """Open the gate."""
        self._pacer = Pacer(self.limit, self._loop.time())

    def enter(self, path: str) -> float | None:  # noqa: ARG002 - one way to call all of these
        """Leave at once, if the gate is open and nobody waits."""
        pacer, now = self._pacer, self._loop.time()
        if now < pacer.ready or pacer.closed or self._lanes.waiting:
            return None
        self._sent += 1
        return pacer.leave(now)

    async def wait(
        self, path: str, *, urgent: bool = False, refused: bool = False, patience: float = 120.0
    ) -> float:
        """Queue for a ticket, in the lane of the ``urgent``, at its head if just ``refused``.

        Raises a copy of ``last_error`` when the gate has been closed for ``patience`` seconds.
        """
        waiter, start = Waiter(path, patience, self._loop.create_future()), self._loop.time()
        self._lanes.add(waiter, urgent=urgent, first=refused)
        if self._timer is None:
            self._pump()
        try:
            outcome = await waiter.outcome
        except asyncio.CancelledError:
            self._abandon(waiter)
            raise
        finally:
            self._waited += self._loop.time() - start
        if isinstance(outcome, Exception):
            raise copy.copy(outcome)
        return outcome

    def admitted(self, ticket: float, path: str) -> None:
        """Report any answer but a 429 or a failure."""
        self._done += 1
        pacer = self._pacer
        if ticket == pacer.probe:
            now, self.last_error = self._loop.time(), None
            pacer.reopen(now)
            _log.info("key %s: gate open again after %.1f s", self.name, now - pacer.shut_at)
            self._pump()
        pacer.admitted(ticket, path)

    def refused(
        self,
        ticket: float,
        path: str,  # noqa: ARG002 - as above: a refusal is the key's, not the resource's
        retry_after: float | None,
        error: Exception,
    ) -> Verdict:
        """Report a 429, which asks to wait for ``retry_after`` seconds or does not say."""
        self._refused += 1
        probe, now = ticket == self._pacer.probe, self._loop.time()
        self._pacer.refused(now, ticket, retry_after)
        return self._judge(now, error, Verdict.FREE, probe=probe)

    def failed(self, ticket: float, path: str, error: Exception) -> Verdict:
        """Report a 5xx, a lost connection or a timeout."""
        probe, now = ticket == self._pacer.probe, self._loop.time()
        self._pacer.failed(now, ticket, path)
        return self._judge(now, error, Verdict.COUNTED, probe=probe)

    def lost(self, ticket: float) -> None:
        """Report an attempt that was cancelled or never made."""
        self._done += 1
        self._pacer.lost(self._loop.time(), ticket)
        self._pump()

    def statistics(self) -> LimiterStatistics:
        """Return a snapshot."""
        pacer, rate = self._pacer, self._pacer.budget.rate
        return LimiterStatistics(
            sent=self._sent,
            refused=self._refused,
            waited=self._waited,
            waiting=self._lanes.waiting,
            in_flight=self._sent - self._done,
            rate=None if rate is None else rate * 60,
            state="outage" if pacer.outage else "refused" if pacer.closed else "open",
        )

    def _judge(self, now: float, error: Exception, verdict: Verdict, *, probe: bool) -> Verdict:
        self._done += 1
        pacer, lanes = self._pacer, self._lanes
        if pacer.closed and self.last_error is None:
            self.last_error, wait = error, pacer.ready - now
            reason = "the service fails" if pacer.outage else "rate limit reached"
            _log.warning("key %s: %s; gate closed, probe in %.1f s", self.name, reason, wait)
        if probe:
            self.last_error, shut = error, now - pacer.shut_at
            verdict = Verdict.FINAL if shut >= self._patience else Verdict.FREE
            everywhere = not pacer.outage or len(pacer.failing) >= _RESOURCES
            for waiter in lanes:
                if shut >= waiter.patience and (everywhere or waiter.path in pacer.failing):
                    lanes.settle(waiter, error)
        self._pump()
        return verdict

    def _pump(self) -> None:
        pacer, lanes, now = self._pacer, self._lanes, self._loop.time()
        while now >= pacer.ready and lanes.anyone():
            self._sent += 1
            self._grant(pacer.leave(now))
        self._announced = self._announced and lanes.waiting > 0
        due = max(pacer.ready, now + 1e-6) if lanes.anyone() else math.inf
        if self._timer is not None and self._timer.when() != due:
            self._timer.cancel()
            self._timer = None
        if self._timer is None and due < math.inf:  # a probe that is out reports by itself
            self._timer = self._loop.call_at(due, self._wake)

    def _wake(self) -> None:
        self._timer, waiting = None, self._lanes.waiting
        if not self._announced:
            wait = self._pacer.forecast(self._loop.time(), waiting)
            if waiting > _LONG_QUEUE or wait > _LONG_WAIT:
                self._announced = True
                _log.info("key %s: %d calls wait, for about %.0f s", self.name, waiting, wait)
        self._pump()

    def _grant(self, ticket: float) -> None:
        pacer = self._pacer  # where nothing has failed yet, a probe of an outage says most
        waiter = self._lanes.take(pacer.failing if pacer.outage else ())
        if ticket == pacer.probe:
            self._patience = waiter.patience
        waiter.outcome.set_result(ticket)

    def _abandon(self, waiter: Waiter) -> None:
        if self._lanes.forget(waiter) or isinstance(ticket := waiter.outcome.result(), Exception):
            return  # else the ticket came in the very tick of the cancellation, and must go on
        if self._lanes.anyone() and (ticket == self._pacer.probe or not self._pacer.closed):
            self._grant(ticket)
        else:
            self.lost(ticket)
