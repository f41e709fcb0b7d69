"""What bounds requests: places, shared fairly by keys, and timeouts that share a timer.

Taking a free place costs no await. ``asyncio.timeout`` makes a timer for each block; blocks that
all may last equally long expire in the order in which they began, so that one alarm for the first
of them does. What a blocked loop means for an answer that has arrived is the alarm's
business (``transport``).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from attrs import define, field

from chatloom_async.transport import QUEUED, Alarm

_Line = OrderedDict[asyncio.Future[None], None]


@define(eq=False, repr=False)
class Slots:
    """Places for requests in flight.

    Within a key, first come, first served; keys take turns. The last tenth of the places is for
    keys that hold few: a key that holds h places gets one of them only while more than 2h are
    free. So calls of one key that hang leave room for the others: of 100 places it holds 90, and it
    takes five more such keys to fill the rest.

    As long as there has been one key only, each request that comes back lets it have two places of
    that tenth: it has them all while its requests return, and hardly any of them once they hang.
    """

    free: int
    _alone: str | None = field(default=None, init=False)  # the key there is; "" for several
    _lent: int = field(default=0, init=False)  # places of the tenth that it may still take
    _reserve: int = field(init=False)
    _held: dict[str, int] = field(factory=dict, init=False)
    _waiting: OrderedDict[str, _Line] = field(factory=OrderedDict, init=False)  # next turn first

    def __attrs_post_init__(self) -> None:
        """Keep a tenth back; of four to nine places one, of fewer none."""
        self._reserve = max(self.free // 10, int(self.free >= 4))  # noqa: PLR2004 - said above

    def take(self, key: str) -> bool:
        """Take a free place if this key may and none of its requests waits for one."""
        held = self._held.get(key, 0)
        if not held and key != self._alone:
            self._alone = key if self._alone is None else ""
        if key in self._waiting or not (self.free > self._reserve or self._claim(key, held)):
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
        except asyncio.CancelledError as cancellation:
            cancellation.add_note(QUEUED)
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
        self._lent = 2
        if self._waiting:
            self._hand_out()

    def taken(self) -> int:
        """Return how many places are held."""
        return sum(self._held.copy().values())  # which another thread may change

    def queued(self) -> int:
        """Return how many wait for a place."""
        return sum(len(line) for line in self._waiting.copy().values())

    def _claim(self, key: str, held: int) -> bool:
        """Tell whether a key may take a place; use up a lent one if that is why."""
        if self.free > self._reserve or 2 * held < self.free:
            return True
        if key != self._alone or not self.free or not self._lent:
            return False
        self._lent -= 1
        return True

    def _hand_out(self) -> None:
        """Give free places to the keys that wait and may have one, one each turn."""
        passed = 0
        while self.free and passed < len(self._waiting):
            key, line = next(iter(self._waiting.items()))
            held = self._held.get(key, 0)
            self._waiting.move_to_end(key)
            if not self._claim(key, held):
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
            return  # it was its turn already
        del line[place]
        if not line:
            del self._waiting[key]


@define(eq=False, repr=False)
class Watch:
    """One block under a timeout: whose it is, until when, and what became of it.

    ``cancelling`` is how often its task had been cancelled before: more than that, and somebody
    else wants the block to end.
    """

    task: asyncio.Task[object]
    until: float
    seconds: float
    cancelling: int
    late: bool = False

    def lasted(self) -> float:
        """Return for how many seconds the block has lasted."""
        return asyncio.get_running_loop().time() - self.until + self.seconds

    def expired(self) -> bool:
        """Tell a cancelled block whether its timeout was the reason.

        If so, the cancellation is withdrawn.
        """
        return self.late and self.task.uncancel() <= self.cancelling


@define(eq=False, repr=False)
class Timeouts:
    """The blocks of one loop that each may last ``seconds``."""

    seconds: float
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop, init=False)
    _watches: dict[Watch, None] = field(factory=dict, init=False)
    _alarm: Alarm | None = field(default=None, init=False)

    def start(self) -> Watch:
        """Watch the running task; it ends the watch in a ``finally``.

        Raises:
            RuntimeError: outside a task.

        """
        task = asyncio.current_task(self._loop)
        if task is None:
            raise RuntimeError("a request is made inside a task")
        until = self._loop.time() + self.seconds
        watch = Watch(task, until, self.seconds, task.cancelling())
        self._watches[watch] = None
        if self._alarm is None:
            self._alarm = Alarm(until, self._expire)
        return watch

    def in_use(self) -> bool:
        """Tell whether it times anything."""
        return bool(self._watches)

    def end(self, watch: Watch) -> None:
        """Stop watching."""
        self._watches.pop(watch, None)

    def _expire(self) -> None:
        self._alarm = None
        now = self._loop.time()
        while self._watches:
            watch = next(iter(self._watches))
            if watch.until > now:
                self._alarm = Alarm(watch.until, self._expire)
                return
            del self._watches[watch]
            watch.late = True
            watch.task.cancel()
