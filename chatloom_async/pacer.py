"""When the next attempt of one key may leave: its gate's state, without a clock and without I/O.

Lines 1, 3, 4 and 10 of the ten in ``ratelimit``. Not here: what the key may send while its gate is
open (``budget``), and when failures are an outage (``streak``).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from attrs import define, field

from chatloom_async.budget import Budget
from chatloom_async.limits import RateLimit
from chatloom_async.streak import Streak

_LONG_PAUSE, LONGEST = 5.0, 120.0  # a window's, not a bucket's; what is believed of a Retry-After
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
        self.streak.end(sent_at, resource)
        self.budget.let_in(sent_at)

    def reopen(self, now: float) -> None:
        """Open the gate: the probe was admitted."""
        shut = now - self._closed_at
        if self.outage:
            self.outage = 0.0
            self.budget.recover(now, self._last, shut)
        else:
            self.budget.reopen(now, self._last, shut)
        self.closed, self.told = False, -math.inf
        self._hold(self.budget.due(now, self._last))

    def refused(
        self, now: float, sent_at: float, retry_after: float | None, longest: float = LONGEST
    ) -> None:
        """Take note of a 429; of its Retry-After no more than the ``longest`` is believed."""
        if not self.closed and sent_at <= self._closed_at:
            return  # an echo of the refusal before
        asked = self._asked(now, retry_after, longest)
        if self.closed and sent_at != self.probe:
            self.ready = max(self.ready, now + (asked or 0.0))
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
        asked = self._asked(now, retry_after, LONGEST) or 0.0
        self._hold(now + max(self.outage * self.uniform(0.9, 1.1), asked))

    def forecast(self, now: float, waiting: int) -> float:
        """Return about how long it takes until so many have left."""
        ceiling = self._paid - now + (waiting - self.limit.burst) * self._interval
        return max(self.ready - now, ceiling, waiting / self.budget.speed(now))

    def is_as_good_as_new(self, now: float) -> bool:
        """Tell whether a new one would do the same: nothing is known, or it is long out of date."""
        unused = self._last < now - _OUTDATED
        knows = self.closed or self.budget.rate is not None or self._paid > now
        return unused or not knows

    def lost(self, now: float, sent_at: float) -> None:
        """Take note of an attempt that was given up; if it was the probe, the next in line is."""
        if sent_at == self.probe:
            self._hold(now)

    def _hold(self, until: float) -> None:
        ceiling = self._paid - (self.limit.burst - 1) * self._interval
        self.probe, self.ready = None, max(until, ceiling)

    def _asked(self, now: float, retry_after: float | None, longest: float) -> float | None:
        if not retry_after or not retry_after > 0:
            return None
        self.told = max(self.told, now + retry_after)
        return min(retry_after, longest)

    def _pause(self, now: float, asked: float | None) -> None:
        if asked is None:
            left = self.budget.oldest(self._closed_at) + 60.5 - now
            asked = max(1.0, min(self._backoff, left) if left > 0 else -left)
        self._hold(now + asked + self.uniform(0, 0.1))
