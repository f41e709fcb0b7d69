"""What answers told of the limit, and how far that is believed.

Any answer is believed that tells how many requests are left and when more come, unless it left in
an earlier window. It holds attempts back where that moment is at most two minutes away. Nothing is
believed any more once a request is refused though more than two were left, once two probes were in
vain, and where the quota comes back bit by bit: then it is a rate.

Not here: the headers (``calls.answer``), and what is measured (``ratelimit.bucket``).
"""

from __future__ import annotations

import math

from attrs import define

from chatloom_async.ratelimit.departures import Departures
from chatloom_async.ratelimit.values import ToldLimit
from chatloom_async.ratelimit.window import ROUND

_MARGIN, _WIDEST = 0.03, 0.12  # seconds after a reset: requests may overtake each other
_LONGEST = 120.0  # seconds: for a reset further away, one asks again and is told so by a refusal
_ROUNDED = 1.1  # seconds by which two answers may differ on one moment: some round it up
_SAME = 2.0  # requests by which what was told may be wrong
_EVENLY = 0.95  # of a quota that comes back bit by bit: jitter must not overdraw it ("Upstash")
_SPENT = 0.2  # of the limit: with less left after a reset, it comes back bit by bit ("upstash")


@define(eq=False, repr=False)
class ToldQuota:
    """What is left of the server's quota by its own account.

    Attributes:
        header: which told it, "" if none did or if it was wrong.
        left: how many more may leave before the reset; those in flight are taken off.
        confirmed: whether a quota came back at the reset, as told.

    """

    _departures: Departures
    header: str = ""
    left: float = math.inf
    confirmed: bool = False
    _reset_at: float = -math.inf
    _trusted: bool = True
    _fewest: float = math.inf  # that were told to be left in this window
    _began_at: float = -math.inf  # the first departure of this window
    _awaited: float = 0.0  # the reset after which nothing was heard yet
    _quota: float = 0.0  # requests in this window, for all
    _neighbours: bool = False  # whether others used the last window up too
    _longest: float = 0.0  # seconds to a reset, as far as told
    _span: float = 0.0  # seconds from a window's first departure to its reset
    _margin: float = _MARGIN
    _rounded: bool = True  # whether resets may be rounded up to whole seconds

    def due(self, now: float) -> float:
        """Return when there is something left, now or at the reset."""
        until = self._until()
        if not now < until <= now + _LONGEST:
            return now
        if self.left >= 1:  # with neighbours on the key, evenly: a burst would be at their cost
            return now + (until - now) / self.left if self._neighbours else now
        return until

    def _until(self) -> float:
        """Return when the window ends: at the reset, or sooner where that seems to be rounded."""
        end, span = self._reset_at, math.floor(self._span)
        if self._rounded and span in ROUND:
            end = min(end, self._began_at + span)
        return end + self._margin

    def spend(self, now: float) -> bool:
        """Take note of a departure; tell whether it is the first one after a reset."""
        first = self.left < 1 and now >= self._until()
        if first:
            self._neighbours = self._quota - self._departures.count(self._began_at, now) >= _SAME
            self.left = self._fewest = math.inf
            self._began_at, self._awaited = now, self._reset_at
        self.left -= 1
        return first

    def hear(self, now: float, sent_at: float, others: int, told: ToldLimit) -> float | None:
        """Believe an answer; ``others`` are in flight besides the request that it answers.

        Returns the rate at which to pace evenly, where the quota comes back bit by bit.
        """
        if not self._trusted or sent_at < self._began_at:
            return None
        self.header, reset_at, fresh = told.header, now + told.reset, False
        if told.remaining < 1 and now < self._awaited:
            # The window did last until its reset, or requests overtook each other by more.
            self._rounded, self._awaited = self._margin < _WIDEST, 0.0
            self._margin = _WIDEST
        elif self._awaited:
            step, self._awaited = reset_at - self._awaited, 0.0
            limit = told.limit or 0.0
            whole = told.reset > 0.5 * step > 0.25 * self._longest
            if told.remaining < _SPENT * limit and whole:
                self.distrust()
                return _EVENLY * limit / (told.window or step)
            fresh, self._quota = True, told.remaining + 1
            self.confirmed, self._span = True, told.window or reset_at - self._began_at
        self._longest = max(self._longest, told.window or told.reset)
        same = now <= self._reset_at and abs(reset_at - self._reset_at) < _ROUNDED and not fresh
        if not same and now > self._reset_at:
            self._began_at = max(self._began_at, self._reset_at)
        self._reset_at = min(reset_at, self._reset_at) if same else reset_at
        self._fewest = min(told.remaining, self._fewest) if same else told.remaining
        self.left = self._fewest - others
        self._quota = self._quota or told.limit or 0.0
        return None

    def contradicted(self, now: float) -> bool:
        """Take note of a refusal; tell whether there should have been something left."""
        wrong = self._trusted and self.left > _SAME and now < self._reset_at
        self._fewest, self.left = 0.0, min(self.left, 0.0)
        if wrong:
            self.distrust()
        return wrong

    def distrust(self) -> None:
        """Believe nothing any more."""
        self._trusted, self.header, self.left = False, "", math.inf

    @property
    def guides(self) -> bool:
        """Whether it is known and believed."""
        return bool(self.header)
