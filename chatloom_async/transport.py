"""The seam between calls and what carries them: a request, its whole answer, and the time.

``ConnectionPool`` (``network``) is the transport of an application, ``StubTransport``
(``testing``) the one of a test. Here too: what all clients of one transport share (``Shared``),
how closing ends their calls (``InFlight``), and what rings at a deadline (``Alarm``). Not here: how
a request is built and checked (``calls.request``), and what becomes of an answer (``calls.call``).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from enum import Enum
from itertools import count
from operator import attrgetter
from typing import Protocol
from weakref import WeakValueDictionary

from attrs import Factory, define, field

from chatloom_async.auth import ApiKey
from chatloom_async.cache import AnswerStore, Cache, Workspace
from chatloom_async.events import Observer
from chatloom_async.models import shown
from chatloom_async.ratelimit.registry import LimiterRegistry

LATE = 0.02  # seconds: a timer later than this was held up by a blocked loop
_MOST_CACHES = 16  # per pool; a time to live drawn for each client would make one for each
_GRACE = 0.1  # seconds: time enough to read what lies in the sockets of a hundred requests


class Ending(Enum):
    """Why a call is ended from outside."""

    CLOSED = "its client or its pool was closed"
    DEADLINE = "its deadline came"


class UnderWay(Protocol):
    """What closing needs of a call: its task, the client that makes it, and how it is ended."""

    task: asyncio.Task[object] | None
    owner: object

    def end(self, ending: Ending) -> None:
        """Cancel the call, unless it is over or was ended before."""
        ...


@define(eq=False, repr=False)
class InFlight:
    """The calls of one pool. A call adds itself to ``calls``, and leaves in a ``finally``.

    A flight (``calls.cached``) that calls wait for is not among them, they are.
    Only the loop that runs a call touches its entry, so that loops in several threads may share it.
    """

    calls: set[UnderWay] = field(factory=set)

    def __len__(self) -> int:
        return len(self.calls)

    def end(self, owner: object | None = None) -> None:
        """Cancel the calls of one client, or all."""
        for call in self.calls.copy():
            task = call.task  # once: the call may end meanwhile, in another thread
            if task is None or not (owner is None or call.owner is owner):
                continue
            with suppress(RuntimeError):  # its loop is closed, maybe at this moment
                task.get_loop().call_soon_threadsafe(call.end, Ending.CLOSED)

    def forget_lost(self) -> None:
        """Let go of calls whose loop was closed under them: each would keep its sockets open."""
        for call in self.calls.copy():
            task = call.task
            if task is not None and task.get_loop().is_closed():
                self.calls.discard(call)


class Clock(Protocol):
    """What a client asks of time beside the running loop, whose ``time`` all waits go by."""

    def wall(self) -> float:
        """Return seconds since the epoch, to compare with an HTTP-date."""
        ...


class SystemClock:
    """The real time."""

    def wall(self) -> float:
        """Return ``time.time()``."""
        return time.time()


@define(eq=False, repr=False)
class Alarm:
    """Calls back at a time, on the running loop's clock.

    A loop that was blocked beyond that time finds the timer due and the sockets unread. The alarm
    then waits a moment longer, once, so that an answer which has arrived is read before anybody
    judges that there is none.
    """

    at: float
    callback: Callable[[], None]
    _timer: asyncio.TimerHandle = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._timer = asyncio.get_running_loop().call_at(self.at, self._due)

    def _due(self) -> None:
        loop = asyncio.get_running_loop()
        late = loop.time() - self.at
        if late > LATE:
            self._timer = loop.call_later(min(late, _GRACE), self.callback)
        else:
            self.callback()

    def cancel(self) -> None:
        """Call back no more."""
        self._timer.cancel()


MAX_ERROR_BODY = 64 * 1024
QUEUED = "the request waited for a free connection and was never sent"
"""The note on a ``CancelledError`` of an exchange that was cancelled while it queued."""


@define(eq=False)
class Request:
    """One request, checked and encoded (``calls.request`` makes it); nobody changes it.

    Attributes:
        method: the HTTP method.
        base_url: scheme, host, maybe a port and a path, without a slash at the end.
        route: the path with the names of its values: ``/api/plugin/agents/{agent_id}``.
        resource: the path with its values encoded, without query: what outages and caches go by.
        target: the path and the encoded query, below the base URL.
        body: JSON as bytes; None if there is none.
        repeatable: whether it may be sent again when an earlier one may have arrived.
    """

    method: str
    base_url: str
    route: str
    resource: str
    target: str = field(default=Factory(attrgetter("resource"), takes_self=True))
    body: bytes | None = None
    repeatable: bool = True

    __repr__ = shown

    @property
    def url(self) -> str:
        """The whole URL, encoded."""
        return self.base_url + self.target


@define(eq=False, repr=False)
class Response:
    """A complete answer; header names are matched without regard to case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@define(eq=False, repr=False)
class Shared:
    """What the clients of one transport have in common.

    Attributes:
        clock: the time of day.
        notify: the observer, guarded; None costs nothing.
        limiters: the rate limiters, one per base URL, key, limit and loop.
        caches: the answers kept, for each ``Cache``; at most 16, those that have served the most.
        in_flight: the calls under way.
        numbers: by which observers know calls, of which one may hear of several pools.
    """

    clock: Clock = field(factory=SystemClock)
    notify: Observer | None = None
    limiters: LimiterRegistry = field(
        default=Factory(lambda self: LimiterRegistry(self.notify), takes_self=True)
    )
    caches: dict[Cache, AnswerStore] = field(factory=dict)
    # By their ids, with those that went: the clients that have one go on with it.
    _stores: WeakValueDictionary[int, AnswerStore] = field(factory=WeakValueDictionary)
    in_flight: InFlight = field(factory=InFlight)
    numbers: Iterator[int] = field(factory=lambda: count(random.getrandbits(20) << 32))

    def answers(self, cache: Cache) -> AnswerStore:
        """Return the answers kept for the clients with this cache."""
        store = self.caches.get(cache)
        if store is None:
            if len(self.caches) >= _MOST_CACHES:
                least = min(self.caches.copy().items(), key=lambda kept: kept[1].hits)
                self.caches.pop(least[0], None)
            store = self.caches.setdefault(cache, AnswerStore(cache))
            self._stores[id(store)] = store
        return store

    def forget(self, workspace: Workspace, resource: str | None = None) -> None:
        """Drop what all caches keep of a workspace, or of one resource of it."""
        for store in [ref() for ref in self._stores.valuerefs()]:
            if store is not None:
                store.forget(workspace, resource)


class Transport(Protocol):
    """What a client needs below it: ``ConnectionPool``, or a script of replies in tests."""

    shared: Shared

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        ...

    async def exchange(self, request: Request, key: ApiKey, timeout: float) -> Response:
        """Make exactly one request and return the whole answer, whatever its status.

        ``timeout`` is in seconds and bounds all of it, except queueing inside the transport.

        Raises:
            APIConnectionError: no complete answer arrived; its reason decides about another try.
            CancelledError: with the note ``QUEUED`` if it was cancelled while it queued.
            ChatloomError: no request can be made: the transport is closed, for example.

        Any other exception passes through the call as it is.
        """
        ...

    async def aclose(self) -> None:
        """Release what it holds; idempotent."""
        ...
