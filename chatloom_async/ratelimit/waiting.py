"""The queue in front of a gate: who is next, and the timer that lets it go on.

People first: a call with a deadline of some seconds leaves before those that can wait, which keep
every fourth departure.

Not here: when the next one may leave, and what its departure means (``ratelimit.schedule``).
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable, Container, Iterator

from attrs import define, field, frozen

_BLOCKED, _GRACE = 0.05, 0.02  # seconds: so late a timer is only in a loop that was held up
_TOLERANCE = 1e-6  # seconds: a timer for a shorter wait would spin
_URGENT_RUN = 3  # urgent calls in a row while bulk waits, which so keeps a quarter


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
    """Two queues, for people and for bulk.

    A call that was cancelled counts until its task has noticed.

    Attributes:
        announced: whether the log tells of it.

    """

    announced: bool = False
    _urgent: OrderedDict[Waiter, None] = field(factory=OrderedDict)
    _bulk: OrderedDict[Waiter, None] = field(factory=OrderedDict)
    _run: int = 0  # urgent calls in a row

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._urgent) + len(self._bulk)

    @property
    def bulk(self) -> int:
        """How many wait that are no people."""
        return len(self._bulk)

    @property
    def urgent(self) -> bool:
        """Whether a person waits (there is ``anyone``)."""
        return bool(self._urgent)

    def add(self, waiter: Waiter, *, first: bool) -> None:
        """Queue at the end of its lane, or at its head."""
        lane = self._lane(waiter)
        lane[waiter] = None
        if first:
            lane.move_to_end(waiter, last=False)

    def ahead(self, *, urgent: bool) -> int:
        """Return how many leave, at the least, before a call that would come in last."""
        if not urgent:
            return self.waiting
        people = len(self._urgent)
        return people + min(people // _URGENT_RUN, len(self._bulk))

    def anyone(self) -> bool:
        """Drop cancelled ones from the heads of the lanes; tell whether somebody still waits."""
        for lane in (self._urgent, self._bulk):
            while lane and next(iter(lane)).outcome.done():
                lane.popitem(last=False)
        return bool(self._urgent or self._bulk)

    def take_probe(self, avoid: Container[str] = ()) -> Waiter:
        """Choose the call that sends the probe (there is ``anyone``).

        The one with the latest deadline, so that it is still there when the answer comes;
        preferably for a resource that is not to ``avoid``.
        """
        waiter = max(self, key=lambda one: (one.resource not in avoid, one.limits.give_up_at))
        del self._lane(waiter)[waiter]
        return waiter

    def take(self) -> Waiter:
        """Choose the next in line (there is ``anyone``)."""
        urgent = bool(self._urgent) and (not self._bulk or self._run < _URGENT_RUN)
        self._run = self._run + 1 if urgent else 0
        return (self._urgent if urgent else self._bulk).popitem(last=False)[0]

    def settle(self, waiter: Waiter, error: Exception) -> None:
        """End the wait of one of them with an error."""
        del self._lane(waiter)[waiter]
        waiter.outcome.set_result(error)

    def forget(self, waiter: Waiter) -> bool:
        """Let a waiter give up; False if it no longer waits."""
        if not (waiter.outcome.cancel() or waiter.outcome.cancelled()):
            return False
        self._lane(waiter).pop(waiter, None)
        return True

    def __iter__(self) -> Iterator[Waiter]:
        """Go through those who wait now, urgent ones first."""
        return iter([one for one in (*self._urgent, *self._bulk) if not one.outcome.done()])

    def _lane(self, waiter: Waiter) -> OrderedDict[Waiter, None]:
        return self._urgent if waiter.limits.urgent else self._bulk


@define(eq=False, repr=False)
class Timer:
    """The one moment at which a gate goes on; another one takes its place.

    Where it is late, because something held up the loop, answers that came meanwhile are read
    first.

    Attributes:
        due: the moment; infinity: there is none.

    """

    loop: asyncio.AbstractEventLoop
    due: float = math.inf
    _handle: asyncio.TimerHandle | None = None

    def set(self, due: float, callback: Callable[[], None]) -> None:
        """Call back at that time, once, and not at the time set before; at infinity never."""
        if due == self.due:
            return
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self.due = max(due, self.loop.time() + _TOLERANCE)
        if due < math.inf:
            self._handle = self.loop.call_at(self.due, self._call_back, callback)

    def _call_back(self, callback: Callable[[], None], latest: float = _BLOCKED) -> None:
        now = self.loop.time()
        if now - self.due > latest:
            self.due = now + _GRACE
            self._handle = self.loop.call_at(self.due, self._call_back, callback, math.inf)
            return
        self.due, self._handle = math.inf, None
        callback()
