"""A bounded number of places, shared fairly by keys; taking a free one costs no await."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict

from attrs import define, field

_SILENT = 1.0  # seconds in which nothing comes back: calls that hang
_Line = OrderedDict[asyncio.Future[None], None]


@define(eq=False, repr=False)
class Slots:
    """Places for requests in flight.

    Within a key, first come, first served; keys take turns. The last tenth of the places is for
    keys that hold few: calls of one key that hang leave room for the others, and several such keys
    leave less and less, but some. The fewer are free, the fewer a key may hold to get one of them.
    As long as there has been one key only, it may have them all while its requests come back.
    """

    free: int
    _alone: str | None = field(default=None, init=False)  # the key there is; "" for several
    _moved_at: float = field(default=-math.inf, init=False)  # when one of the last came back
    _reserve: int = field(init=False)
    _held: dict[str, int] = field(factory=dict, init=False)
    _waiting: OrderedDict[str, _Line] = field(factory=OrderedDict, init=False)  # next turn first

    def __attrs_post_init__(self) -> None:
        """Keep a tenth back; of four to nine places one, of fewer none."""
        self._reserve = max(self.free // 10, int(self.free >= 4))  # noqa: PLR2004 - said above

    def take(self, key: str) -> bool:
        """Take a free place if this key may; a released one goes to whoever waits."""
        held = self._held.get(key, 0)
        if not held and key != self._alone:
            self._alone = key if self._alone is None else ""
        if key in self._waiting or not (self.free > self._reserve or self._may_take(key, held)):
            return False
        self._held[key] = held + 1
        self.free -= 1
        return True

    async def wait(self, key: str) -> None:
        """Wait for a place."""
        place = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, OrderedDict())[place] = None
        try:
            await place
        except asyncio.CancelledError:
            if place.cancelled():
                self._leave(key, place)
            else:
                self.release(key)  # it was given in the very tick of the cancellation
            raise

    def release(self, key: str) -> None:
        """Give a place back."""
        held = self._held.pop(key) - 1
        if held:
            self._held[key] = held
        self.free += 1
        if self.free <= self._reserve + 1:
            self._moved_at = asyncio.get_running_loop().time()
        if self._waiting:
            self._hand_out()

    def taken(self) -> int:
        """Return how many places are held."""
        return sum(self._held.copy().values())  # which another thread may change

    def queued(self) -> int:
        """Return how many wait for a place."""
        return sum(len(line) for line in self._waiting.copy().values())

    def _may_take(self, key: str, held: int) -> bool:
        if self.free > self._reserve or 2 * held < self.free:
            return True
        if key != self._alone or not self.free or self._moved_at == -math.inf:
            return False
        return asyncio.get_running_loop().time() < self._moved_at + _SILENT

    def _hand_out(self) -> None:
        """Give free places to the keys that wait and may have one, one each turn."""
        passed = 0
        while self.free and passed < len(self._waiting):
            key, line = next(iter(self._waiting.items()))
            held = self._held.get(key, 0)
            self._waiting.move_to_end(key)
            if not self._may_take(key, held):
                passed += 1
                continue
            passed = 0
            place, _ = line.popitem(last=False)
            if not line:
                del self._waiting[key]
            if not place.done():
                self._held[key] = held + 1
                self.free -= 1
                place.set_result(None)

    def _leave(self, key: str, place: asyncio.Future[None]) -> None:
        line = self._waiting.get(key)
        if line is None or place not in line:
            return  # passed over already
        del line[place]
        if not line:
            del self._waiting[key]
