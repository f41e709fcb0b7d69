"""The rate limiter of one key: the tasks that wait, a timer, the log, around the ``Schedule``.

A stranger's way through:

- An attempt asks ``try_acquire``, and where that returns None it queues in ``wait``. What it gets
  is its departure, by which it later reports what became of it.
- A 429 is reported to ``refused``. It closes the gate for every task of the key. The refused call
  goes back to the head of the queue; that costs it time, no attempt.
- A closed gate lets one attempt out when the pause is over: the probe. It is the attempt of a call
  that waits, the one with the latest deadline. Its success opens the gate. If it is cancelled,
  another call sends the next probe at once; where none waits, the next call that comes does.
- Without deadlines, a path that is always refused keeps the gate closed: its call, at the head of
  the queue, sends each probe, until its patience (120 s) ends it, and those who waited with it. The
  probe of a later call opens the gate. Probes of other paths would open it earlier, but that call
  would close it again and again and never end, and a tiny rate would be learned from it.
- A Retry-After of 300 is longer than most calls accept (``RetryPolicy.max_retry_after``, 120 s).
  The refused call and those that wait end at once with the refusal as their error, and so do later
  calls. The gate itself waits no longer than the refused call's ``max_retry_after``. Then the next
  call that comes, or a waiting one that accepts 300 s, leaves as the probe.
- A call whose turn at the client's own ``RateLimit`` comes after its deadline ends at once, unsent.
- Several keys of a base URL may meet one limit. Then an attempt passes a gate of all keys too
  (``ratelimit.common``), and its refusal is that gate's business.

Not here: when the next attempt may leave (``ratelimit.schedule``), who is next
(``ratelimit.waiting``), what an attempt is (``calls.call``).
"""

from __future__ import annotations

import asyncio
import copy
import math
from typing import TYPE_CHECKING

from attrs import define, field

from chatloom_async.errors import ChatloomError, DeadlineExceededError
from chatloom_async.events import Observer
from chatloom_async.ratelimit.closings import LimiterLog
from chatloom_async.ratelimit.schedule import LONGEST, Schedule
from chatloom_async.ratelimit.values import (
    Cost,
    LimiterStatistics,
    RateLimit,
    SharedStore,
    Stage,
    ToldLimit,
)
from chatloom_async.ratelimit.waiting import Timer, Waiter, WaitingLine, WaitLimits

if TYPE_CHECKING:
    from chatloom_async.ratelimit.common import CommonGate
    from chatloom_async.ratelimit.shared import SharedTurns

_ONE_CLOCK = 1.0  # seconds by which the clocks of two loops may differ
_NOBODY = WaitingLine()  # of all limiters at which nobody waits: a fleet keeps thousands of them


