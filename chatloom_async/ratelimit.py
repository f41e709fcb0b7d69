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

Times are float seconds. Here: 3, 4, 10 (``Pacer``: no clock, no I/O) and the gate around it. Not
here: 1 (``ceiling``), 2 and 5 to 9 (``budget``), who is next (``lanes``), what fails (``call``).
"""

from __future__ import annotations

import asyncio
import copy
import math
import random
from collections.abc import Callable

from attrs import define, field

from chatloom_async.budget import Budget
from chatloom_async.ceiling import Ceiling
from chatloom_async.gatelog import GateLog
from chatloom_async.lanes import Lanes, Waiter
from chatloom_async.limits import LimiterStatistics, RateLimit, Terms, Verdict
from chatloom_async.streak import Streak

_LONG_PAUSE, _LONGEST = 5.0, 120.0  # a window's, not a bucket's; what is believed of a Retry-After
_OUTDATED = 120.0  # seconds, as far back as the budget looks
_IDLE, _LATE = 1.0, 0.005  # ready for so long: nobody wanted to leave; a timer's delay, made up for


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
    told: float = -math.inf  # until when the server asked to stay away
    streak: Streak = field(factory=Streak)
    _last: float = -math.inf  # departure
    _ceiling: Ceiling = field(init=False)
    _closed_at: float = -math.inf
    _backoff: float = 1.0

    def __attrs_post_init__(self) -> None:
        """Start now, knowing nothing."""
        self.budget, self._ceiling = Budget(self.ready), Ceiling(self.limit)

    def leave(self, now: float) -> float:
        """Let an attempt leave, ``ready`` having come; return its ticket: the time, made unique."""
        late = now - self.ready
        if late > _IDLE:  # nobody came: that proves no limit, and tries no one's patience
            if self.closed:
                self.shut_at += late
            else:
                self.budget.stand_still(late)
        ticket = now if now > self._last else math.nextafter(self._last, math.inf)
        self._ceiling.pay(ticket)
        self._last = ticket
        if self.closed:
            self.probe, self.ready = ticket, math.inf
        else:
            self.budget.spend(now)
            self._hold(self.budget.due(now, now - min(late, _LATE)))
        return ticket

    def admitted(self, sent_at: float, resource: str) -> None:
        """Take note of an answer which is neither a 429 nor a failure."""
        self.streak.end(sent_at, resource)
        self.budget.let_in(sent_at)

    def reopen(self, now: float) -> None:
        """Open the gate: the probe was admitted."""
        go_on = self.budget.recover if self.outage else self.budget.reopen
        go_on(now, self._last, now - self._closed_at)
        self.closed, self.outage, self.told = False, 0.0, -math.inf
        self._hold(self.budget.due(now, self._last))

    def refused(
        self, now: float, sent_at: float, retry_after: float | None, longest: float = _LONGEST
    ) -> None:
        """Take note of a 429; of its Retry-After no more than the ``longest`` is believed."""
        if not self.closed and sent_at <= self._closed_at:
            return  # an echo of the refusal before
        told, asked = self.told, self._asked(now, retry_after, longest)
        if self.closed and sent_at != self.probe:
            self.ready, self.told = max(self.ready, now + asked), max(told, self.told)
        elif self.closed and not self.outage:
            self._backoff = min(2 * self._backoff, 64.0)
            self._pause(now, asked)
        else:
            self.budget.refuse(now, sent_at, afresh=self.outage > 0)
            pause, self.outage = self.budget.pause, 0.0  # the outage's server is up, and only full
            self._backoff = pause if pause > _LONG_PAUSE else max(1.0, pause / 2)
            self.shut_at = self.shut_at if self.closed else now
            self.closed, self._closed_at = True, now
            self._pause(now, asked)

    def failed(
        self, now: float, sent_at: float, resource: str, retry_after: float | None = None
    ) -> None:
        """Take note of a 5xx, a lost connection or a timeout."""
        self.streak.extend(resource)
        self.budget.let_in(sent_at)
        if sent_at != self.probe:
            if self.closed or not self.streak.is_outage(now):
                return
            self.closed, self.shut_at, self._closed_at = True, now, now
        self.outage = min(2 * self.outage, 4.0) or 0.5
        asked = self._asked(now, retry_after, _LONGEST)
        self._hold(now + max(self.outage * self.uniform(0.9, 1.1), asked))

    def forecast(self, now: float, waiting: int) -> float:
        """Return about how long it takes until so many have left."""
        until = max(self.ready, self._ceiling.opens_at(waiting))
        return max(until - now, waiting / self.budget.speed(now))

    def is_as_good_as_new(self, now: float) -> bool:
        """Tell whether a new one would do the same: nothing is known, or it is long out of date."""
        knows = self.closed or self.budget.rate is not None or not self._ceiling.is_whole(now)
        return not knows or self._last < now - _OUTDATED

    def lost(self, now: float, sent_at: float) -> None:
        """Take note of an attempt that was given up; if it was the probe, the next in line is."""
        if sent_at == self.probe:
            self._hold(now)

    def _hold(self, until: float) -> None:
        self.probe, self.ready = None, max(until, self._ceiling.opens_at())

    def _asked(self, now: float, retry_after: float | None, longest: float) -> float:
        wait = retry_after if retry_after and retry_after > 0 else 0.0
        self.told = now + wait if wait else -math.inf  # the latest word counts
        return min(wait, longest)

    def _pause(self, now: float, asked: float) -> None:
        if not asked:
            left = self.budget.oldest(self._closed_at) + 60.5 - now
            asked = max(1.0, min(self._backoff, left) if left > 0 else -left)
        self._hold(now + asked + self.uniform(0, 0.1))


@define(eq=False)
class RateLimiter:
    """The gate of one key, made in the loop that it serves.

    An attempt takes a ticket with ``enter``, or with ``wait`` where that returns None, and gives it
    back by one of ``admitted``, ``refused``, ``failed``, ``lost``. ``name`` stands for the key.
    """

    limit: RateLimit
    name: str
    last_error: Exception | None = field(default=None, init=False)  # why the gate is closed
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop, init=False)
    _pacer: Pacer = field(init=False)
    _lanes: Lanes = field(factory=Lanes, init=False)
    _tells: GateLog = field(init=False)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)
    _patience: float = field(default=math.inf, init=False)  # the probe's
    _sent: int = field(default=0, init=False)
    _done: int = field(default=0, init=False)
    _refused: int = field(default=0, init=False)
    _waited: float = field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        """Open the gate."""
        self._pacer, self._tells = Pacer(self.limit, self._loop.time()), GateLog(self.name)

    def enter(self) -> float | None:
        """Leave at once, if the gate is open and nobody waits."""
        pacer, now = self._pacer, self._loop.time()
        if now < pacer.ready or pacer.closed or self._lanes.waiting:
            return None
        self._sent += 1
        return pacer.leave(now)

    async def wait(self, path: str, terms: Terms, *, refused: bool = False) -> float:
        """Queue for a ticket, at the head of its lane if just ``refused``.

        Raises a copy of ``last_error`` when the gate stays closed for longer than the terms allow.
        """
        waiter, start = Waiter(path, terms, self._loop.create_future()), self._loop.time()
        told = self._pacer.told if start < self._pacer.ready else start
        if self.last_error is not None and not terms.allow(start, told):
            raise copy.copy(self.last_error)
        self._lanes.add(waiter, urgent=terms.urgent, first=refused)
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
            self._tells.opened(now - pacer.shut_at)
            self._pump()
        pacer.admitted(ticket, path)

    def refused(
        self, ticket: float, error: Exception, retry_after: float | None, longest: float = _LONGEST
    ) -> Verdict:
        """Report a 429; a probe waits for its ``retry_after``, for the ``longest`` at most."""
        self._refused += 1
        probe, now = ticket == self._pacer.probe, self._loop.time()
        self._pacer.refused(now, ticket, retry_after, longest)
        return self._judge(now, error, Verdict.FREE, probe=probe)

    def failed(
        self, ticket: float, path: str, error: Exception, retry_after: float | None = None
    ) -> Verdict:
        """Report a 5xx, a lost connection or a timeout."""
        probe, now = ticket == self._pacer.probe, self._loop.time()
        self._pacer.failed(now, ticket, path, retry_after)
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

    def is_as_good_as_new(self) -> bool:
        """Tell whether it may be forgotten when nobody holds it."""
        return self._loop.is_closed() or self._pacer.is_as_good_as_new(self._loop.time())

    def _judge(self, now: float, error: Exception, verdict: Verdict, *, probe: bool) -> Verdict:
        self._done += 1
        pacer, lanes = self._pacer, self._lanes
        if pacer.closed and self.last_error is None:
            self.last_error = error
            self._tells.closed(pacer.ready - now, outage=pacer.outage > 0)
        if probe:
            self.last_error, shut = error, now - pacer.shut_at
            verdict = Verdict.FINAL if shut >= self._patience else Verdict.FREE
            everywhere, failing = not pacer.outage or pacer.streak.is_wide(), pacer.streak.resources
            for waiter in lanes:
                if shut >= waiter.terms.patience and (everywhere or waiter.path in failing):
                    lanes.settle(waiter, error)
        for waiter in lanes if pacer.told > now else ():
            if not waiter.terms.allow(now, pacer.told):
                lanes.settle(waiter, error)
        self._pump()
        return verdict

    def _pump(self) -> None:
        pacer, lanes, now = self._pacer, self._lanes, self._loop.time()
        while now >= pacer.ready and lanes.anyone():
            self._sent += 1
            self._grant(pacer.leave(now))
        if not lanes.waiting:
            self._tells.nobody_waits()
        due = max(pacer.ready, now + 1e-6) if lanes.anyone() else math.inf
        if self._timer is not None and self._timer.when() != due:
            self._timer.cancel()
            self._timer = None
        if self._timer is None and due < math.inf:  # a probe that is out reports by itself
            self._timer = self._loop.call_at(due, self._wake)

    def _wake(self) -> None:
        self._timer, waiting = None, self._lanes.waiting
        self._tells.queue(waiting, self._pacer.forecast(self._loop.time(), waiting))
        self._pump()

    def _grant(self, ticket: float) -> None:
        pacer, lanes = self._pacer, self._lanes
        if ticket == pacer.probe:  # where nothing has failed yet, one of an outage says most
            waiter = lanes.take_probe(pacer.streak.resources if pacer.outage else ())
            self._patience = waiter.terms.patience
        else:
            waiter = lanes.take()
        waiter.outcome.set_result(ticket)

    def _abandon(self, waiter: Waiter) -> None:
        if self._lanes.forget(waiter) or isinstance(ticket := waiter.outcome.result(), Exception):
            return  # else the ticket came in the very tick of the cancellation, and must go on
        if self._lanes.anyone() and (ticket == self._pacer.probe or not self._pacer.closed):
            self._grant(ticket)
        else:
            self.lost(ticket)
