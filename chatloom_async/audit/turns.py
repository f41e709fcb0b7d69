"""Turns: how many calls of many keys are under way at once, counting only those that get on.

A call which waits for its own key's sake (at a closed or paced gate, or backing off) gives its turn
to somebody else at once or within a second, and needs none to go on. Turns so keep slow keys from
holding others up; they are no bound of the requests in flight, which is the connection pool's.
"""

from __future__ import annotations

import asyncio

from attrs import define, field

from chatloom_async.client import AsyncChatloom
from chatloom_async.network.slots import Slots
from chatloom_async.ratelimit.values import LimiterStatistics

_LONG = 1.0  # seconds after which a call's turn is looked at again


@define(eq=False)
class Turn:
    """One call's turn, until it ends or is found waiting."""

    client: AsyncChatloom
    until: float


@define(eq=False)
class Turns:
    """The turns of one event loop, first come, first served.

    ::

        await turns.wait()
        turn = turns.begin(client)  # followed by the call, with no await between
        ...
        turns.end(turn)
    """

    slots: Slots
    _held: dict[Turn, None] = field(factory=dict, init=False)  # in the order of ``until``
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)

    async def wait(self) -> None:
        """Wait until one more call may begin."""
        if not self.slots.take():
            await self.slots.wait()

    def begin(self, client: AsyncChatloom) -> Turn:
        """Note the call which the running task makes next."""
        loop = asyncio.get_running_loop()
        turn = Turn(client, loop.time() + _LONG)
        self._held[turn] = None
        loop.call_soon(self._see_if_waiting, turn)  # runs when the call has come to its first await
        if self._timer is None:
            self._timer = loop.call_at(turn.until, self._see_if_stuck)
        return turn

    def end(self, turn: Turn) -> None:
        """Give the turn back, unless it was taken away meanwhile."""
        if turn in self._held:
            del self._held[turn]
            self.slots.release()

    def close(self) -> None:
        """Take the timer back."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _see_if_waiting(self, turn: Turn) -> None:
        limiter = _limiter(turn)
        if limiter is not None and limiter.waiting:
            self.end(turn)

    def _see_if_stuck(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._held:
            turn = next(iter(self._held))
            if turn.until > now:
                self._timer = loop.call_at(turn.until, self._see_if_stuck)
                return
            limiter = _limiter(turn)
            if limiter is not None and limiter.in_flight:
                del self._held[turn]
                turn.until = now + _LONG
                self._held[turn] = None
            else:
                self.end(turn)


def _limiter(turn: Turn) -> LimiterStatistics | None:
    return turn.client.stats().limiter
