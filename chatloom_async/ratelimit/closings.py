"""Why a gate closes besides for 429s, for how long, and what is told of it.

nginx and others refuse with a 503. Among good answers, for whatever is asked, it is a refusal.

Not here: what a failure is (``calls.retry``), what the server asks to wait, and what an opened
gate learns of its pause (``ratelimit.schedule``).
"""

from __future__ import annotations

import logging
import math
import random
from collections import deque

from attrs import define, field

from chatloom_async.events import LimiterClosed, LimiterOpened, Observer
from chatloom_async.ratelimit.bucket import LearnedBucket
from chatloom_async.ratelimit.window import LearnedWindow, round_up

_log = logging.getLogger("chatloom_async")

# In quotes beside a constant: the row of ``benchmarks.politeness`` that it decides.
_FAILURES, _RESOURCES = 10, 3  # in a row, and of how many ("outages": a poisoned agent is none)
_LATELY = 60.0  # seconds
_ALIKE = 3 * _FAILURES  # answers among which 503s are looked for
_TOLD = 3  # 503s with a Retry-After: fewer are enough ("503 + Retry-After")
_SOON = 0.25  # seconds to the first probe, where nothing is told ("bucket 20/s burst 5")
_TOKENS = 1.5  # tokens that a bucket of a known rate refills before a probe ("bucket 2/s burst 1")
_FRESH = 20.0  # seconds open: later, the opening is no window's beginning ("a hiccup of 2 s")
_MARGIN = 0.03  # seconds after a round time
# Seconds: openings further apart tell of no window ("fixed window, four processes").
_LONGEST = 61.0
_MANY_WAIT, _LONG_WAIT = 100, 10.0  # calls, seconds: so long a queue is worth a line in the log


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

    def judge_503(self, now: float, resource: str, *, told: bool) -> bool:
        """Take note of a 503; tell whether it is a refusal. ``told``: it says when to return."""
        if self._latest is None:
            self._latest = deque([""] * min(self._good, _ALIKE), maxlen=_ALIKE)
        self._latest.append(resource)
        busy = [path for path in self._latest if path]
        enough = _TOLD if told else _FAILURES
        mixed = enough <= len(busy) < len(self._latest) and len(set(busy)) >= _RESOURCES
        if mixed or self.refuses(now):
            self._refusing_until = now + _LATELY
            return True
        return False

    def refuses(self, now: float) -> bool:
        """Tell whether 503s were refusals lately."""
        return now < self._refusing_until


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
        self,
        now: float,
        opened_at: float,
        late: float,
        window: LearnedWindow | None,
        *,
        troubled: bool,
    ) -> float:
        """Return when the next one may leave: a round time after the opening, as windows end.

        The server's window may have begun so many seconds ``late``. Open for long, the gate's
        opening is no window's beginning; with 503s (``troubled``) it is doubtful.
        """
        fresh = self.closed_at - opened_at < _FRESH and not troubled
        base = opened_at if fresh else self.closed_at
        waited = now - base
        period = self.period if window is None else window.span
        if waited < period < _LONGEST and self.vain == 1:
            return base + period + _MARGIN
        return base + round_up(waited) + (max(late, _MARGIN) if fresh else _MARGIN)


@define(eq=False, repr=False)
class LimiterLog:
    """What the log and the observer are told; ``name`` stands for the key.

    One warning per closing, one line per opening and per long queue. ``error``: why the gate is
    closed, None while it is open.
    """

    name: str
    notify: Observer | None
    error: Exception | None = None
    # Drawn, for one observer may hear of several pools.
    _number: int = field(factory=lambda: random.getrandbits(62))

    def _tell(self, level: int, text: str, *values: object) -> None:
        _log.log(level, f"key %s: {text}", self.name, *values, extra={"chatloom_key": self.name})

    def closed(self, error: Exception, wait: float, *, outage: bool = False) -> None:
        """Tell that the gate was closed, for that many seconds at first, unless it is known."""
        if self.error is not None:
            return
        self.error = error
        reason = "the service fails" if outage else "rate limit reached"
        self._tell(logging.WARNING, "%s; gate closed, probe in %.1f s", reason, wait)
        if self.notify is not None:
            event = LimiterClosed(self.name, "outage" if outage else "refused", wait, self._number)
            self.notify(event)

    def opened(self, seconds: float, *, forgotten: bool = False) -> None:
        """Tell that the gate is open, after so many seconds, if it was closed.

        ``forgotten``: nobody uses it any more, which is no news for the log.
        """
        if self.error is None:
            return
        self.error = None
        if not forgotten:
            self._tell(logging.INFO, "gate open again after %.1f s", seconds)
        if self.notify is not None:
            self.notify(LimiterOpened(self.name, seconds, self._number))

    def queue(self, waiting: int, wait: float) -> bool:
        """Tell how many calls wait, for about how many seconds, if it is many or long."""
        if long := waiting > _MANY_WAIT or wait > _LONG_WAIT:
            self._tell(logging.INFO, "%d calls wait, for about %.0f s", waiting, wait)
        return long
