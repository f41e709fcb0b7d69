"""A token bucket that learns the server's rate from its refusals.

A 429 means that the server's bucket is empty. Between two 429s it accepted exactly what it
refilled, so its rate is the requests accepted between them divided by the seconds between them.

Not here: limits that let so many through per window (``ratelimit.window``), how many may be in
flight (``ratelimit.departures``), and how long a refusal closes the gate (``ratelimit.closings``).
"""

from __future__ import annotations

import math

from attrs import define

from chatloom_async.ratelimit.departures import Departures

# Beside each constant the row of ``benchmarks.politeness`` that it decides.
_MINUTE = 60.0  # seconds: the documented limit is one "per minute", longer memory blurs it
_TRUSTED = 90.0  # seconds a rate holds at most: longer is polite to others ("four processes")
_SHORTEST = 0.02  # seconds: less is no measurement
_FASTEST = (
    40.0  # per second at which stored tokens leave ("20 keys with limits of their own: 5/1 s")
)
_SURPLUS = 1.4  # seconds in which stored tokens leave, about ("clock window")
_JITTER = 2.0  # tokens; refused with more of them left, it stores even less ("bucket 10/s burst 1")
_LITTLE = 8.0  # tokens: who stores no more overflows during a pause ("bucket 20/s burst 5")
_NOTHING = 2.0  # tokens: who stores fewer admits by the gap between two ("bucket 10/s burst 1")
_TOKENS, _SECONDS = 1.0, 0.1  # by which a count may be wrong: tokens, and those of an overtaking
_ROSE = 1.25  # used ÷ measured: it rose ("limit doubles")


@define(eq=False, repr=False)
class LearnedBucket:
    """A rate and a level of tokens; is told what the time is, which never goes back.

    Attributes:
        rate: requests per second; None as long as nothing was measured.

    """

    _departures: Departures
    rate: float | None = None
    _level: float = 0.0
    _level_at: float = 0.0
    _cap: float = math.inf  # tokens that the server stores at most
    _first: float = math.inf  # accepted before the first refusal
    _trust: float = 1.0  # seconds for which the rate holds before it rises
    _anchor: float | None = None  # the departure of the refusal at which the measurement began
    _refused_at: float = 0.0
    _opened_at: float = 0.0  # infinity while the gate is closed: then nothing rises

    def due(self, now: float, after: float) -> float:
        """Return when the next attempt may leave, one having left at ``after``."""
        rate = self._raised(now)
        return max(now + (1 - self._level) / rate, after + 1 / self.speed(now))

    def speed(self, now: float) -> float:
        """Return how many attempts may leave per second; there is a rate."""
        rate = self._raised(now)
        return max(rate, min(rate + self._level / _SURPLUS, _FASTEST))

    def spend(self, now: float) -> None:
        """Take the token of an attempt that leaves."""
        self._fill(now)
        self._level -= 1

    def stand_still(self, seconds: float) -> None:
        """Leave that much time out of account: nobody tried the limit in it."""
        self._opened_at += seconds

    def pace(self, now: float, rate: float, trust: float = _MINUTE, cap: float = _NOTHING) -> None:
        """Go on evenly at a rate that was told, or counted in a window; ``cap``: what is stored."""
        self.rate, self._trust, self._anchor = rate, trust, now
        self._level, self._level_at = 0.0, now
        self._opened_at, self._cap = now, min(self._cap, cap)

    def forget(self) -> None:
        """Begin to measure anew: it is no rate that is limited."""
        self.rate = self._anchor = None

    def close(self, now: float, sent_at: float, in_flight: int) -> None:
        """Measure the limit and empty the bucket: at a refusal the server has nothing left."""
        self._measure(now, sent_at, in_flight)
        # A token and 0.2 s more than empty: jitter must not find the bottom of the server's bucket.
        self._level, self._level_at = -(1 + 0.2 * self.rate) if self.rate else 0.0, now
        self._refused_at, self._opened_at = sent_at, math.inf

    def reopen(self, now: float, sent_at: float) -> None:
        """Go on: the probe sent at ``sent_at`` was let through."""
        if self._cap == math.inf:  # it stores no more than what it accepted at first
            self._cap = self._first = max(1.0, self._departures.count(-math.inf, sent_at))
        if self.rate is not None:
            self._fill(now)
            if self._cap < _NOTHING:
                self._level = min(self._level, 0.0)
        self._opened_at = sent_at

    def recover(self, now: float, sent_at: float) -> None:
        """Go on after an outage; no measurement may span it."""
        self._anchor = None
        self.reopen(now, sent_at)

    def _raised(self, now: float) -> float:
        """Return the rate, which rises slowly at first once it has held for as long as trusted."""
        rate, beyond = self.rate or 0.0, (now - self._opened_at) / self._trust - 1
        return rate if beyond <= 0 else rate * (1 + 0.8 * beyond**3)

    def _fill(self, now: float) -> None:
        rate = self._raised(now)
        cap = max(1.0, min(self._cap, _MINUTE * rate))
        self._level = min(self._level + rate * (now - self._level_at), cap)
        self._level_at = now

    def _measure(self, now: float, sent_at: float, in_flight: int) -> None:
        sent, raised = self._departures, self._raised(now)
        if self.rate is not None and self._level > _JITTER:
            self._cap = max(1.0, sent.count(self._opened_at) - in_flight)
        if self._anchor is None or sent_at < self._anchor + _SHORTEST:
            self._anchor = sent_at if self._anchor is None else self._anchor
            return
        age = sent_at - self._anchor
        span = min(_MINUTE, age, sent_at - sent.known_since())
        accepted = max(1, sent.count(sent_at - span, sent_at) - 1)  # the lower end of ±1 token
        measured = accepted / span
        mature = self._trust >= _MINUTE
        self._trust = min(_TRUSTED, age)
        if self.rate is not None:
            since = sent_at - self._refused_at
            lately = (sent.count(self._refused_at, sent_at) + 1) / since
            if self._first <= max(_LITTLE, measured) or self._cap < _NOTHING:
                # It stores little, so what it refilled while the gate was closed was lost in part.
                # The measured rate is too low, and the rate in use was refused: take one between.
                if raised > measured:
                    measured = measured**0.4 * raised**0.6
            elif (
                # It fell; but a gate that was closed for longer than open has measured nothing.
                since < min(span, 2 * (sent_at - self._opened_at))
                and lately + (_TOKENS + _SECONDS * measured) / since < measured
            ):
                self._anchor, self._trust, measured = self._refused_at, since, lately
            elif mature and raised > _ROSE * measured:
                self._anchor, self._trust, measured = sent_at, 5.0, raised / _ROSE
        self.rate = measured
