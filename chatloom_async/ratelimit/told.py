"""What answers told of the limit, and how far that is believed: until a refusal contradicts it.

Not here: the headers (``calls.retry_after``), and what is measured (``ratelimit.bucket``).
"""

from __future__ import annotations

import math

from attrs import define

from chatloom_async.ratelimit.values import ToldLimit

_MARGIN = 0.03  # seconds after a reset: requests may overtake each other
_LONGEST = 120.0  # seconds: for a reset further away, one asks again and is told so by a refusal
_ROUNDED = 1.1  # seconds by which two answers may differ on one moment: some round it up
_THEIRS = 0.1  # of the limit that we did not send when it was used up: others did ("a neighbour")
_SAME = 2.0  # requests by which what was told may be wrong
_SPENT = 0.2  # of the limit: with less left after a reset, it comes back bit by bit ("upstash")


@define(eq=False, repr=False)
class ToldQuota:
    """What is left of the server's quota by its own account.

    Attributes:
        header: which told it, "" if none did or if it was wrong.

    """

    header: str = ""
    left: float = math.inf
    reset_at: float = -math.inf
    _trusted: bool = True
    _heard_at: float = -math.inf  # the departure of the request whose answer told the latest
    _awaited: float = 0.0  # the reset after which nothing was heard yet
    _limit: float = 0.0
    _used_up: bool = False  # by a refusal, until the reset
    _own: int = 0  # requests since the last reset
    _neighbours: bool = False  # whether others used the last window up too
    _longest: float = 0.0  # seconds to a reset, as far as told

    def due(self, now: float) -> float:
        """Return when there is something left, now or at the reset."""
        if not now < self.reset_at <= now + _LONGEST:
            return now
        if self.left >= 1:  # with neighbours on the key, evenly: a burst would be at their cost
            return now + (self.reset_at - now) / self.left if self._neighbours else now
        return self.reset_at + _MARGIN

    def spend(self, now: float) -> bool:
        """Take note of a departure; tell whether it is the first one after a reset."""
        first = self.left < 1 and now >= self.reset_at
        if first:
            self._neighbours, self._own = self._own < (1 - _THEIRS) * self._limit, 0
            self.left, self._awaited, self._used_up = math.inf, self.reset_at, False
        self.left -= 1
        self._own += 1
        return first

    def hear(self, now: float, sent_at: float, since: int, told: ToldLimit) -> float | None:
        """Believe an answer; ``since`` requests left after the one that it answers.

        Returns the rate at which to pace evenly, where the quota comes back bit by bit.
        """
        if not self._trusted or sent_at < self._heard_at:
            return None
        self.header, self._heard_at, reset_at = told.header, sent_at, now + told.reset
        if self._awaited and now > self._awaited:
            step, self._awaited = reset_at - self._awaited, 0.0
            limit = told.limit or 0.0
            whole = told.reset > 0.5 * step > 0.25 * self._longest
            if told.remaining < _SPENT * limit and whole:
                self.distrust()
                return 0.98 * limit / (told.window or step)
        self._longest = max(self._longest, told.window or told.reset)
        same = now <= self.reset_at and abs(reset_at - self.reset_at) < _ROUNDED
        self.reset_at = min(reset_at, self.reset_at) if same else reset_at
        self.left, self._limit = told.remaining - since, told.limit or 0.0
        if self._used_up:  # an answer that is late
            self.left = min(self.left, 0.0)
        return None

    def contradicted(self, now: float) -> bool:
        """Take note of a refusal; tell whether there should have been something left."""
        wrong = self._trusted and self.left > _SAME and now < self.reset_at
        self._used_up = True
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
