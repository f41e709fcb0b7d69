"""One rate limiter per base URL, key, limit and running loop, shared by all clients of a pool."""

from __future__ import annotations

import asyncio
from collections import deque
from weakref import WeakValueDictionary

from attrs import define, field

from chatloom_async.auth import ApiKey
from chatloom_async.ratelimit.limiter import RateLimiter
from chatloom_async.ratelimit.values import RateLimit

_Identity = tuple[int, str, ApiKey, RateLimit]

_AT_ONCE = 2  # looked at for each new one, so that they cannot pile up


@define(eq=False, repr=False)
class LimiterRegistry:
    """The limiters in use, and those which know more than a new one would.

    A client holds its limiter. A web backend makes a client per request, and what was learned about
    the key outlives the request.
    """

    _limiters: WeakValueDictionary[_Identity, RateLimiter] = field(factory=WeakValueDictionary)
    _kept: deque[RateLimiter] = field(factory=deque)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._limiters)

    def get(self, base_url: str, key: ApiKey, limit: RateLimit) -> RateLimiter:
        """Return the limiter of the running loop, a new one if there is none."""
        identity = (id(asyncio.get_running_loop()), base_url, key, limit)
        limiter = self._limiters.get(identity)
        if limiter is None:
            self._forget_some()
            limiter = RateLimiter(limit, key.fingerprint)
            self._limiters[identity] = limiter
            self._kept.append(limiter)
        return limiter

    def _forget_some(self) -> None:
        for _ in range(min(_AT_ONCE, len(self._kept))):
            limiter = self._kept.popleft()
            if not limiter.is_as_good_as_new():
                self._kept.append(limiter)
