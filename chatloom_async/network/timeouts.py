"""Timeouts of one length for any number of tasks, on one timer.

``asyncio.timeout`` makes a timer for each block. Blocks that all may last equally long expire in
the order in which they began: an ordered dictionary and one alarm for its head do. What a blocked
loop means for an answer that has arrived is the alarm's business (``transport``).
"""

from __future__ import annotations

import asyncio

from attrs import define, field

from chatloom_async.transport import Alarm


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
