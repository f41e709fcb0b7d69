"""A bounded number of places, first come, first served; taking a free one costs no await."""

from __future__ import annotations

import asyncio
from collections import deque

from attrs import define, field


@define(eq=False, repr=False)
class Slots:
    """Like ``asyncio.Semaphore``, for the path that every request takes."""

    free: int
    _waiting: deque[asyncio.Future[None]] = field(factory=deque)

    def take(self) -> bool:
        """Take a free place if there is one; a released one goes to whoever waits."""
        if self.free:
            self.free -= 1
            return True
        return False

    async def wait(self) -> None:
        """Wait for a place."""
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.release()  # it was given in the very tick of the cancellation
            raise

    def release(self) -> None:
        """Give a place back."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self.free += 1
