"""Time as the client sees it: the seam through which tests move it.

``monotonic`` is the running loop's own ``time()``, so that a loop with virtual time moves timers,
deadlines and the rate limiter together.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """What the client asks of time; all values are float seconds."""

    def monotonic(self) -> float:
        """Return the running loop's time, which never goes back."""
        ...

    def wall(self) -> float:
        """Return seconds since the epoch, to compare with an HTTP-date."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for that long."""
        ...


class SystemClock:
    """The real time."""

    __slots__ = ()

    def monotonic(self) -> float:
        """Return ``asyncio.get_running_loop().time()``."""
        return asyncio.get_running_loop().time()

    def wall(self) -> float:
        """Return ``time.time()``."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Wait on the running loop."""
        await asyncio.sleep(seconds)
