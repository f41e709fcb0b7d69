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

Times are float seconds. Here: the gate, a queue of futures and one timer around a ``pacer`` (1, 3,
4, 10) and its ``budget`` (2, 5 to 9). Not here: who is next (``lanes``), what fails (``call``).
"""

from __future__ import annotations

import asyncio
import copy
import math

from attrs import define, field

from chatloom_async.gatelog import GateLog
from chatloom_async.lanes import Lanes, Waiter
from chatloom_async.limits import LimiterStatistics, RateLimit, Terms, Verdict
from chatloom_async.pacer import LONGEST, Pacer

__all__ = ["LimiterStatistics", "RateLimit", "RateLimiter", "Terms", "Verdict"]


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

    def enter(self, path: str) -> float | None:  # noqa: ARG002 - one way to call all of these
        """Leave at once, if the gate is open and nobody waits."""
        pacer, now = self._pacer, self._loop.time()
        if now < pacer.ready or pacer.closed or self._lanes.waiting:
            return None
        self._sent += 1
        return pacer.leave(now)

    async def wait(self, path: str, terms: Terms, *, refused: bool = False) -> float:
        """Queue for a ticket, at the head of its lane if just ``refused``.

        Raises a copy of ``last_error`` when the gate has been closed for the terms' patience, and
        at once when the server asks for a longer wait than they allow.
        """
        waiter, start = Waiter(path, terms, self._loop.create_future()), self._loop.time()
        if self.last_error is not None and self._is_vain(waiter, start):
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
        self,
        ticket: float,
        path: str,  # noqa: ARG002 - as above: a refusal is the key's, not the resource's
        retry_after: float | None,
        error: Exception,
        longest: float = LONGEST,
    ) -> Verdict:
        """Report a 429, which asks to wait for ``retry_after`` seconds or does not say.

        Of that no more than the ``longest`` is waited before the next probe.
        """
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
        if pacer.told > now:
            for waiter in lanes:
                if self._is_vain(waiter, now):
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
        pacer = self._pacer
        if ticket == pacer.probe:
            # Where nothing has failed yet, a probe of an outage says most.
            waiter = self._lanes.take_probe(pacer.streak.resources if pacer.outage else ())
            self._patience = waiter.terms.patience
        else:
            waiter = self._lanes.take()
        waiter.outcome.set_result(ticket)

    def _is_vain(self, waiter: Waiter, now: float) -> bool:
        """Tell whether a closed gate will not open in time, as the server says."""
        pacer, terms = self._pacer, waiter.terms
        return (
            pacer.closed
            and now < pacer.ready
            and (pacer.told > terms.give_up_at or pacer.told - now > terms.max_retry_after)
        )

    def _abandon(self, waiter: Waiter) -> None:
        if self._lanes.forget(waiter) or isinstance(ticket := waiter.outcome.result(), Exception):
            return  # else the ticket came in the very tick of the cancellation, and must go on
        if self._lanes.anyone() and (ticket == self._pacer.probe or not self._pacer.closed):
            self._grant(ticket)
        else:
            self.lost(ticket)
