"""The gate that the keys of a base URL have in common: a proxy may limit each address.

``Stage`` names what it does, in this order:

1. ALONE. There is one key, and the gate does nothing.
2. COUNTING, from the second key on. Few attempts of all keys are in flight together, so that a
   limit of the address refuses no more than those. Each good answer lets more be in flight.
3. RESTING, after some hundreds of good answers. The keys ask no more, but report their refusals.
4. LIMITING, from 2 or 3, when several keys that sent next to nothing are refused within a second.
   An attempt passes its own key's ``Schedule`` first and that of all keys after. The keys take
   turns, one attempt each. A refusal closes the gate for all.

While it is closed, some keys send a trial, first those that were not refused: once when a refusal
closes it or a probe is in vain, and now and then where the server said how long to wait. Under one
limit of all keys a trial is refused; where each key has its own, it is let in. If enough in a row
are let in, the gate rests.

What is in flight for long counts no more: no key that hangs holds up the others. The answer to a
slow probe decides all the same, and no number in flight is learned any more.

Not here: the limiter of a key (``ratelimit.limiter``), and which keys have a gate in common
(``ratelimit.registry``).
"""

from __future__ import annotations

import asyncio
import math
from typing import Protocol
from weakref import WeakSet

from attrs import define, field

from chatloom_async.ratelimit.closings import LimiterLog
from chatloom_async.ratelimit.departures import LearnedConcurrency
from chatloom_async.ratelimit.schedule import Schedule
from chatloom_async.ratelimit.values import Cost, RateLimit, Stage
from chatloom_async.ratelimit.waiting import Timer

# In quotes beside a constant: the row of ``benchmarks.politeness`` that it decides.
_AT_FIRST = 16.0  # in flight, for all keys together ("50 keys, one address")
_FOR_EACH = 1 / 3  # key so many, where that is more ("first read of 500 keys")
_GROWTH = 1 / 80  # of the first number, more in flight with each answer ("50 keys, one address")
_ENOUGH = 8  # times the first number in flight: then the keys need not ask
_OLD = 1.0  # seconds in flight (no key that hangs holds up others)
_KEYS, _TOGETHER = 3, 1.0  # refused within so many seconds ("50 keys, one address")
_MODEST = 5  # accepted of a key in a minute: few keys' own limits are as low ("20 keys")
_QUIET = 60.0  # seconds after a mistake before the next one (a mixed audit in test_run)
_TRIALS = 2  # at once
_SOON, _MORE, _SELDOM = 0.5, 4, 15.0  # seconds to the next; each time more ("50 keys, one address")
# So many let in, in a row, show that the limits are the keys' own ("20 keys"). While a probe is in
# vain each counts as three: a limit of all keys would let nobody in (a mixed audit in test_run).
_SURE, _TRIPLE = 6, 3


class Member(Protocol):
    """The limiter of a key."""

    name: str
    patience: float  # of its call that sends the probe

    def go_on(self, *, turn: bool = False) -> None:
        """Let leave who may; the first one without asking the common gate, if it is its turn."""
        ...

    def accepted(self) -> int:
        """Return how many left in the last minute and came back, and were not refused."""
        ...

    def settle(self, schedule: Schedule, error: Exception, *, probe: bool) -> None:
        """End with this error what would wait for too long."""
        ...


@define(eq=False, repr=False)
class Suspicion:
    """Whether there seems to be one limit of all keys."""

    _refused: dict[str, float] = field(factory=dict)  # when, keys that had sent little
    _quiet_until: float = -math.inf

    def add(self, now: float, key: str, accepted: int) -> bool:
        """Add the refusal of a key that got so many through in a minute; True: it is enough."""
        if now < self._quiet_until or accepted > _MODEST:
            return False
        self._refused = {name: at for name, at in self._refused.items() if at > now - _TOGETHER}
        self._refused[key] = now
        return len(self._refused) >= _KEYS

    def was_wrong(self, now: float) -> None:
        """Suspect nothing for some time: the limits are the keys' own."""
        self._quiet_until = now + _QUIET


