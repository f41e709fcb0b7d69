"""The ceiling of a ``RateLimit``: what may leave, whatever the server would let through."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from attrs import define, field

from chatloom_async.ratelimit.bucket import LearnedBucket
from chatloom_async.ratelimit.outage import OutageDetector
from chatloom_async.ratelimit.values import RateLimit

_LONG_PAUSE, LONGEST = 5.0, 120.0  # a window's, not a bucket's; what is believed of a Retry-After
_OUTDATED = 120.0  # seconds, as far back as the budget looks
_IDLE, _LATE = 1.0, 0.005  # ready for so long: nobody wanted to leave; a timer's delay, made up for


@define(eq=False)
class Ceiling:
    """What is left of a limit; is told the time of each departure."""

    limit: RateLimit
    _interval: float = field(init=False)  # seconds that one departure uses up
    _paid: float = -math.inf  # up to when all is used

    def __attrs_post_init__(self) -> None:
        """Begin with a whole burst."""
        self._interval = 60 / self.limit.per_minute if self.limit.per_minute else 0.0

    def pay(self, departure: float) -> None:
        """Take note of a departure."""
        self._paid = max(self._paid, departure) + self._interval

    def opens_at(self, waiting: int = 1) -> float:
        """Return when so many more may have left."""
        return self._paid + (waiting - self.limit.burst) * self._interval

    def is_whole(self, now: float) -> bool:
        """Tell whether nothing is used any more."""
        return self._paid <= now


@define(eq=False)
class Schedule:
    """When the next attempt may leave; is told the time, which never goes back."""

    limit: RateLimit
    ready: float  # when the next one may leave: now at first, infinity while a probe is out
    uniform: Callable[[float, float], float] = random.uniform
    budget: LearnedBucket = field(init=False)
    closed: bool = False
    closed_since: float = 0.0  # when the gate was shut, later by the time in which nobody waited
    probe: float | None = None  # its departure
    outage_backoff: float = 0.0  # how long its next probe waits; 0: none
    not_before: float = -math.inf  # until when the server asked to stay away
    streak: OutageDetector = field(factory=OutageDetector)
    latest: float = -math.inf  # departure
    ceiling: Ceiling = field(init=False)
    _closed_at: float = -math.inf
    _backoff: float = 1.0

    def __attrs_post_init__(self) -> None:
        """Start now, knowing nothing."""
        self.budget, self.ceiling = LearnedBucket(self.ready), Ceiling(self.limit)

    def leave(self, now: float) -> float:
        """Let an attempt leave, ``ready`` having come; return when: the time, made unique."""
        late = now - self.ready
        if late > _IDLE:  # nobody came: that proves no limit, and tries no one's patience
            if self.closed:
                self.closed_since += late
            else:
                self.budget.stand_still(late)
        departure = now if now > self.latest else math.nextafter(self.latest, math.inf)
        self.ceiling.pay(departure)
        self.latest = departure
        if self.closed:
            self.probe, self.ready = departure, math.inf
        else:
            self.budget.spend(now)
            self._hold(self.budget.due(now, now - min(late, _LATE)))
        return departure

    def admitted(self, sent_at: float, resource: str) -> None:
        """Take note of an answer which is neither a 429 nor a failure."""
        self.streak.end(sent_at, resource)
        self.budget.accepted(sent_at)

    def reopen(self, now: float) -> None:
        """Open the gate: the probe was admitted."""
        go_on = self.budget.recover if self.outage_backoff else self.budget.reopen
        go_on(now, self.latest, now - self._closed_at)
        self.closed, self.outage_backoff, self.not_before = False, 0.0, -math.inf
        self._hold(self.budget.due(now, self.latest))

    def refused(
        self, now: float, sent_at: float, retry_after: float | None, longest: float = LONGEST
    ) -> None:
        """Take note of a 429; of its Retry-After no more than the ``longest`` is believed."""
        if not self.closed and sent_at <= self._closed_at:
            return  # an echo of the refusal before
        told, asked = self.not_before, self._asked(now, retry_after, longest)
        if self.closed and sent_at != self.probe:
            self.ready, self.not_before = max(self.ready, now + asked), max(told, self.not_before)
        elif self.closed and not self.outage_backoff:
            self._backoff = min(2 * self._backoff, 64.0)
            self._pause(now, asked)
        else:
            self.budget.refuse(now, sent_at, afresh=self.outage_backoff > 0)
            pause, self.outage_backoff = (
                self.budget.pause,
                0.0,
            )  # the outage's server is up, and only full
            self._backoff = pause if pause > _LONG_PAUSE else max(1.0, pause / 2)
            self.closed_since = self.closed_since if self.closed else now
            self.closed, self._closed_at = True, now
            self._pause(now, asked)

    def failed(
        self, now: float, sent_at: float, resource: str, retry_after: float | None = None
    ) -> None:
        """Take note of a 5xx, a lost connection or a timeout."""
        self.streak.extend(resource)
        self.budget.accepted(sent_at)
        if sent_at != self.probe:
            if self.closed or not self.streak.is_outage(now):
                return
            self.closed, self.closed_since, self._closed_at = True, now, now
        self.outage_backoff = min(2 * self.outage_backoff, 4.0) or 0.5
        asked = self._asked(now, retry_after, LONGEST)
        self._hold(now + max(self.outage_backoff * self.uniform(0.9, 1.1), asked))

    def forecast(self, now: float, waiting: int) -> float:
        """Return about how long it takes until so many have left."""
        until = max(self.ready, self.ceiling.opens_at(waiting))
        return max(until - now, waiting / self.budget.speed(now))

    def is_as_good_as_new(self, now: float) -> bool:
        """Tell whether a new one would do the same: nothing is known, or it is long out of date."""
        knows = self.closed or self.budget.rate is not None or not self.ceiling.is_whole(now)
        return not knows or self.latest < now - _OUTDATED

    def abandoned(self, now: float, sent_at: float) -> None:
        """Take note of an attempt that was given up; if it was the probe, the next in line is."""
        if sent_at == self.probe:
            self._hold(now)

    def restart(self, now: float) -> None:
        """Go on in another loop: no answer to what is in flight will come."""
        if self.probe is not None:
            self._hold(now)

    def _hold(self, until: float) -> None:
        self.probe, self.ready = None, max(until, self.ceiling.opens_at())

    def _asked(self, now: float, retry_after: float | None, longest: float) -> float:
        wait = retry_after if retry_after and retry_after > 0 else 0.0
        self.not_before = now + wait if wait else -math.inf  # the latest word counts
        return min(wait, longest)

    def _pause(self, now: float, asked: float) -> None:
        if not asked:
            left = self.budget.oldest(self._closed_at) + 60.5 - now
            asked = max(1.0, min(self._backoff, left) if left > 0 else -left)
        self._hold(now + asked + self.uniform(0, 0.1))
