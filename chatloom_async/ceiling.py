"""The ceiling of a ``RateLimit``: what may leave, whatever the server would let through."""

from __future__ import annotations

import math

from attrs import define, field

from chatloom_async.limits import RateLimit


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
