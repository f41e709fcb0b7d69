"""The gate that the keys of a base URL have in common: a proxy may limit each address.

1. At first the attempts of all keys in flight are few together, 16 or one for every three keys, so
   that a limit of the address wastes no more than those. Each good answer lets more be in flight.
   After some hundreds of them the keys need not ask any more.
2. Three keys that sent next to nothing are refused within a second: the limit seems to be the
   address's. From then on an attempt passes a ``Schedule`` of all keys after its own. The keys take
   turns, and a refusal is reported there.
3. When that closes, and while a long pause was told, some keys send a trial now and then, first
   those that were not refused (``ratelimit.evidence``). If enough in a row are answered, the limits
   are the keys' own, and the gate sleeps until it is suspected again.
4. What is in flight for long counts no more: no key that hangs holds up the others.

Not here: the limiter of a key (``ratelimit.limiter``), and which keys have a gate in common
(``ratelimit.registry``).
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from typing import Protocol
from weakref import WeakSet

from attrs import define, field

from chatloom_async.ratelimit.closings import LimiterLog
from chatloom_async.ratelimit.departures import LearnedConcurrency
from chatloom_async.ratelimit.evidence import Suspicion, Trial
from chatloom_async.ratelimit.schedule import Schedule
from chatloom_async.ratelimit.values import Cost, RateLimit, ToldLimit

# In quotes beside a constant: the row of ``benchmarks.politeness`` that it decides.
_AT_FIRST = 16.0  # in flight, for all keys together ("50 keys, one address")
_FOR_EACH = 1 / 3  # key so many, where that is more ("first read of 500 keys")
_GROWTH = 1 / 80  # of the first number, more in flight with each answer ("50 keys, one address")
_ENOUGH = 8  # times the first number in flight: then the keys need not ask
_OLD = 1.0  # seconds in flight (no key that hangs holds up others)
_EARLY = 1.0  # seconds before the end of a pause that was told: it may be rounded up
_TRIALS = 2  # at once
_TOLERANCE = 1e-6  # seconds: a timer for a shorter wait would spin


class Member(Protocol):
    """The limiter of a key."""

    name: str
    patience: float  # of its call that sends the probe

    def go_on(self) -> None:
        """Let leave who may."""
        ...

    def accepted(self) -> int:
        """Return how many left in the last minute and came back, and were not refused."""
        ...

    def pardon(self) -> None:
        """Forget what refusals taught: it was not the key's own limit."""
        ...

    def settle(self, schedule: Schedule, error: Exception, *, probe: bool) -> None:
        """End with this error what would wait for too long."""
        ...


