"""When requests left that the server did not refuse: what every measurement counts.

Not here: what is concluded from it (``ratelimit.bucket``, ``ratelimit.window``).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque

from attrs import define, field

_KEPT = 120.0  # seconds; no documented limit looks further back than a minute
_MOST = 5000  # departures; a limit that lets more through in two minutes needs no longer memory


@define(eq=False, repr=False)
class DepartureLog:
    """The departures of the last two minutes in their order, refused ones taken out again."""

    _departures: deque[float] = field(factory=lambda: deque(maxlen=_MOST))

    def add(self, departure: float) -> None:
        """Add the latest departure."""
        departures = self._departures
        departures.append(departure)
        if departures[0] < departure - _KEPT:
            departures.popleft()
            if departures[0] < departure - _KEPT:
                departures.popleft()  # two for one: it gets shorter, and nobody pays for it

    def drop(self, departure: float) -> None:
        """Take out one that was refused."""
        index = bisect_left(self._departures, departure)
        if index < len(self._departures) and self._departures[index] == departure:
            del self._departures[index]

    def count(self, since: float, before: float = math.inf) -> int:
        """Return how many left at ``since`` or later, and before ``before``."""
        departures = self._departures
        return bisect_left(departures, before) - bisect_left(departures, since)

    def last(self, number: int) -> float:
        """Return when the last but (number - 1) left, -infinity if there were fewer."""
        departures = self._departures
        return departures[-number] if len(departures) >= number else -math.inf

    def known_since(self) -> float:
        """Return from when on nothing is missing."""
        departures = self._departures
        return departures[0] if len(departures) == _MOST else -math.inf
