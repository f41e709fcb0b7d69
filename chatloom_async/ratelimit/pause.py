"""How long a refusal closes the gate: until a probe may leave, and after each one in vain.

Not here: what the server asks to wait, and what an opened gate learns of the pause
(``ratelimit.schedule``).
"""

from __future__ import annotations

import math

from attrs import define

from chatloom_async.ratelimit.bucket import LearnedBucket
from chatloom_async.ratelimit.window import LearnedWindow, round_up

# In quotes: the row of ``benchmarks.politeness`` that a constant decides.
_SOON = 0.25  # seconds to the first probe, where nothing is told ("bucket 20/s burst 5")
_TOKENS = 1.5  # tokens that a bucket of a known rate refills before a probe ("bucket 2/s burst 1")
_FRESH = 20.0  # seconds open: later, the opening is no window's beginning ("a hiccup of 2 s")
_MARGIN = 0.03  # seconds after a round time
_LONGEST = (
    61.0  # seconds: openings further apart tell of no window ("fixed window, four processes")
)


@define(eq=False, repr=False)
class Pause:
    """The latest time for which refusals closed the gate.

    Attributes:
        closed_at: when the refusal arrived that closed it.
        refused_at: when the refused attempt had left.
        vain: so many probes were refused since.
        vain_at: the departure of the last of them.
        period: seconds between the openings around the last pause with probes in vain.

    """

    closed_at: float = -math.inf
    refused_at: float = -math.inf
    vain: int = 0
    vain_at: float = -math.inf
    period: float = 0.0

    def begin(self, now: float, departure: float) -> None:
        """Take note of the refusal of an attempt, which closes the gate."""
        self.closed_at, self.refused_at, self.vain = now, departure, 0

    def in_vain(self, departure: float) -> None:
        """Take note of a probe that was refused."""
        self.vain, self.vain_at = self.vain + 1, departure

    def first_probe(self, now: float, bucket: LearnedBucket, window: LearnedWindow | None) -> float:
        """Return when one may leave: when what is learned is free again, or a moment later."""
        if window is not None and not window.doubted:
            return max(now, window.free_at())
        return now + (max(_SOON, _TOKENS / bucket.rate) if bucket.rate else _SOON)

    def next_probe(
        self, now: float, opened_at: float, window: LearnedWindow | None, *, troubled: bool
    ) -> float:
        """Return when the next one may leave: a round time after the opening, as windows end.

        Open for long, the gate's opening is no window's beginning; with 503s (``troubled``) it is
        doubtful.
        """
        fresh = self.closed_at - opened_at < _FRESH and not troubled
        base = opened_at if fresh else self.closed_at
        waited = now - base
        period = self.period if window is None else window.span
        step = period if waited < period < _LONGEST and self.vain == 1 else round_up(waited)
        return base + step + _MARGIN
