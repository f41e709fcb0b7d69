"""Quotas: how many requests a `Sandbox` lets one key send, as pure arithmetic over a given time.

No clock, no socket and no key lives here: a meter is handed `now` and says how long to wait.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Protocol

from attrs import define, field, frozen
from attrs.validators import gt

TOLERANCE = 1e-9
"""Seconds (or tokens) below which two readings count as equal."""


class Meter(Protocol):
    """The state of one key's quota."""

    def admit(self, now: float) -> float:
        """Count one request at `now` (seconds, never going back).

        Returns 0.0 when it is admitted, else the seconds after which one request would be.
        """
        ...


class Rule(Protocol):
    """How requests are counted; a value that makes a fresh meter for each key."""

    def meter(self, *, count_refused: bool) -> Meter:
        """A fresh meter, with nothing used up."""
        ...


@frozen
class Quota:
    """A limit per API key: a rule, and how a refusal is told.

    `retry_after` sends the header with a 429, rounded up to a multiple of `precision` seconds
    (RFC 9110 §10.2.3 knows whole seconds only; a smaller step is for tests scaled in time).
    `count_refused` lets refused requests use up the quota too.
    """

    rule: Rule
    retry_after: bool = True
    count_refused: bool = False
    precision: float = field(default=1.0, validator=gt(0))

    @classmethod
    def token_bucket(
        cls,
        per_minute: float,
        burst: float,
        *,
        retry_after: bool = True,
        count_refused: bool = False,
        precision: float = 1.0,
    ) -> Quota:
        """A bucket of `burst` tokens, full at first, refilled with `per_minute` tokens a minute."""
        return cls(_TokenBucket(per_minute, burst), retry_after, count_refused, precision)

    @classmethod
    def gcra(
        cls,
        per_minute: float,
        burst: float,
        *,
        retry_after: bool = True,
        count_refused: bool = False,
        precision: float = 1.0,
    ) -> Quota:
        """The generic cell rate algorithm: one request each interval, `burst` of them early."""
        return cls(_Gcra(per_minute, burst), retry_after, count_refused, precision)

    @classmethod
    def fixed_window(
        cls,
        limit: int,
        seconds: float,
        *,
        retry_after: bool = True,
        count_refused: bool = False,
        precision: float = 1.0,
    ) -> Quota:
        """`limit` requests in a window of `seconds` that starts with its first request."""
        return cls(_FixedWindow(limit, seconds), retry_after, count_refused, precision)

    @classmethod
    def sliding_window(
        cls,
        limit: int,
        seconds: float,
        *,
        retry_after: bool = True,
        count_refused: bool = False,
        precision: float = 1.0,
    ) -> Quota:
        """`limit` requests in any `seconds`, kept as an exact log."""
        return cls(_SlidingWindow(limit, seconds), retry_after, count_refused, precision)

    def meter(self) -> Meter:
        """A fresh meter, with nothing used up."""
        return self.rule.meter(count_refused=self.count_refused)

    def retry_after_header(self, wait: float) -> str | None:
        """The value of Retry-After for a wait in seconds; None when this quota sends none."""
        if not self.retry_after:
            return None
        steps = max(1, math.ceil(wait / self.precision - TOLERANCE))
        return f"{steps * self.precision:.10g}"


@frozen
class _TokenBucket:
    per_minute: float = field(validator=gt(0))
    burst: float = field(validator=gt(0))

    def meter(self, *, count_refused: bool) -> Meter:
        return _BucketMeter(self.per_minute / 60, max(1.0, self.burst), count_refused)


@define
class _BucketMeter:
    rate: float
    burst: float
    count_refused: bool
    level: float = field(init=False)
    level_at: float = field(default=-math.inf, init=False)

    def __attrs_post_init__(self) -> None:
        self.level = self.burst

    def admit(self, now: float) -> float:
        self.level = min(self.burst, self.level + self.rate * (now - self.level_at))
        self.level_at = now
        if self.level >= 1 - TOLERANCE:
            self.level -= 1
            return 0.0
        if self.count_refused:
            self.level = 0.0
        return (1 - self.level) / self.rate


@frozen
class _Gcra:
    per_minute: float = field(validator=gt(0))
    burst: float = field(validator=gt(0))

    def meter(self, *, count_refused: bool) -> Meter:
        interval = 60 / self.per_minute
        return _GcraMeter(interval, max(1.0, self.burst) * interval, count_refused)


@define
class _GcraMeter:
    interval: float
    tolerance: float
    count_refused: bool
    arrival: float = -math.inf
    """The theoretical arrival time: when a client that kept the pace would send next."""

    def admit(self, now: float) -> float:
        following = max(self.arrival, now) + self.interval
        early = following - now - self.tolerance
        if early <= TOLERANCE:
            self.arrival = following
            return 0.0
        if not self.count_refused:
            return early
        self.arrival = now + self.tolerance
        return self.interval


@frozen
class _FixedWindow:
    limit: int = field(validator=gt(0))
    seconds: float = field(validator=gt(0))

    def meter(self, *, count_refused: bool) -> Meter:
        # What is refused in one window cannot matter in the next: counted or not is the same.
        del count_refused
        return _FixedMeter(self.limit, self.seconds)


@define
class _FixedMeter:
    limit: int
    seconds: float
    used: int = 0
    ends: float = -math.inf

    def admit(self, now: float) -> float:
        if now >= self.ends - TOLERANCE:
            self.used, self.ends = 0, now + self.seconds
        if self.used >= self.limit:
            return self.ends - now
        self.used += 1
        return 0.0


@frozen
class _SlidingWindow:
    limit: int = field(validator=gt(0))
    seconds: float = field(validator=gt(0))

    def meter(self, *, count_refused: bool) -> Meter:
        return _SlidingMeter(self.seconds, count_refused, deque(maxlen=self.limit))


@define
class _SlidingMeter:
    seconds: float
    count_refused: bool
    log: deque[float]
    """The last requests counted; one more than `maxlen` within `seconds` is too many."""

    def admit(self, now: float) -> float:
        free = len(self.log) < (self.log.maxlen or 0) or (
            self.log[0] + self.seconds <= now + TOLERANCE
        )
        if free or self.count_refused:
            self.log.append(now)
        return 0.0 if free else self.log[0] + self.seconds - now
