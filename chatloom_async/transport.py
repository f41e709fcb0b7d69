"""What a client needs below it: one request and its whole answer, by ``pool`` or a test's stub."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Protocol

from attrs import define, field

from chatloom_async.auth import ApiKey
from chatloom_async.ratelimit.registry import LimiterRegistry


@define(eq=False, repr=False)
class InFlight:
    """The calls of one pool, each with its task and the client that makes it.

    Only the loop that runs a call touches its entry, so that loops in several threads may share it.
    """

    _calls: dict[object, tuple[asyncio.Task[object], object, int]] = field(factory=dict)
    _ended: set[object] = field(factory=set)

    def __len__(self) -> int:
        """Return how many calls are under way."""
        return len(self._calls)

    def enter(self, call: object, owner: object) -> None:
        """Note a call; the caller leaves it in a ``finally``."""
        task = asyncio.current_task()
        if task is not None:
            self._calls[call] = task, owner, task.cancelling()

    def leave(self, call: object) -> None:
        """Forget a call."""
        self._calls.pop(call, None)
        self._ended.discard(call)

    def end(self, owner: object | None = None) -> None:
        """Cancel the calls of one client, or all; ``was_ended`` tells them why."""
        for call, (task, whose, _) in list(self._calls.items()):
            loop = task.get_loop()
            if (owner is None or whose is owner) and not loop.is_closed():
                loop.call_soon_threadsafe(self._cancel, call, task)

    def _cancel(self, call: object, task: asyncio.Task[object]) -> None:
        # Only if the call still is under way: its task has other things to do afterwards.
        if call in self._calls and call not in self._ended:
            self._ended.add(call)
            task.cancel()

    def was_ended(self, call: object) -> bool:
        """Tell a cancelled call whether closing was the one reason, and take that back if so."""
        if call not in self._ended:
            return False
        task, _, cancelling = self._calls[call]
        return task.uncancel() <= cancelling


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


MAX_ERROR_BODY = 64 * 1024


@define(eq=False, repr=False)
class Response:
    """A complete answer; header names are matched without regard to case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """What a client needs below it: ``ConnectionPool``, or a script of replies in tests."""

    clock: Clock
    gates: LimiterRegistry
    in_flight: InFlight

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        ...

    async def exchange(self, method: str, url: str, key: ApiKey, timeout: float) -> Response:
        """Make exactly one request and return the whole answer, whatever its status.

        ``timeout`` is in seconds and bounds all of it, except queueing inside the transport.

        Raises:
            APIConnectionError: no complete answer arrived; its reason decides about another try.
            ChatloomError: none can, for the transport is closed, say. Any other exception passes
                through the call as it is.

        """
        ...

    async def aclose(self) -> None:
        """Release what it holds; idempotent."""
        ...