@define(eq=False, repr=False)
class CommonGate:
    """The gate of several keys, made in the loop that it serves.

    Attributes:
        stage: what it does.
        asked: whether its keys ask it before an attempt leaves: while it counts or limits.
        schedule: when the next attempt of any key may leave.
        log: what is told of it, and why it is closed.

    """

    loop: asyncio.AbstractEventLoop
    log: LimiterLog
    stage: Stage = Stage.ALONE
    asked: bool = False
    schedule: Schedule = field(init=False)
    _members: WeakSet[Member] = field(factory=WeakSet)
    _queue: dict[Member, None] = field(factory=dict)
    _timer: Timer = field(init=False)
    _suspicion: Suspicion = field(factory=Suspicion)
    _trials: set[tuple[str, float]] = field(init=False)  # in flight: keys and departures
    _probes: set[float] = field(init=False)  # of this closing, also those taken as gone
    _let_in: int = field(init=False)  # of them, in a row
    _next_trial: float = field(init=False)
    _pause: float = field(init=False)  # between them, in seconds
    # Whose trial is next: less than 0 after a good answer, more after a refusal, the oldest first.
    _rank: dict[str, float] = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Start, knowing nothing."""
        self._timer = Timer(self.loop)
        self._enter(self.stage)

    def join(self, member: Member) -> None:
        """Take one more key in, or one more limit of a key."""
        self._members.add(member)
        if self.stage is Stage.ALONE and len({one.name for one in self._members}) > 1:
            self._enter(Stage.COUNTING)
        concurrency = self.schedule.concurrency
        if self.stage is not Stage.LIMITING:
            concurrency.room = max(concurrency.room, self._first_room)

    def is_free(self, now: float) -> bool:
        """Tell whether an attempt of any key may leave, and no key waits for its turn."""
        return not self._queue and now >= self.schedule.ready

    def queue(self, member: Member) -> None:
        """Tell a key to ``go_on`` when it is its turn."""
        self._queue.setdefault(member)
        if self._timer.due == math.inf:
            self._set_timer(self.loop.time())

    def leave(self, member: Member, departure: float) -> float:
        """Let an attempt leave; return when, which is ``departure`` or later. None may: a trial."""
        schedule = self.schedule
        if departure >= schedule.ready:
            departure = schedule.leave(departure)
            if schedule.closed:
                self._probes.add(departure)
            return departure
        self._trials.add((member.name, departure))
        return departure

    def admitted(self, member: Member, departure: float) -> None:
        """Take note of an answer that is no refusal, or of a failure: whoever limits let it in."""
        now, schedule, trial = self.loop.time(), self.schedule, (member.name, departure)
        if self._rank.get(member.name, 0.0) <= 0:
            self._rank[member.name] = -now
        if trial in self._trials:
            self._trials.discard(trial)
            self._next_trial = now
            self._let_in += _TRIPLE if schedule.probed_in_vain else 1
            if self._let_in >= _SURE:
                self._suspicion.was_wrong(now)
                self._rest()
        else:
            self._recall_probe(departure)
            if schedule.admitted(now, departure, member.name):
                self._probes.clear()
                self.log.opened(now - schedule.closed_since)
            elif self.stage is Stage.COUNTING:
                schedule.concurrency.room += _GROWTH * self._first_room
                if schedule.concurrency.room > _ENOUGH * self._first_room:
                    self._rest()
        self.give_turns(now)

    def judge_503(self, member: Member, departure: float, *, told: bool) -> bool:
        """Take note of a 503; tell whether it is a refusal of all keys."""
        return self.schedule.judge_503(self.loop.time(), departure, member.name, told=told)

    def refused(
        self,
        member: Member,
        departure: float,
        error: Exception,
        retry_after: float | None,
        longest: float,
    ) -> Cost | None:
        """Take note of a refusal; return what it costs, None if it is the key's own affair.

        The limiter calls ``give_turns`` when its own gate knows of the refusal too.
        """
        now, schedule, trial = self.loop.time(), self.schedule, (member.name, departure)
        if trial in self._trials:
            self._trials.discard(trial)
            self._let_in = 0
            self._rank[member.name] = now
            return Cost.FREE
        if self.stage is not Stage.LIMITING:
            if not self._suspicion.add(now, member.name, member.accepted()):
                schedule.excuse(now, departure)
                return None
            self.stage, self.asked = Stage.LIMITING, True
        self._rank[member.name] = now
        self._recall_probe(departure)
        # Those that left before a refused one prove nothing any more.
        if departure in self._probes:
            self._probes = {one for one in self._probes if one > departure}
        probe = departure == schedule.probe
        schedule.refused(now, departure, retry_after, longest)
        waiting = list(self._queue)  # a trial takes its key out
        if schedule.closed and (probe or self.log.error is None):
            self.log.closed(error, schedule.opens_in(now))
            self.log.error = error
            self._send_trials(now)
        for other in waiting:
            other.settle(schedule, error, probe=probe)
        over = probe and now - schedule.closed_since >= member.patience
        return Cost.FINAL if over else Cost.FREE

    def abandoned(self, member: Member, departure: float) -> None:
        """Take note of an attempt that came to nothing."""
        now, trial = self.loop.time(), (member.name, departure)
        if trial in self._trials:
            self._trials.discard(trial)
        else:
            self.schedule.abandoned(now, departure)
        self.give_turns(now)

    def give_turns(self, now: float) -> None:
        """Let the keys that wait send an attempt each, while attempts may leave, or a trial."""
        while self._queue and now >= self.schedule.ready:
            member = next(iter(self._queue))
            del self._queue[member]
            member.go_on(turn=True)
        if self.schedule.not_before > now:
            self._send_trials(now)
        self._set_timer(now)

    @property
    def _first_room(self) -> float:
        """So many may be in flight at first."""
        return max(_AT_FIRST, _FOR_EACH * len(self._members))

    def _enter(self, stage: Stage) -> None:
        """Begin a stage, knowing nothing."""
        self.stage, self.asked = stage, stage is Stage.COUNTING
        self.schedule = Schedule(RateLimit(per_minute=None), self.loop.time())
        self.schedule.concurrency = LearnedConcurrency(_AT_FIRST)
        self._trials, self._rank, self._let_in, self._probes = set(), {}, 0, set()
        self._next_trial, self._pause = -math.inf, _SOON

    def _rest(self) -> None:
        self.log.opened(self.loop.time() - self.schedule.closed_since)
        self._enter(Stage.RESTING)
        queue, self._queue = self._queue, {}
        for member in queue:
            member.go_on()

    def _send_trials(self, now: float) -> None:
        """Let keys ask though nobody may.

        The order decides how an audit of 40 workspaces goes on while half of them are refused.
        """
        if now < self._next_trial or self._trials or not self._queue:
            return
        self._next_trial = now + self._pause
        ranked = sorted(self._queue, key=lambda one: self._rank.get(one.name, 0.0))
        for member in ranked:
            del self._queue[member]  # it queues again if more of its calls wait
            member.go_on(turn=True)
            if len(self._trials) >= _TRIALS:
                break
        if self._trials:
            self._pause = min(_MORE * self._pause, _SELDOM)

    def _set_timer(self, now: float) -> None:
        due = math.inf
        if self._queue:
            due = self.schedule.ready
            if due == math.inf:
                due = min(self.schedule.concurrency.out, default=now) + _OLD
            if self.schedule.not_before > now and not self._trials:
                due = min(due, self._next_trial)
        self._timer.set(due, self._on_time)

    def _on_time(self) -> None:
        """Take those in flight for long as gone, and go on."""
        now = self.loop.time()
        for departure in [one for one in self.schedule.concurrency.out if one < now - _OLD]:
            self.schedule.concurrency.acquit()  # it is not known how many are in flight
            self.schedule.abandoned(now, departure)
        self.give_turns(now)

    def _recall_probe(self, departure: float) -> None:
        """Let the answer to a probe decide, though another one has left since it counts as gone."""
        if departure in self._probes and self.schedule.closed:
            self.schedule.probe = departure