@define(eq=False, repr=False)
class CommonGate:
    """The gate of several keys, made in the loop that it serves.

    Attributes:
        several: whether more than one key joined; a key alone has nothing in common.
        awake: whether there seems to be one limit of all keys.
        asked: whether its keys ask it before an attempt leaves.
        schedule: when the next attempt of any key may leave.
        log: what is told of it, and why it is closed.

    """

    loop: asyncio.AbstractEventLoop
    log: LimiterLog
    several: bool = False
    awake: bool = False
    asked: bool = False
    schedule: Schedule = field(init=False)
    _members: WeakSet[Member] = field(factory=WeakSet)
    _suspicion: Suspicion = field(factory=Suspicion)
    _queue: OrderedDict[Member, None] = field(factory=OrderedDict)
    _turn: Member | None = None  # who may leave though others wait
    _timer: asyncio.TimerHandle | None = None
    _trial: Trial = field(init=False)
    _trials_out: set[tuple[Member, float]] = field(init=False)  # trials in flight
    # The moment of each key's latest good answer, or below zero that of its latest refusal.
    _answered: dict[str, float] = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Start, knowing nothing."""
        self._begin()

    def join(self, member: Member) -> None:
        """Take one more key in."""
        self._members.add(member)
        concurrency = self.schedule.concurrency
        if not self.awake:
            concurrency.room = max(concurrency.room, self._opening)
        if not self.several and len(self._members) > 1:
            self.several = self.asked = True

    def lets(self, member: Member, now: float) -> bool:
        """Tell whether an attempt may leave; if not, its key is told to ``go_on`` when it may."""
        if member is self._turn or not (self._queue or now < self.schedule.ready):
            return True
        self._queue.setdefault(member)
        if self._timer is None:
            self._set_timer(now)
        return False

    def leave(self, member: Member, now: float, latest: float) -> float:
        """Let an attempt leave; return when, later than its key's ``latest``."""
        departure, self._turn = max(now, math.nextafter(latest, math.inf)), None
        if now >= self.schedule.ready:
            return self.schedule.leave(departure)
        departure = self.schedule.count(departure)
        self._trials_out.add((member, departure))
        return departure

    def heard(self, departure: float, told: ToldLimit) -> bool:
        """Take note of what an answer tells; return whether it concerns all keys."""
        if self.awake:
            self.schedule.heard(self.loop.time(), departure, told)
        return self.awake

    def admitted(self, member: Member, departure: float) -> None:
        """Take note of an answer that is no refusal and no failure."""
        now, schedule = self.loop.time(), self.schedule
        if self._answered.get(member.name, 0.0) >= 0:
            self._answered[member.name] = now
        if (member, departure) in self._trials_out:
            self._trials_out.discard((member, departure))
            if self._trial.let_in():
                self._suspicion.was_wrong(now)
                self._sleep()
        elif schedule.admitted(now, departure, member.name):
            self.log.opened(now - schedule.closed_since)
        elif not self.awake:
            schedule.concurrency.room += _GROWTH * self._opening
            if schedule.concurrency.room > _ENOUGH * self._opening:
                self._sleep()
        self._pump(now)

    def is_refusal(self, member: Member, departure: float, *, told: bool) -> bool:
        """Take note of a 503; tell whether it is a refusal of all keys."""
        return self.schedule.is_refusal(self.loop.time(), departure, member.name, told=told)

    def refused(
        self,
        member: Member,
        departure: float,
        error: Exception,
        retry_after: float | None,
        longest: float,
    ) -> Cost | None:
        """Take note of a refusal; return what it costs, None if it is the key's own affair."""
        now, schedule = self.loop.time(), self.schedule
        if (member, departure) in self._trials_out:
            self._trials_out.discard((member, departure))
            schedule.excuse(now, departure)
            self._trial.refused(now)
            self._answered[member.name] = -now
            self._pump(now)
            return Cost.FREE
        if not self.awake and not self._suspicion.refused(now, member.name, member.accepted()):
            if self.asked:
                schedule.excuse(now, departure)
                self._pump(now)
            return None
        if not self.awake:
            self._wake_up()
        self._answered[member.name] = -now
        probe = departure == schedule.probe
        schedule.refused(now, departure, retry_after, longest)
        closes = schedule.closed and self.log.error is None
        if schedule.closed:
            self.log.closed(error, schedule.opens_in(now))
            self.log.error = error
        if closes or probe:
            self._trial.vain = probe
            self._send_trials(now)
        for other in list(self._queue):
            other.settle(schedule, error, probe=probe)
        self._pump(now)
        over = probe and now - schedule.closed_since >= member.patience
        return Cost.FINAL if over else Cost.FREE

    def failed(self, member: Member, departure: float) -> None:
        """Take note of a failure: whoever limits let it in."""
        if departure == self.schedule.probe:
            self.admitted(member, departure)
        else:
            self.abandoned(member, departure)

    def abandoned(self, member: Member, departure: float) -> None:
        """Take note of an attempt that came to nothing."""
        now = self.loop.time()
        self._trials_out.discard((member, departure))
        self.schedule.abandoned(now, departure)
        self._pump(now)

    @property
    def _opening(self) -> float:
        """So many may be in flight at first."""
        return max(_AT_FIRST, _FOR_EACH * len(self._members))

    def _begin(self) -> None:
        self.schedule = Schedule(RateLimit(per_minute=None), self.loop.time())
        self.schedule.concurrency = LearnedConcurrency(_AT_FIRST)
        self._trial, self._trials_out, self._answered = Trial(), set(), {}

    def _wake_up(self) -> None:
        self.awake = self.asked = True
        for member in list(self._members):
            if member.name in self._suspicion.accused:
                member.pardon()

    def _sleep(self) -> None:
        self.log.opened(self.loop.time() - self.schedule.closed_since)
        self.awake = self.asked = False
        self._begin()
        queue, self._queue = self._queue, OrderedDict()
        for member in queue:
            member.go_on()

    def _pump(self, now: float) -> None:
        """Let everybody leave who may, the keys in turn."""
        while self._queue and now >= self.schedule.ready:
            self._let_pass(self._queue.popitem(last=False)[0])
        if self._is_early(now):
            self._send_trials(now)
        self._set_timer(now)

    def _let_pass(self, member: Member) -> None:
        """Let one key try to leave, which asks ``lets`` for it, though others wait."""
        self._turn = member
        member.go_on()
        self._turn = None

    def _is_early(self, now: float) -> bool:
        """Tell whether the server asked to stay away for longer yet."""
        return self.schedule.closed and self.schedule.not_before > now + _EARLY

    def _send_trials(self, now: float) -> None:
        """Let keys ask though nobody may, first those whose good answer is the most recent.

        That order decides how an audit of 40 workspaces goes on while half of them are refused.
        """
        if now < self._trial.at or self._trials_out or not self._queue or not self.awake:
            return
        keys = sorted(self._queue, key=lambda one: -self._answered.get(one.name, 0.0))
        for member in keys[:_TRIALS]:
            self._let_pass(member)
        if not self._trials_out:
            self._trial.postpone(now)

    def _set_timer(self, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._queue:
            due = self.schedule.ready
            if due == math.inf:
                due = min(self.schedule.concurrency.out, default=now) + _OLD
            if self._is_early(now) and not self._trials_out:
                due = min(due, self._trial.at)
            self._timer = self.loop.call_at(max(due, now + _TOLERANCE), self._wake)

    def _wake(self) -> None:
        self._timer, now = None, self.loop.time()
        for departure in [one for one in self.schedule.concurrency.out if one < now - _OLD]:
            self.schedule.abandoned(now, departure)
        self._pump(now)
