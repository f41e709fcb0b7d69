"""The queue in front of a gate: who is next.

Not here: when the next one may leave, and what its departure means (``ratelimit``).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Container, Iterator

from attrs import define, field

from chatloom_async.ratelimit.values import WaitLimits

_URGENT_RUN = (
    3  # urgent calls in a row while bulk waits, which so keeps a quarter of the departures
)
_FEW = 64  # not worth clearing up


@define(eq=False)
class Waiter:
    """A call that waits: for a departure, or for the error that ends its waiting."""

    path: str
    terms: WaitLimits
    outcome: asyncio.Future[float | Exception]


@define(eq=False)
class WaitingLine:
    """Two queues, for people and for bulk; who gives up stays in them until passed by."""

    waiting: int = 0
    _urgent: deque[Waiter] = field(factory=deque)
    _bulk: deque[Waiter] = field(factory=deque)
    _run: int = 0

    def add(self, waiter: Waiter, *, urgent: bool, first: bool) -> None:
        """Queue at the end of a lane, or at its head."""
        lane = self._urgent if urgent else self._bulk
        if first:
            lane.appendleft(waiter)
        else:
            lane.append(waiter)
        self.waiting += 1

    def ahead(self, *, urgent: bool) -> int:
        """Return how many leave, at the least, before a call that would come in last."""
        if not urgent:
            return self.waiting
        people = len(self._urgent)
        return people + (people // _URGENT_RUN if self._bulk else 0)

    def anyone(self) -> bool:
        """Tell whether somebody still waits; a cancelled one counts until its task has noticed."""
        for lane in (self._urgent, self._bulk):
            while lane and lane[0].outcome.done():
                lane.popleft()
        return bool(self._urgent or self._bulk)

    def take_probe(self, avoid: Container[str] = ()) -> Waiter:
        """Remove who can wait longest for an answer; one not to ``avoid``, if there is.

        The next in line may be about to give up: its probe would be lost, and so on with the next.
        """
        self.waiting -= 1
        return max(self, key=lambda waiter: (waiter.path not in avoid, waiter.terms.give_up_at))

    def take(self) -> Waiter:
        """Remove the next in line (there is ``anyone``)."""
        self.waiting -= 1
        if self._urgent and (not self._bulk or self._run < _URGENT_RUN):
            self._run += 1
            return self._urgent.popleft()
        self._run = 0
        return self._bulk.popleft()

    def settle(self, waiter: Waiter, error: Exception) -> None:
        """End the wait of one of them with an error."""
        self.waiting -= 1
        waiter.outcome.set_result(error)

    def forget(self, waiter: Waiter) -> bool:
        """Let a waiter give up; False if it no longer waits."""
        if not (waiter.outcome.cancel() or waiter.outcome.cancelled()):
            return False
        self.waiting -= 1
        if len(self._urgent) + len(self._bulk) > 2 * self.waiting + _FEW:
            for lane in (self._urgent, self._bulk):
                alive = [other for other in lane if not other.outcome.done()]
                lane.clear()
                lane.extend(alive)
        return True

    def __iter__(self) -> Iterator[Waiter]:
        """Go through those who wait, urgent ones first."""
        for lane in (self._urgent, self._bulk):
            yield from (waiter for waiter in lane if not waiter.outcome.done())
