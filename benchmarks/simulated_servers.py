"""Rate limiters as servers have them, and what may go wrong behind them; all in virtual time.

Here: when a server says 200, 429 or 503. Not here: clients, gates, bars (`politeness`).
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Protocol

from attrs import define, field, frozen


class Quota(Protocol):
    """A limit per minute, which may change while the server runs."""

    limit: float

    def take(self, now: float) -> float:
        """Admit one request (0), or return how many seconds later the next one would be."""
        ...


@define
class TokenBucket:
    """`limit` tokens a minute, at most `capacity` of them kept, full at the start."""

    limit: float
    capacity: float
    _tokens: float = field(init=False)
    _at: float = 0.0

    def __attrs_post_init__(self) -> None:
        """Fill the bucket."""
        self._tokens = self.capacity

    def take(self, now: float) -> float:
        """See `Quota`."""
        rate = self.limit / 60
        self._tokens = min(self.capacity, self._tokens + (now - self._at) * rate)
        self._at = now
        if self._tokens < 1:
            return (1 - self._tokens) / rate
        self._tokens -= 1
        return 0.0


@define
class Gcra:
    """The generic cell rate algorithm: evenly spaced, `burst` of them may come early."""

    limit: float
    burst: float = 10
    _due: float = -math.inf

    def take(self, now: float) -> float:
        """See `Quota`."""
        interval = 60 / self.limit
        due = max(self._due, now)
        early = due - now - (self.burst - 1) * interval
        if early > 1e-9:
            return early
        self._due = due + interval
        return 0.0


@define
class FixedWindow:
    """`limit` in each minute, which begins with the first request after the minute before."""

    limit: float
    _began: float = -math.inf
    _used: int = 0

    def take(self, now: float) -> float:
        """See `Quota`."""
        if now >= self._began + 60:
            self._began, self._used = now, 0
        if self._used >= self.limit:
            return self._began + 60 - now
        self._used += 1
        return 0.0


@define
class ClockWindow:
    """`limit` in each minute of the server's clock, which is `phase` seconds ahead."""

    limit: float
    phase: float
    _window: int = -1
    _used: int = 0

    def take(self, now: float) -> float:
        """See `Quota`."""
        window, into = divmod(now + self.phase, 60)
        if window != self._window:
            self._window, self._used = int(window), 0
        if self._used >= self.limit:
            return 60 - into
        self._used += 1
        return 0.0


@define
class SlidingLog:
    """`limit` in any sixty seconds."""

    limit: float
    _log: deque[float] = field(factory=deque)

    def take(self, now: float) -> float:
        """See `Quota`."""
        while self._log and self._log[0] <= now - 60:
            self._log.popleft()
        if len(self._log) >= self.limit:
            return self._log[len(self._log) - int(self.limit)] + 60 - now
        self._log.append(now)
        return 0.0


@define
class TwoCounters:
    """A sliding window estimated from the counters of this minute and the one before."""

    limit: float
    phase: float
    _window: int = -1
    _used: int = 0
    _before: int = 0

    def take(self, now: float) -> float:
        """See `Quota`."""
        window, into = divmod(now + self.phase, 60)
        if window != self._window:
            self._before = self._used if window == self._window + 1 else 0
            self._window, self._used = int(window), 0
        if self._before * (1 - into / 60) + self._used >= self.limit:
            spare = self.limit - self._used
            return 60 - into if spare <= 0 else 60 * (1 - spare / self._before) - into + 1e-3
        self._used += 1
        return 0.0


QUOTAS: dict[str, Callable[[float, Random], Quota]] = {
    "token bucket": lambda limit, _: TokenBucket(limit, limit),
    "small bucket": lambda limit, _: TokenBucket(limit, 20),
    "gcra": lambda limit, _: Gcra(limit),
    "fixed window": lambda limit, _: FixedWindow(limit),
    "clock window": lambda limit, random: ClockWindow(limit, random.uniform(0, 60)),
    "sliding log": lambda limit, _: SlidingLog(limit),
    "two counters": lambda limit, _: TwoCounters(limit, 0),
    "clock counters": lambda limit, random: TwoCounters(limit, random.uniform(0, 60)),
}


def ideal(quota: Quota, calls: int, change: tuple[float, float] | None = None) -> float:
    """How many seconds a client needs that knows everything and has no latency."""
    step, done = 0, 0
    while True:
        now = step / 100
        if change and now >= change[0]:
            quota.limit = change[1]
        while quota.take(now) == 0:
            done += 1
            if done == calls:
                return now
        step += 1


class Unavailable(Exception):  # noqa: N818 - named after what the server says
    """A 5xx, a reset or a timeout."""


class Refused(Exception):  # noqa: N818 - named after what the server says
    """A 429."""

    def __init__(self, retry_after: float | None = None) -> None:
        """`retry_after` in seconds."""
        super().__init__(retry_after)
        self.retry_after = retry_after


@frozen
class Trouble:
    """From `start` to `end`, requests for `resources` (None: all) fail with `probability`."""

    start: float
    end: float
    kind: str  # "503", "reset" or "hang"
    probability: float = 1.0
    resources: frozenset[str] | None = None

    def hits(self, now: float, resource: str, random: Random) -> bool:
        """Tell whether this request fails."""
        return (
            self.start <= now < self.end
            and (self.resources is None or resource in self.resources)
            and random.random() < self.probability
        )


@define
class Server:
    """Answers after 20 to 200 ms; a hanging request ends after `timeout` seconds."""

    random: Random
    quota: Quota | None = None
    tells: bool = True  # a Retry-After
    troubles: tuple[Trouble, ...] = ()
    timeout: float = 15.0
    arrivals: list[float] = field(factory=list)
    answers: list[float] = field(factory=list)
    failures: list[float] = field(factory=list)
    refused: int = 0

    async def request(self, resource: str) -> None:
        """Send one request; raises Refused or Unavailable."""
        loop, latency = asyncio.get_running_loop(), self.random.uniform(0.02, 0.2)
        await asyncio.sleep(latency / 2)
        now = loop.time()
        self.arrivals.append(now)
        for trouble in self.troubles:
            if trouble.hits(now, resource, self.random):
                await asyncio.sleep(self.timeout if trouble.kind == "hang" else latency / 2)
                self.failures.append(loop.time())
                raise Unavailable(trouble.kind)
        wait = self.quota.take(now) if self.quota else 0.0
        await asyncio.sleep(latency / 2)
        if wait:
            self.refused += 1
            raise Refused(math.ceil(wait) if self.tells else None)
        self.answers.append(loop.time())