@define(eq=False, repr=False)
class RateLimiter:
    """The gate of one key, made in the loop that it serves; ``name`` stands for the key.

    Whoever got a departure reports back by one of ``admitted``, ``refused``, ``failed`` and
    ``abandoned``, before that maybe by ``heard`` and ``judge_503``.
    """

    limit: RateLimit
    name: str
    notify: Observer | None = None
    common: CommonGate | None = None  # that of all keys
    loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop, init=False)
    earlier: RateLimiter | None = field(default=None, init=False)  # of the key, in another loop
    _schedule: Schedule = field(init=False)
    _line: WaitingLine = field(default=_NOBODY, init=False)
    _log: LimiterLog = field(init=False)
    _timer: Timer = field(init=False)
    _turns: SharedTurns | None = field(default=None, init=False)
    patience: float = field(default=math.inf, init=False)  # of the call that sends the probe
    _sent: int = field(default=0, init=False)
    _refused: int = field(default=0, init=False)
    _waited: float = field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        """Open the gate."""
        self._schedule = Schedule(self.limit, self.loop.time())
        self._timer = Timer(self.loop)
        self._log = LimiterLog(self.name, self.notify)

    @property
    def last_error(self) -> Exception | None:
        """Why the gate is closed; None while it is open."""
        return self._log.error

    def share(self, store: SharedStore, name: str) -> None:
        """Ask a store too, which several processes share, before anything leaves."""
        from chatloom_async.ratelimit.shared import SharedTurns  # noqa: PLC0415 - few share a limit

        self._turns = SharedTurns(store, name, self.limit, self._go_on_with_store)

    def try_acquire(self) -> float | None:
        """Leave at once, if the gate is open and nobody waits."""
        schedule, now = self._schedule, self.loop.time()
        if now < schedule.ready or schedule.closed or self._line is not _NOBODY or self._turns:
            return None
        if (common := self.common) is not None and common.asked:
            if common.schedule.closed or not common.is_free(now):
                return None
            now = common.leave(self, max(now, math.nextafter(schedule.latest, math.inf)))
        self._sent += 1
        return schedule.leave(now)

    async def wait(self, resource: str, limits: WaitLimits, *, refused: bool = False) -> float:
        """Queue for a departure, at the head of its lane if just ``refused``.

        Raises:
            DeadlineExceededError: the ``RateLimit`` has no room for the call before its deadline.
            ChatloomError: a copy of ``last_error``, where the gate stays closed for longer than
                the call may wait; its ``retry_after`` is what is left of that.

        """
        start = self.loop.time()
        if self._log.error or limits.give_up_at < math.inf or self._turns or self._asked:
            ahead = 0 if refused else self._line.ahead(urgent=limits.urgent)
            if (error := self._too_long(limits, start, ahead)) is not None:
                raise error
        waiter = Waiter(resource, limits, self.loop.create_future())
        if self._line is _NOBODY:
            self._line = WaitingLine()
        self._line.add(waiter, first=refused)
        schedule = self._schedule
        ready = schedule.ready_for_people() if limits.urgent else schedule.ready
        if ready <= start < self._timer.due:
            self.go_on()
        elif ready < self._timer.due:
            self._timer.set(ready, self._on_time)
        try:
            outcome = await waiter.outcome
        except asyncio.CancelledError:
            self._abandon(waiter)
            raise
        finally:
            self._waited += self.loop.time() - start
        if isinstance(outcome, Exception):
            raise copy.copy(outcome)
        return outcome

    def heard(self, departure: float, told: ToldLimit | None) -> None:
        """Report what an answer tells of the server's limit, if so, before the answer itself."""
        if told is not None:
            schedule, common = self._schedule, self.common
            if common is not None and common.stage is Stage.LIMITING:
                schedule = common.schedule
            schedule.heard(self.loop.time(), departure, told)

    def admitted(self, departure: float, resource: str) -> None:
        """Report an answer that is no refusal, or an error that waiting would not heal."""
        schedule = self._schedule
        # Else a look at the clock is saved: the schedule only reckons by the time how long this
        # answer took, and too short does no harm.
        needed = math.inf in (schedule.ready, schedule.first_answer)
        now = self.loop.time() if needed else schedule.latest
        opened = schedule.admitted(now, departure, resource)
        if opened:
            self._log.opened(now - schedule.closed_since)
        if self._turns is not None:
            self._turns.answered(departure, opened=opened)
        if self.common is not None and self.common.asked:
            self.common.admitted(self, departure)
        if self._line is not _NOBODY:
            self.go_on()

    def judge_503(self, departure: float, resource: str, *, told: bool) -> bool:
        """Report a 503; tell whether it is a refusal. ``told``: it says when to come back."""
        refused = self._schedule.judge_503(self.loop.time(), departure, resource, told=told)
        if (common := self._asked) is not None:
            return common.judge_503(self, departure, told=told) or refused
        return refused

    def refused(
        self,
        departure: float,
        error: Exception,
        retry_after: float | None,
        longest: float = LONGEST,
    ) -> Cost:
        """Report a refusal; a probe waits for its ``retry_after``, for the ``longest`` at most."""
        self._refused += 1
        probe, now = departure == self._schedule.probe, self.loop.time()
        common, cost = self.common, None
        if common is not None and common.stage is not Stage.ALONE:
            cost = common.refused(self, departure, error, retry_after, longest)
        if cost is None:
            self._schedule.refused(now, departure, retry_after, longest)
            cost = self._judge(now, error, Cost.FREE, probe=probe)
        else:
            self._schedule.excuse(now, departure)
            self.go_on()
        if common is not None and common.stage is not Stage.ALONE:
            common.give_turns(now)
        return cost

    def failed(
        self, departure: float, resource: str, error: Exception, retry_after: float | None = None
    ) -> Cost:
        """Report a 5xx, a lost connection or a timeout."""
        probe, now = departure == self._schedule.probe, self.loop.time()
        self._schedule.failed(now, departure, resource, retry_after)
        if (common := self._asked) is not None:
            common.admitted(self, departure)
        return self._judge(now, error, Cost.COUNTED, probe=probe)

    def abandoned(self, departure: float) -> None:
        """Report an attempt that was cancelled or never made."""
        if self.loop.is_closed():  # a task was thrown away that nobody ended
            self._schedule.concurrency.back(departure)
            return
        if (common := self._asked) is not None:
            common.abandoned(self, departure)
        self._schedule.abandoned(self.loop.time(), departure)
        self.go_on()

    def accepted(self) -> int:
        """Return how many left in the last minute and came back, and were not refused."""
        return self._schedule.accepted(self.loop.time())

    def settle(self, schedule: Schedule, error: Exception, *, probe: bool) -> None:
        """End with this error what would wait for too long at a gate that goes by ``schedule``."""
        now, line = self.loop.time(), self._line
        closed_for, until = now - schedule.closed_since, schedule.not_before
        everywhere = not schedule.outage_backoff or schedule.outage.is_wide()
        if not probe and until <= now:
            return
        for waiter in line:
            concerned = probe and (everywhere or waiter.resource in schedule.outage.resources)
            impatient = concerned and closed_for >= waiter.limits.patience
            if impatient or (until > now and not waiter.limits.allow(now, until)):
                line.settle(waiter, error)

    async def aclose(self) -> None:
        """End what a store is asked; its calls have been ended."""
        self.forgotten(self.loop.time())
        if self._turns is not None:
            await self._turns.aclose()

    def statistics(self) -> LimiterStatistics:
        """Return a snapshot."""
        schedule = self._schedule
        window = schedule.window
        rate = schedule.bucket.rate if window is None else window.rate
        now, common = self.loop.time(), self.common
        limited_by = schedule.limited_by(now)
        if common and common.stage is Stage.LIMITING and now < common.schedule.ready:
            limited_by = "address"
        elif limited_by == "nothing" and self._turns is not None and self._turns.opens_in(now):
            limited_by = "shared"
        return LimiterStatistics(
            sent=self._sent,
            refused=self._refused,
            waited=self._waited,
            waiting=self._line.waiting,
            in_flight=len(schedule.concurrency.out),
            rate=None if rate is None else rate * 60,
            state="outage" if schedule.outage_backoff else "refused" if schedule.closed else "open",
            limited_by=limited_by,
            window=None if window is None else (window.worth, window.span),
            most_in_flight=schedule.concurrency.most,
        )

    def is_as_good_as_new(self, now: float) -> bool:
        """Tell whether it may be forgotten when nobody holds it."""
        common = self.common
        used = self._line.waiting or (common is not None and common.stage is Stage.LIMITING)
        new = not used and self._schedule.is_as_good_as_new(now)
        return new and (self.earlier is None or self.earlier.is_as_good_as_new(now))

    def forgotten(self, now: float) -> None:
        """Take note that nobody is to use it any more: it counts as closed no longer."""
        self._log.opened(now - self._schedule.closed_since, forgotten=True)

    def take_over(self, other: RateLimiter) -> None:
        """Go on where that of a closed loop ended, if its clock goes on; nothing is in flight."""
        now = self.loop.time()
        if other._schedule.latest > now + _ONE_CLOCK:
            return
        self._schedule, other._schedule = other._schedule, self._schedule
        self._log, other._log = other._log, self._log
        self._schedule.restart(now)
        self._sent, self._refused, self._waited = other._sent, other._refused, other._waited

    @property
    def _asked(self) -> CommonGate | None:
        """The gate of all keys, while it is asked."""
        return self.common if self.common is not None and self.common.asked else None

    def _go_on_with_store(self) -> None:
        """Go on after an answer of the store, and end what would wait for too long."""
        now, turns = self.loop.time(), self._turns
        for waiter in self._line if turns is not None and turns.opens_in(now) else ():
            if (error := self._too_long(waiter.limits, now)) is not None:
                self._line.settle(waiter, error)
        self.go_on()

    def _too_long(self, limits: WaitLimits, now: float, ahead: int = 0) -> Exception | None:
        """Return the error of a call that would wait for too long, behind so many; else None."""
        schedule, common, turns = self._schedule, self.common, self._turns
        error = self._log.error and _still_closed(self._log.error, schedule, limits, now)
        if error is None and common is not None and common.log.error is not None:
            error = _still_closed(common.log.error, common.schedule, limits, now)
        left = limits.give_up_at - now
        if error is None and turns is not None:
            error = turns.refusal(limits, left)
        if error is not None or left == math.inf:
            return error
        wait = schedule.ceiling.opens_at(ahead + 1, urgent=limits.urgent) - now
        if turns is not None:
            wait = max(wait, turns.opens_in(now))
        if wait <= left:
            return None
        return DeadlineExceededError(
            f"not sent: RateLimit has no room for it within the {left:.1f} s that its deadline "
            f"leaves, but in about {wait:.1f} s",
            retry_after=wait,
        )

    def _judge(self, now: float, error: Exception, cost: Cost, *, probe: bool) -> Cost:
        """Tell what a refusal or failure costs its call, and end what waits for too long."""
        schedule = self._schedule
        if schedule.closed:
            self._log.closed(error, schedule.opens_in(now), outage=schedule.outage_backoff > 0)
            if self._turns is not None:
                self._turns.closed(schedule.opens_in(now))
        if probe:
            self._log.error, closed_for = error, now - schedule.closed_since
            cost = Cost.FINAL if closed_for >= self.patience else Cost.FREE
        if self._line is not _NOBODY:
            self.settle(schedule, error, probe=probe)
            self.go_on()
        return cost

    def go_on(self, *, turn: bool = False) -> None:
        """Let everybody leave who may, together, and set the timer for the next one.

        ``turn``: the first one need not ask the gate of all keys.
        """
        schedule, line, now = self._schedule, self._line, self.loop.time()
        turns, common, due = self._turns, self._asked, math.inf
        while line.anyone():
            ready = schedule.ready_for_people() if line.urgent else schedule.ready
            if now < ready:
                due = ready
                break
            if common is not None and not turn and not common.is_free(now):
                common.queue(self)
                break
            if turns is not None and not turns.take(line.waiting):
                break  # it goes on when the store has answered
            turn, departure = False, now
            if common is not None:
                departure = max(now, math.nextafter(schedule.latest, math.inf))
                departure = common.leave(self, departure)
            self._sent += 1
            self._grant(schedule.leave(departure))
        if not line.waiting:
            self._line = _NOBODY
        self._timer.set(due, self._on_time)

    def _on_time(self) -> None:
        line = self._line
        if line.waiting > 1 and line.bulk and not line.announced:
            wait = self._schedule.forecast(self.loop.time(), line.waiting)
            line.announced = self._log.queue(line.waiting, wait)
        self.go_on()

    def _grant(self, departure: float) -> None:
        schedule, line = self._schedule, self._line
        common = self._asked
        if departure == schedule.probe or (common and departure == common.schedule.probe):
            # Where nothing has failed yet, the probe of an outage says most.
            waiter = line.take_probe(schedule.outage.resources if schedule.outage_backoff else ())
            self.patience = waiter.limits.patience
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


def _still_closed(
    error: Exception, schedule: Schedule, limits: WaitLimits, now: float
) -> Exception | None:
    """Return a copy of why a gate is closed, if the server asks to wait for longer than allowed."""
    until = schedule.not_before if now < schedule.ready else now
    if limits.allow(now, until):
        return None
    copied = copy.copy(error)
    if isinstance(copied, ChatloomError) and copied.retry_after is not None:
        copied.retry_after = until - now
    return copied
