"""The ceiling of a ``RateLimit``: what may leave, whatever the server would let through.

Each process has its own. A store that several processes share is asked beside it, not in its place.

Not here: that store (``ratelimit.shared``), and what is learned from the server
(``ratelimit.schedule``).
"""

from __future__ import annotations

import math

from attrs import define, field

from chatloom_async.ratelimit.values import RateLimit

_RESTED = 1.0  # seconds in which all was refilled and nobody left: the next one begins a burst
_MINUTE = 60.0  # seconds: the fair use that is documented is one "per minute"


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
        """Return when so many more may have left."""
        opens_at = self._paid + (waiting - self.limit.burst) * self._interval
        if urgent or self._used + waiting <= self._most:
            return opens_at
        return max(opens_at, self._began + _MINUTE)

    def is_whole(self, now: float) -> bool:
        """Tell whether nothing is used any more."""
        return self._paid <= now
