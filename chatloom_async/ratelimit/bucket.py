"""What one key may send, as learned from its refusals: a token bucket that measures itself.

Not here: how long a refusal or an outage closes the gate, and what a caller allows (``ratelimit``).
"""

from __future__ import annotations

import math
from collections import deque

from attrs import define, field

_OPENING, _DOUBLING = 40.0, 20.0  # per second, seconds; a first refusal wastes speed * round trip
_MINUTE = 60.0  # the documented limit is one "per minute"
_TRUSTED = 90.0  # a rate holds at most so long: gates that share a key pay for each other's tries
_WINDOW = 5.0  # longer pauses are those of a window that has to end, shorter ones of a bucket
_ENOUGH = 10  # fewer tell nothing: somebody else may have used the window up
_SURPLUS = 1.4  # seconds in which stored tokens leave, about: longer wastes windows' ends
_JITTER = 2.0  # tokens; refused with more of them left, the server holds less than the bucket


@define(eq=False)
class LearnedBucket:
    """A rate and a level of tokens; is told what the time is, which never goes back."""

    _ramp: float  # now at first: when the opening speed would have been 40 a second
    rate: float | None = None  # per second
    pause: float = 0.0  # the last one after a refusal; 0: it was in vain
    _let_in: deque[float] = field(factory=deque)  # departures of two minutes
    _level: float = 0.0
    _level_at: float = 0.0
    _cap: float = math.inf
    _trust: float = 1.0  # seconds for which the rate holds before it rises
    _anchor: float | None = None  # the refusal at which the measurement began
    _refused_at: float = 0.0
    _opened_at: float = 0.0  # infinity while closed: then nothing rises

    def due(self, now: float, after: float) -> float:
        """Return when the next attempt may leave, one having left at ``after``."""
        if self.rate is None:
            return after + math.exp2((self._ramp - now) / _DOUBLING) / _OPENING
        due = now + (1 - self._level) / self._raised(now)
        return max(due, after + 1 / self.speed(now))

    def speed(self, now: float) -> float:
        """Return how many attempts may leave per second."""
        if self.rate is None:
            return _OPENING * math.exp2(min((now - self._ramp) / _DOUBLING, 99))
        rate = self._raised(now)
        return max(rate, min(rate + self._level / _SURPLUS, _OPENING))

    def spend(self, now: float) -> None:
        """Take the token of an attempt that leaves."""
        if self.rate is not None:
            self._fill(now)
            self._level -= 1

    def stand_still(self, seconds: float) -> None:
        """Leave that much time out of account: nobody tried the limit in it."""
        self._ramp += seconds
        self._opened_at += seconds

    def accepted(self, sent_at: float) -> None:
        """Count an attempt that the server's limiter let through."""
        self._let_in.append(sent_at)
        while self._let_in[0] < sent_at - 2 * _MINUTE:
            self._let_in.popleft()

    def oldest(self, since: float) -> float:
        """Return when the first attempt of the minute before ``since`` left, infinity if none."""
        return min((at for at in self._let_in if at > since - _MINUTE), default=math.inf)

    def reopen(self, now: float, sent_at: float, pause: float) -> None:
        """Go on: the probe sent at ``sent_at`` ended the pause after a refusal."""
        self.pause = pause
        minute = self._count(now - pause - _MINUTE)
        if self.rate is None and pause > _WINDOW and minute >= _ENOUGH:  # a window's worth at once
            # It began with the first of them, or before: those at its end are of one this long.
            self._trust = min(_MINUTE, now - self.oldest(now - pause))
            self.rate = minute / self._trust
        self._resume(now, sent_at)

    def recover(self, now: float, sent_at: float, outage: float) -> None:
        """Go on as before an outage of so many seconds; no measurement may span it."""
        self.stand_still(outage)
        self._anchor = None
        self._resume(now, sent_at)

    def refuse(self, now: float, sent_at: float, *, afresh: bool = False) -> None:
        """Measure the limit and empty the bucket: at a refusal the server has nothing left."""
        if afresh:
            self._anchor, self._level = None, 0.0
        self._measure(now, sent_at)
        # A bit more than empty: jitter must not find the bottom of the server's bucket.
        self._level, self._level_at = -(1 + 0.2 * self.rate) if self.rate else 0.0, now
        self._refused_at, self._opened_at = sent_at, math.inf

    def _resume(self, now: float, sent_at: float) -> None:
        if self.rate is not None:
            self._fill(now)
        self._opened_at = sent_at

    def _raised(self, now: float) -> float:
        rate, beyond = self.rate or 0.0, (now - self._opened_at) / self._trust - 1
        return rate if beyond <= 0 else rate * (1 + 0.8 * beyond**3)

    def _fill(self, now: float) -> None:
        rate = self._raised(now)
        cap = max(1.0, min(self._cap, _MINUTE * rate))
        self._level = min(self._level + rate * (now - self._level_at), cap)
        self._level_at = now

    def _count(self, since: float) -> int:
        return sum(sent_at >= since for sent_at in self._let_in)

    def _measure(self, now: float, sent_at: float) -> None:
        window = self.pause > _WINDOW
        if self.rate is not None and self._level > _JITTER:
            self._cap = max(1, self._count(self._opened_at))
            if window and self._cap < self.rate * self.pause / 2:  # then it is no window's
                self.pause, self._anchor = 0.0, None
        if self._anchor is None:
            self._anchor = sent_at
            return
        age = sent_at - self._anchor
        span = min(_MINUTE, age)
        measured = max(1, self._count(sent_at - span) - 1) / span  # the lower end of ±1 token
        raised, mature = self._raised(now), self._trust >= _MINUTE
        self._trust = min(_TRUSTED, age)
        if self.rate is not None and not window:
            since = sent_at - self._refused_at
            lately = (self._count(self._refused_at) + 1) / since
            if since < span and lately < 0.75 * measured:  # the limit fell
                self._anchor, self._trust, measured = self._refused_at, since, lately
            elif mature and raised > 1.25 * measured:  # it rose
                self._anchor, self._trust, measured = sent_at, 5.0, raised / 1.25
        self.rate = measured
