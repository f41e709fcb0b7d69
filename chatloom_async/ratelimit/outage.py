"""Failures in a row, and what they are: an outage, one resource's own, or refusals in disguise.

nginx and others refuse with a 503. Among good answers, for whatever is asked, it is a refusal.

Not here: what a failure is (``calls.failures``), and what an outage does to a gate
(``ratelimit.schedule``).
"""

from __future__ import annotations

import math
from collections import deque

from attrs import define, field

_FAILURES, _RESOURCES = 10, 3  # in a row, and of how many ("outages": a poisoned agent is none)
_LATELY = 60.0  # seconds
_ALIKE = 3 * _FAILURES  # answers among which 503s are looked for
_TOLD = 3  # 503s with a Retry-After: fewer are enough ("503 + Retry-After")


@define(eq=False, repr=False)
class OutageDetector:
    """The failures since the last good answer, in the order in which they arrive.

    Attributes:
        resources: the paths that failed.

    """

    resources: frozenset[str] = frozenset()
    _failures: int = 0
    _good: int = 0  # answers
    # The latest ones that were answered well, and when. So few do: they are held against fewer
    # failed. Lists of a fixed length cost each answer less than a dictionary that is cut.
    _answered: list[str] = field(factory=lambda: [""] * _RESOURCES)
    _answered_at: list[float] = field(factory=lambda: [-math.inf] * _RESOURCES)
    _oldest: int = 0  # place among them
    _latest: deque[str] | None = None  # paths of 503s, else ""; None before the first 503
    _refusing_until: float = 0.0

    def end(self, sent_at: float, resource: str) -> None:
        """Take note of a good answer."""
        if self._failures:
            self._failures, self.resources = 0, frozenset()
        self._good += 1
        answered, place = self._answered, self._oldest
        if resource in answered:
            place = answered.index(resource)
        else:
            answered[place] = resource
            self._oldest = (place + 1) % _RESOURCES
        self._answered_at[place] = sent_at
        if self._latest is not None:
            self._latest.append("")

    def extend(self, resource: str) -> None:
        """Take note of a failure."""
        self._failures += 1
        self.resources |= {resource}

    def is_wide(self) -> bool:
        """Tell whether several resources failed."""
        return len(self.resources) >= _RESOURCES

    def is_outage(self, now: float) -> bool:
        """Tell whether the service fails: many times, and everything that answered lately."""
        answered = zip(self._answered, self._answered_at, strict=True)
        lately = (resource for resource, at in answered if at > now - _LATELY)
        return self._failures >= _FAILURES and (self.is_wide() or self.resources.issuperset(lately))

    def is_refusal(self, now: float, resource: str, *, told: bool) -> bool:
        """Take note of a 503; tell whether it is a refusal. ``told``: it says when to return."""
        if self._latest is None:
            self._latest = deque([""] * min(self._good, _ALIKE), maxlen=_ALIKE)
        self._latest.append(resource)
        busy = [path for path in self._latest if path]
        enough = _TOLD if told else _FAILURES
        mixed = enough <= len(busy) < len(self._latest) and len(set(busy)) >= _RESOURCES
        if mixed or now < self._refusing_until:
            self._refusing_until = now + _LATELY
            return True
        return False

    def no_refusals(self) -> None:
        """Take note that the 503s are failures after all."""
        self._refusing_until = 0.0
        self._latest = deque(maxlen=_ALIKE)
