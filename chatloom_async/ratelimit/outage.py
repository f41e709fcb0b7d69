"""Failures in a row, and when they are an outage: not while they are one resource's own.

Not here: what a failure is (``calls.retry``), and what an outage does to a gate (``ratelimit``).
"""

from __future__ import annotations

from collections import deque

from attrs import define, field

_FAILURES, _RESOURCES = 10, 3  # in a row, and of how many
_LATELY = 60.0  # seconds


@define(eq=False)
class OutageDetector:
    """The failures since the last good answer, in the order in which they arrive.

    Attributes:
        resources: the paths that failed.

    """

    resources: set[str] = field(factory=set)
    _failures: int = 0
    _answered: deque[tuple[float, str]] = field(factory=lambda: deque(maxlen=100))

    def end(self, sent_at: float, resource: str) -> None:
        """Take note of a good answer."""
        if self._failures:
            self._failures = 0
            self.resources.clear()
        self._answered.append((sent_at, resource))

    def extend(self, resource: str) -> None:
        """Take note of a failure."""
        self._failures += 1
        self.resources.add(resource)

    def is_wide(self) -> bool:
        """Tell whether several resources failed."""
        return len(self.resources) >= _RESOURCES

    def is_outage(self, now: float) -> bool:
        """Tell whether the service fails: many times, and everything that answered lately."""
        lately = (resource for at, resource in self._answered if at > now - _LATELY)
        return self._failures >= _FAILURES and (self.is_wide() or self.resources.issuperset(lately))
