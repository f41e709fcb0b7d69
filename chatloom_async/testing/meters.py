"""Meters: what one key has used of a limit, in the ways that servers count. Pure arithmetic.

A meter is handed the time. Not here: how a refusal is told, and whom it concerns (``quota``).
"""

import math
from collections import deque
from typing import Protocol

from attrs import define, field, frozen
from attrs.validators import gt

TOLERANCE = 1e-9  # seconds (or tokens) below which two readings count as equal


@frozen
class Standing:
    """How a key stands after a request; durations in seconds.

    ``limit`` requests in ``window`` are allowed and ``remaining`` are left; the server says that
    more come after ``reset``. ``wait`` is 0 for an admitted request, else how long the next one
    would have to wait. ``wall`` is the server's clock, in seconds since 1970.
    """

    limit: float
    window: float
    remaining: int
    reset: float
    wait: float = 0.0
    wall: float = 0.0

    @property
    def admitted(self) -> bool:
        """Whether the request was let in."""
        return self.wait == 0


class Meter(Protocol):
    """The state of one key; ``limit`` may be changed while it runs."""

    limit: float

    def admit(self, now: float, /) -> float:
        """Count one request at ``now`` (seconds, never going back).

        Returns 0.0 when it is admitted, else the seconds after which one request would be.
        """
        ...

    def standing(self, now: float, /) -> Standing:
        """Return how the key stands, without counting a request."""
        ...


@define(eq=False)
class TokenBucket:
    """``burst`` tokens, full at first; ``limit`` come back a minute, steadily.

    With ``interval``, all tokens of so many seconds come back at once, at their end. ``cells``: it
    tells when all are back, as the generic cell rate algorithm does, which admits the same.
    """

    limit: float = field(validator=gt(0))
    burst: float = field(validator=gt(0))
    count_refused: bool = False
    interval: float = 0.0
    cells: bool = False
    _level: float = field(init=False)
    _at: float | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.burst = self._level = max(1.0, self.burst)

    def admit(self, now: float) -> float:
        """See ``Meter``."""
        self._refill(now)
        if self._level >= 1 - TOLERANCE:
            self._level = max(0.0, self._level - 1)
            return 0.0
        if self.count_refused:
            self._level = 0.0
        return self._until_a_token(now)

    def standing(self, now: float) -> Standing:
        """See ``Meter``; ``reset`` is when there is a token, or with ``cells`` all of them."""
        self._refill(now)
        window = self.burst * 60 / self.limit
        full = (self.burst - self._level) * 60 / self.limit
        left = int(self._level + TOLERANCE)
        return Standing(self.burst, window, left, full if self.cells else self._until_a_token(now))

    def _refill(self, now: float) -> None:
        if self._at is None:
            self._at = now
        passed = now - self._at
        if self.interval:
            passed = math.floor(passed / self.interval + TOLERANCE) * self.interval
        self._level = min(self.burst, self._level + passed * self.limit / 60)
        self._at += passed

    def _until_a_token(self, now: float) -> float:
        if self.interval:
            return (self._at or 0.0) + self.interval - now
        return max(0.0, 1 - self._level) * 60 / self.limit


@define(eq=False)
class FixedWindow:
    """``limit`` in a window of ``seconds``, begun by a request or, ``aligned``, by the clock.

    What is refused in one window cannot matter in the next, so counted or not is the same.
    """

    limit: float = field(validator=gt(0))
    seconds: float = field(validator=gt(0))
    aligned: bool = False
    _used: int = field(default=0, init=False)
    _ends: float = field(default=-math.inf, init=False)

    def admit(self, now: float) -> float:
        """See ``Meter``."""
        if now >= self._ends - TOLERANCE:
            self._used, self._ends = 0, self._end(now)
        if self._used >= self.limit:
            return self._ends - now
        self._used += 1
        return 0.0

    def standing(self, now: float) -> Standing:
        """See ``Meter``; ``reset`` is the end of the window."""
        fresh = now >= self._ends - TOLERANCE
        used, ends = (0, self._end(now)) if fresh else (self._used, self._ends)
        return Standing(self.limit, self.seconds, max(0, int(self.limit) - used), ends - now)

    def _end(self, now: float) -> float:
        if not self.aligned:
            return now + self.seconds
        return (math.floor(now / self.seconds + TOLERANCE) + 1) * self.seconds


@define(eq=False)
class SlidingWindow:
    """``limit`` in any ``seconds``, kept as an exact log."""

    limit: float = field(validator=gt(0))
    seconds: float = field(validator=gt(0))
    count_refused: bool = False
    _log: deque[float] = field(factory=deque[float], init=False)

    def admit(self, now: float) -> float:
        """See ``Meter``."""
        self._forget(now)
        free = len(self._log) < self.limit
        if free or self.count_refused:
            self._log.append(now)
        return 0.0 if free else self._log[-int(self.limit)] + self.seconds - now

    def standing(self, now: float) -> Standing:
        """See ``Meter``; ``reset`` is when the oldest request is forgotten."""
        self._forget(now)
        left = max(0, int(self.limit) - len(self._log))
        reset = self._log[0] + self.seconds - now if self._log else 0.0
        return Standing(self.limit, self.seconds, left, reset)

    def _forget(self, now: float) -> None:
        while self._log and self._log[0] + self.seconds <= now + TOLERANCE:
            self._log.popleft()


@define(eq=False)
class TwoCounters:
    """A sliding window, estimated: this window's count and the last's, as far as still covered.

    Windows follow the clock.
    """

    limit: float = field(validator=gt(0))
    seconds: float = field(validator=gt(0))
    _window: int = field(default=-1, init=False)
    _used: int = field(default=0, init=False)
    _before: int = field(default=0, init=False)

    def admit(self, now: float) -> float:
        """See ``Meter``."""
        share = self._turn(now)
        if self._before * (1 - share) + self._used < self.limit:
            self._used += 1
            return 0.0
        spare = self.limit - self._used
        covered, end = self._before, 0.0
        if spare <= 0:  # nothing comes free before the next window, which counts this one
            spare, covered, end = self.limit, self._used, self.seconds
        return end + self.seconds * (1 - spare / covered - share) + 1e-3

    def standing(self, now: float) -> Standing:
        """See ``Meter``; ``reset`` is the end of the window, even where a place is free earlier."""
        share = self._turn(now)
        left = max(0, math.ceil(self.limit - self._used - self._before * (1 - share)))
        return Standing(self.limit, self.seconds, left, self.seconds * (1 - share))

    def _turn(self, now: float) -> float:
        """Begin the window of ``now`` if it is a new one, and return which share of it is over."""
        window, into = divmod(now, self.seconds)
        if window != self._window:
            self._before = self._used if window == self._window + 1 else 0
            self._window, self._used = int(window), 0
        return into / self.seconds


@define(eq=False)
class InFlight:
    """At most ``limit`` requests at a time; ``done`` tells that one was answered.

    Nobody can know when the next place comes free: its waits are a guess.
    """

    limit: float = field(validator=gt(0))
    _taken: int = field(default=0, init=False)

    def admit(self, _now: float, /) -> float:
        """See ``Meter``."""
        if self._taken >= self.limit:
            return 1.0
        self._taken += 1
        return 0.0

    def standing(self, _now: float, /) -> Standing:
        """See ``Meter``."""
        return Standing(self.limit, 0.0, max(0, int(self.limit) - self._taken), 0.0)

    def done(self) -> None:
        """Give a place back."""
        self._taken -= 1
