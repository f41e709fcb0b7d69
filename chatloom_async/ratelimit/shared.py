"""One limit over several processes: what a limiter asks a store that all of them share.

A store keeps, under a name that stands for a key, how much of the ceiling is used and until when
the key is closed. What one process learned about the server stays its own. Not here: the stores
(``ratelimit.shared_file``, and ``contrib.redis`` for several machines).
"""

from __future__ import annotations

import logging
import math
from typing import Protocol

from attrs import define, field, frozen

from chatloom_async.ratelimit.values import RateLimit

_log = logging.getLogger("chatloom_async")

_RETRY = 1.0  # seconds between attempts to reach a store that failed


@frozen
class Grant:
    """What a store answers to a limiter that wants some requests to leave.

    Attributes:
        count: how many may leave, after ``wait``; 0: ask again after it.
        wait: seconds.
        processes: how many asked for this key within the last minute, the asking one included.

    """

    count: int
    wait: float = 0.0
    processes: int = 1


class SharedStore(Protocol):
    """What several processes share; a failure is any exception."""

    async def take(self, name: str, limit: RateLimit, wanted: int) -> Grant:
        """Use up to ``wanted`` departures; where none is free, reserve the next one.

        While the key is closed nothing is granted. After that one departure is, as a probe, until
        the key is opened or the probe is overdue. With ``wanted=0`` only ``wait`` tells something.
        """
        ...

    async def close(self, name: str, seconds: float) -> None:
        """Let nothing leave for so long: a server refused, or fails."""
        ...

    async def open(self, name: str) -> None:
        """Let requests leave again: one was answered well."""
        ...


@define(eq=False)
class SharedCeiling:
    """A store as one limiter sees it: when it fails, its share of the limit is kept locally.

    The share is the limit divided by the processes that the store knew last. One warning tells of
    the failure; the store is tried again every second.
    """

    store: SharedStore
    name: str
    limit: RateLimit
    _processes: int = 1
    _failed_at: float = -math.inf
    _used_until: float = -math.inf
    _warned: bool = field(default=False)

    async def take(self, wanted: int, now: float) -> Grant:
        """Ask the store, or the local share while it fails."""
        if now >= self._failed_at + _RETRY:
            try:
                grant = await self.store.take(self.name, self.limit, wanted)
            except Exception as error:  # noqa: BLE001 - whatever the store raises
                self._fail(error, now)
            else:
                self._processes, self._failed_at = grant.processes, -math.inf
                if self._warned:
                    self._warned = False
                    _log.info("the shared rate limit is back")
                return grant
        return self._take_locally(wanted, now)

    async def close(self, seconds: float, now: float) -> None:
        """Close the key for all processes."""
        try:
            await self.store.close(self.name, seconds)
        except Exception as error:  # noqa: BLE001 - whatever the store raises
            self._fail(error, now)

    async def open(self, now: float) -> None:
        """Open the key for all processes."""
        try:
            await self.store.open(self.name)
        except Exception as error:  # noqa: BLE001 - whatever the store raises
            self._fail(error, now)

    def _fail(self, error: Exception, now: float) -> None:
        self._failed_at = now
        if not self._warned:
            self._warned = True
            _log.warning(
                "the shared rate limit fails (%s): this process keeps 1/%d of it until it is back",
                type(error).__name__,
                self._processes,
            )

    def _take_locally(self, wanted: int, now: float) -> Grant:
        if self.limit.per_minute is None or not wanted:
            return Grant(wanted, 0.0, self._processes)
        # A burst each would be one for every process: the share begins without one.
        interval = 60 * self._processes / self.limit.per_minute
        leaves = max(now, self._used_until)
        self._used_until = leaves + interval
        return Grant(1, leaves - now, self._processes)


def used_after(used_until: float, now: float, limit: RateLimit, wanted: int) -> tuple[int, float]:
    """Return how many of ``wanted`` departures may leave now, and until when the limit is used.

    The generic cell rate algorithm: each departure uses ``60 / per_minute`` seconds; up to
    ``burst`` of them may be used ahead of time.
    """
    if limit.per_minute is None:
        return wanted, used_until
    interval = 60 / limit.per_minute
    begin = max(used_until, now)
    free = math.floor((now - begin) / interval + limit.burst + 1e-9)
    count = max(0, min(wanted, free))
    return count, begin + max(count, min(wanted, 1)) * interval
