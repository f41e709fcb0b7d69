"""``FakeClock``: virtual time for tests and simulations that open no socket.

Waiting costs nothing: as soon as every task waits for a timer, the time jumps to the first one.
Sockets and threads live in real time and have no place in such a run (looptime serves those).
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from attrs import define, field

T = TypeVar("T")


@define(eq=False)
class FakeClock:
    """A ``Clock`` of virtual seconds, still outside ``run``; ``wall()`` starts at ``epoch``."""

    epoch: float = 1_767_225_600.0  # 2026-01-01T00:00:00Z
    _now: float = field(default=0.0, init=False)

    def monotonic(self) -> float:
        """Return the virtual seconds that have passed in every ``run`` of this clock."""
        return self._now

    def wall(self) -> float:
        """Return virtual seconds since 1970."""
        return self.epoch + self._now

    async def sleep(self, seconds: float) -> None:
        """Let that much virtual time pass."""
        await asyncio.sleep(seconds)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run like ``asyncio.run``, in virtual time; the next run goes on where this one ends.

        Raises RuntimeError when every task waits and no timer is left that could wake one, and
        where a loop is running already.
        """
        if asyncio._get_running_loop() is not None:  # noqa: SLF001 - the other one raises
            coroutine.close()
            raise RuntimeError("FakeClock.run is a loop of its own: call it in a plain function")
        with asyncio.Runner(loop_factory=lambda: _VirtualLoop(self)) as runner:
            return runner.run(coroutine)


class _VirtualLoop(asyncio.SelectorEventLoop):
    """A subclass, because ``time`` is the only public seam for the clock of asyncio's timers."""

    def __init__(self, clock: FakeClock) -> None:
        self._virtual = clock
        super().__init__(_JumpingSelector(clock))

    def time(self) -> float:
        return self._virtual.monotonic()


class _JumpingSelector(selectors.DefaultSelector):
    """Moves virtual time where a selector of the real world would sleep."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return []  # callbacks are ready; looking for events would cost a system call each time
        events = super().select(0)
        if not events:
            if timeout is None:
                raise RuntimeError("deadlock in virtual time: every task waits and no timer is set")
            self._clock._now += timeout  # noqa: SLF001 - nobody else is to move the time
        return events
