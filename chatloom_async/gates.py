"""One rate limiter per base URL, key, limit and running loop, shared by all clients of a pool."""

from __future__ import annotations

import asyncio
from collections import deque
from weakref import WeakValueDictionary

from attrs import define, field

from chatloom_async.auth import ApiKey
from chatloom_async.ratelimit import RateLimit, RateLimiter

_Identity = tuple[int, str, ApiKey, RateLimit]


@define(eq=False, repr=False)
class Gates:
    """The limiters in use, and the latest ones besides.

    A client holds its limiter. The latest are kept although nobody holds them: a web backend makes
    a client per request, and what was learned about the key outlives the request.
    """

    _limiters: WeakValueDictionary[_Identity, RateLimiter] = field(factory=WeakValueDictionary)
    _latest: deque[RateLimiter] = field(factory=lambda: deque(maxlen=256))

    def get(self, base_url: str, key: ApiKey, limit: RateLimit) -> RateLimiter:
        """Return the limiter of the running loop, a new one if there is none."""
        identity = (id(asyncio.get_running_loop()), base_url, key, limit)
        limiter = self._limiters.get(identity)
        if limiter is None:
            limiter = RateLimiter(limit, name=key.fingerprint)
            self._limiters[identity] = limiter
            self._latest.append(limiter)
        return limiter
