"""The queue in front of a gate: who is next.

People first: a call with a deadline of some seconds leaves before those that can wait, which keep
every fourth departure.

Not here: when the next one may leave, and what its departure means (``ratelimit.schedule``).
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Container, Iterator

from attrs import define, field, frozen

_URGENT_RUN = 3  # urgent calls in a row while bulk waits, which so keeps a quarter
_FEW = 64  # calls that gave up: fewer are not worth clearing up


@frozen(eq=False, repr=False)
class WaitLimits:
    """On what terms a call waits at a gate.

    Attributes:
        give_up_at: when its deadline ends it, on the loop's clock.
        patience: seconds for which the gate may stay closed before a failed probe ends the wait.
        max_retry_after: seconds; a server that asks for more is not waited for.
        urgent: a person waits.

    """

    give_up_at: float = math.inf
    patience: float = 120.0
    max_retry_after: float = 120.0
    urgent: bool = False

    def allow(self, now: float, until: float) -> bool:
        """Tell whether to wait that long, because the server asks for it."""
        return until <= self.give_up_at and until - now <= self.max_retry_after


@define(eq=False, repr=False)
class Waiter:
    """A call that waits: for a departure, or for the error that ends its waiting."""

    resource: str
    limits: WaitLimits
    outcome: asyncio.Future[float | Exception]


@define(eq=False, repr=False)
class WaitingLine:
    """Two queues, for people and for bulk; who gives up stays in them until passed by."""

    waiting: int = 0
    announced: bool = False  # whether the log tells of it
    _urgent_waiting: int = 0
    _urgent: deque[Waiter] = field(factory=deque)
    _bulk: deque[Waiter] = field(factory=deque)
    _run: int = 0

    def add(self, waiter: Waiter, *, first: bool) -> None:
        """Queue at the end of its lane, or at its head."""
        lane = self._urgent if waiter.limits.urgent else self._bulk
        if first:
            lane.appendleft(waiter)
        else:
            lane.append(waiter)
        self._count(waiter, 1)

    def ahead(self, *, urgent: bool) -> int:
        """Return how many leave, at the least, before a call that would come in last."""
        if not urgent:
            return self.waiting
        people = self._urgent_waiting
        return people + min(people // _URGENT_RUN, self.waiting - people)

    @property
    def bulk(self) -> int:
        """How many wait that are no people."""
        return self.waiting - self._urgent_waiting

    @property
    def urgent(self) -> bool:
        """Whether a person waits, who has not given up (there is ``anyone``)."""
        return bool(self._urgent)

    def anyone(self) -> bool:
        """Tell whether somebody still waits; a cancelled one counts until its task has noticed."""
        for lane in (self._urgent, self._bulk):
            while lane and lane[0].outcome.done():
                lane.popleft()
        return bool(self._urgent or self._bulk)

    def take_probe(self, avoid: Container[str] = ()) -> Waiter:
        """Choose the call that sends the probe (there is ``anyone``).

        The one with the latest deadline, so that it is still there when the answer comes;
        preferably for a resource that is not to ``avoid``.
        """
        waiter = max(self, key=lambda one: (one.resource not in avoid, one.limits.give_up_at))
        self._count(waiter, -1)
        return waiter

    def take(self) -> Waiter:
        """Choose the next in line (there is ``anyone``)."""
        if self._urgent and (not self._bulk or self._run < _URGENT_RUN):
            self._run += 1
            waiter = self._urgent.popleft()
        else:
            self._run = 0
            waiter = self._bulk.popleft()
        self._count(waiter, -1)
        return waiter

    def settle(self, waiter: Waiter, error: Exception) -> None:
        """End the wait of one of them with an error."""
        self._count(waiter, -1)
        waiter.outcome.set_result(error)

    def forget(self, waiter: Waiter) -> bool:
        """Let a waiter give up; False if it no longer waits."""
        if not (waiter.outcome.cancel() or waiter.outcome.cancelled()):
            return False
        self._count(waiter, -1)
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

    def _count(self, waiter: Waiter, change: int) -> None:
        self.waiting += change
        if waiter.limits.urgent:
            self._urgent_waiting += change
