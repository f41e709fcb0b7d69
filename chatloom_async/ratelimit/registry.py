"""One rate limiter per base URL, key, limit and running loop, shared by all clients of a pool.

Not here: what a limiter does (``ratelimit.limiter``).
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from attrs import define, field

from chatloom_async.auth import ApiKey
from chatloom_async.events import Observer
from chatloom_async.ratelimit.closings import LimiterLog
from chatloom_async.ratelimit.limiter import RateLimiter
from chatloom_async.ratelimit.values import LimiterStatistics, RateLimit, SharedStore

if TYPE_CHECKING:
    from chatloom_async.ratelimit.common import CommonGate

_Identity = tuple[str, ApiKey, RateLimit]

_AT_ONCE = 4  # old limiters looked at for each new one: faster than they can pile up


@define(eq=False, repr=False)
class LimiterRegistry:
    """The limiters in use, and those which know more than a new one would.

    A client holds its limiter. A web backend makes a client per request, and what was learned about
    the key outlives the request. It outlives the event loop too: with one loop after another, as
    under WSGI or in a task queue, the limiter of a new loop goes on where the one of the closed
    loop ended. Loops that run side by side, in threads, have limiters of their own. The keys of a
    base URL have a gate in common too, for a limit that concerns all of them.
    """

    notify: Observer | None = None
    _limiters: WeakValueDictionary[tuple[int, _Identity], RateLimiter] = field(
        factory=WeakValueDictionary
    )
    _latest: WeakValueDictionary[_Identity, RateLimiter] = field(factory=WeakValueDictionary)
    _common: WeakValueDictionary[tuple[int, str], CommonGate] = field(factory=WeakValueDictionary)
    _kept: deque[RateLimiter] = field(factory=deque)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._limiters)

    def get(self, base_url: str, key: ApiKey, limit: RateLimit) -> RateLimiter:
        """Return the limiter of the running loop, a new one if there is none."""
        loop, identity = asyncio.get_running_loop(), (base_url, key, limit)
        limiter = self._limiters.get((id(loop), identity))
        if limiter is None or limiter.loop is not loop:  # an id may be used again
            self._forget_some(loop.time())
            common = self._common_gate(base_url, loop)
            limiter = RateLimiter(limit, key.fingerprint, self.notify, common)
            common.join(limiter)
            if limit.shared is not None:
                limiter.share(_store(limit.shared), key.name_for(base_url))
            limiter.earlier = self._latest.get(identity)
            _go_on_from_closed_loop(limiter)
            self._limiters[id(loop), identity] = self._latest[identity] = limiter
            self._kept.append(limiter)
        return limiter

    async def aclose(self) -> None:
        """End what the limiters of the running loop have under way; their calls have been ended."""
        loop = asyncio.get_running_loop()
        limiters = [ref() for ref in self._limiters.valuerefs()]
        for each in limiters:
            if each is not None and each.loop is loop:
                await each.aclose()

    def statistics(self) -> dict[str, LimiterStatistics]:
        """Return what is known of each key, by its fingerprint; the latest loop's word counts."""
        limiters = [ref() for ref in self._latest.valuerefs()]
        return {each.name: each.statistics() for each in limiters if each is not None}

    def _common_gate(self, base_url: str, loop: asyncio.AbstractEventLoop) -> CommonGate:
        gate = self._common.get((id(loop), base_url))
        if gate is None or gate.loop is not loop:
            # Not at import, where it would cost those who import much and call nothing.
            from chatloom_async.ratelimit.common import CommonGate  # noqa: PLC0415 - said above

            gate = CommonGate(loop, LimiterLog("of all at one address", self.notify))
            self._common[id(loop), base_url] = gate
        return gate

    def _forget_some(self, now: float) -> None:
        with suppress(IndexError):  # there are none, or another thread's loop looks at the last one
            for _ in range(_AT_ONCE):
                limiter = self._kept.popleft()
                if limiter.is_as_good_as_new(now):
                    limiter.forgotten(now)
                else:
                    self._kept.append(limiter)


def _go_on_from_closed_loop(limiter: RateLimiter) -> None:
    """Let it take over from the latest limiter whose loop is closed; others run beside."""
    later = limiter
    while (earlier := later.earlier) is not None:
        if earlier.loop.is_closed():
            later.earlier, earlier.earlier = earlier.earlier, None
            limiter.take_over(earlier)
            return
        later = earlier


def _store(shared: str | os.PathLike[str] | SharedStore) -> SharedStore:
    if isinstance(shared, SharedStore):
        return shared
    # Imported here: most applications share no limit, and everybody pays for an import.
    from chatloom_async.ratelimit.shared_file import SharedFile  # noqa: PLC0415 - said above

    return SharedFile(os.path.abspath(shared))  # noqa: PTH100 - it must not ask the disk
