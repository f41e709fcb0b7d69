"""What has left: the departures that measurements count, and the user's ceiling.

Each process has its own ceiling. A store that several processes share is asked beside it, not in
its place.

Not here: limits that are concluded from it (``ratelimit.bucket``, ``ratelimit.window``), how many
are in flight (``ratelimit.concurrency``), and that store (``ratelimit.shared``).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque

from attrs import define, field

from chatloom_async.ratelimit.values import RateLimit

_KEPT = 120.0  # seconds; no documented limit looks further back than a minute
_MOST = 5000  # departures; a limit that lets more through in two minutes needs no longer memory
_RESTED = 1.0  # seconds in which all was refilled and nobody left: the next one begins a burst
_MINUTE = 60.0  # seconds: the fair use that is documented is one "per minute"


@define(eq=False, repr=False)
class Departures:
    """The departures of the last two minutes in their order, without refusals and 503s."""

    _times: deque[float] = field(factory=lambda: deque(maxlen=_MOST))

    def add(self, departure: float) -> None:
        """Add the latest departure."""
        times = self._times
        times.append(departure)
        if times[0] < departure - _KEPT:
            times.popleft()
            if times[0] < departure - _KEPT:
                times.popleft()  # two for one: it gets shorter, and nobody pays for it

    def __contains__(self, departure: float) -> bool:
        """Tell whether it was added, and not taken out."""
        return self.count(departure, math.nextafter(departure, math.inf)) > 0

    def drop(self, departure: float) -> None:
        """Take out one that was refused."""
        if departure in self:
            del self._times[bisect_left(self._times, departure)]

    def count(self, since: float, before: float = math.inf) -> int:
        """Return how many left at ``since`` or later, and before ``before``."""
        times = self._times
        return bisect_left(times, before) - bisect_left(times, since)

    def last(self, number: int) -> float:
        """Return the last departure but ``number - 1``; -infinity if there were fewer."""
        times = self._times
        return times[-number] if len(times) >= number else -math.inf

    def known_since(self) -> float:
        """Return from when on nothing is missing."""
        times = self._times
        return times[0] if len(times) == _MOST else -math.inf


@define(eq=False, repr=False)
class Ceiling:
    """What is left of a limit; is told the time of each departure.

    A minute that begins with a burst holds no more than ``per_minute`` or the burst, so that it
    stays within "a few hundred". What refills in that minute is kept for people until it is over.
    """

    limit: RateLimit
    _interval: float = field(init=False)  # seconds that one departure uses up
    _most: float = field(init=False)  # departures of bulk in a minute that begins with a burst
    _paid: float = -math.inf  # up to when all is used
    _began: float = -math.inf  # the departure with which the latest burst began
    _used: int = 0  # departures since then

    def __attrs_post_init__(self) -> None:
        """Begin with a whole burst."""
        per_minute = self.limit.per_minute
        self._interval = 60 / per_minute if per_minute else 0.0
        self._most = max(per_minute, self.limit.burst) if per_minute else math.inf

    def pay(self, departure: float) -> float:
        """Take note of a departure; return when the next one may leave."""
        if not self._interval:
            return -math.inf
        if departure > self._paid + _RESTED:
            self._began, self._used = departure, 0
        self._paid = max(self._paid, departure) + self._interval
        self._used += 1
        return self.opens_at()

    def opens_at(self, waiting: int = 1, *, urgent: bool = False) -> float:
        """Return when the last of so many that wait may leave."""
        opens_at = self._paid + (waiting - self.limit.burst) * self._interval
        if urgent or self._used + waiting <= self._most:
            return opens_at
        return max(opens_at, self._began + _MINUTE)

    def is_whole(self, now: float) -> bool:
        """Tell whether nothing is used any more."""
        return self._paid <= now
