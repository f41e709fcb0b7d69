"""Answers kept for a while: how long, how many, and what is known of a failing API.

Here too: the records of requests under way that several calls wait for (``Flight``). Not here: how
a call uses an answer, starts a flight or joins one (``calls.cached``).
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from operator import add
from typing import TYPE_CHECKING, Any

from attrs import astuple, define, field, frozen

from chatloom_async.auth import ApiKey
from chatloom_async.errors import require_number, require_seconds, require_whole
from chatloom_async.models import as_dict, served, shown

if TYPE_CHECKING:
    from cachetools import LRUCache

Workspace = tuple[ApiKey, str]
"""A key and a base URL: nothing is shared beyond them."""

Identity = tuple[Workspace, str, str, type]
"""A workspace, a resource, the same with its query, and the model that the answer becomes."""

_PAUSE = 1.0  # seconds between two tries of an API that fails, while old answers are served
_PER_ENTRY, _PER_BYTE = 2400, 3  # bytes of memory, as tracemalloc tells of lists of agents


@frozen
class Cache:
    """How long answers are kept, and how many: ``AsyncChatloom(key, cache=Cache())``.

    Clients with an equal ``Cache`` on one pool share their answers, each key its own. Identical
    calls at the same time share one request, made with the options of the first of them; each has
    its own deadline, and tries on if its policy has more attempts. Errors are never kept. Whatever
    was not used for the longest time goes first.

    Attributes:
        ttl: seconds for which an answer is served without asking again.
        stale_if_error: seconds after that for which it is served, marked as stale, when the API
            fails or refuses by a rate limit (RFC 5861 §4).
        max_entries: how many answers are kept: a workspace has one for each agent, and one more.
        max_bytes: about how much memory they may take.

    What is no such number is a ConfigurationError.
    """

    ttl: float = 60.0
    stale_if_error: float = 300.0
    max_entries: int = 1000
    max_bytes: int = 64 * 1024 * 1024

    __repr__ = shown

    def __attrs_post_init__(self) -> None:
        require_seconds("Cache.ttl", self.ttl)
        require_number("Cache.stale_if_error", self.stale_if_error, at_least=0)
        require_whole("Cache.max_entries", self.max_entries)
        require_whole("Cache.max_bytes", self.max_bytes)


@served
@frozen(repr=False)
class CacheStatistics:
    """What caches have done so far.

    Attributes:
        hits: calls answered at once, with an answer that was young enough.
        joined: calls answered by the request of another call.
        misses: calls that made a request.
        stale: calls answered with an old answer, because the API failed or refused.
        entries: answers kept.
        size: bytes of memory that they take, about.
    """

    hits: int = 0
    joined: int = 0
    misses: int = 0
    stale: int = 0
    entries: int = 0
    size: int = 0
    to_dict = as_dict

    def plus(self, other: CacheStatistics) -> CacheStatistics:
        """Return the sums."""
        return CacheStatistics(*map(add, astuple(self), astuple(other)))


@define(eq=False, repr=False)
class KeptAnswer:
    """One answer; times are on the loop's clock."""

    size: int  # bytes of memory
    answer: Callable[[], Any]  # makes what a caller gets
    fresh_until: float
    usable_until: float
    retry_at: float = 0.0  # after it could not be renewed


@define(eq=False, repr=False)
class Flight:
    """One request that several calls wait for."""

    call: Any  # its record, a ``CallRecord``
    attempts: int  # of the client that makes it
    task: asyncio.Task[Any] = field(init=False)
    waiting: int = 0  # calls
    unattended: bool = False  # it goes on when none waits, to renew what is served meanwhile
    outdated: bool = False  # its answer must not be kept


@define(eq=False, repr=False)
class AnswerStore:
    """The answers kept for the clients with one ``Cache``, in whatever loop and thread they are.

    Flights belong to their loop, and no other touches them.
    """

    cache: Cache
    hits: int = 0
    joined: int = 0
    misses: int = 0
    stale: int = 0
    _kept: LRUCache[Identity, KeptAnswer] = field(init=False)
    _answered: LRUCache[Workspace, float] = field(init=False)  # when it last was
    _failing: LRUCache[Workspace, float] = field(init=False)  # when it may be tried again
    _lock: threading.Lock = field(factory=threading.Lock)  # cachetools has none
    _flights: dict[asyncio.AbstractEventLoop, dict[Identity, Flight]] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        from cachetools import LRUCache  # noqa: PLC0415 - a client without a cache needs none

        self._kept = LRUCache(self.cache.max_bytes, getsizeof=lambda kept: kept.size)
        self._answered = LRUCache(self.cache.max_entries)
        self._failing = LRUCache(self.cache.max_entries)

    def get(self, identity: Identity) -> KeptAnswer | None:
        """Return what is kept, of whatever age."""
        with self._lock:
            return self._kept.get(identity)

    def flights_here(self) -> dict[Identity, Flight]:
        """Return the flights of the running loop."""
        loop = asyncio.get_running_loop()
        flights = self._flights.get(loop)
        if flights is None:
            for other in list(self._flights):  # which another thread may change
                if other.is_closed():
                    self._flights.pop(other, None)
            flights = self._flights[loop] = {}
        return flights

    def land(self, identity: Identity, flight: Flight) -> None:
        """Let nobody join a flight of the running loop any more."""
        flights = self.flights_here()
        if flights.get(identity) is flight:
            flights.pop(identity, None)  # ``forget`` may have removed it, in another thread

    def answered(self, workspace: Workspace, now: float) -> None:
        """Take note that the API works."""
        with self._lock:
            self._failing.pop(workspace, None)
            self._answered[workspace] = now

    def keep(self, identity: Identity, size: int, answer: Callable[[], Any], now: float) -> None:
        """Keep an answer that came now, whose body has ``size`` bytes."""
        fresh_until = now + self.cache.ttl
        usable_until = fresh_until + self.cache.stale_if_error
        kept = KeptAnswer(_PER_ENTRY + _PER_BYTE * size, answer, fresh_until, usable_until)
        with self._lock:
            self._kept.pop(identity, None)
            if kept.size > self.cache.max_bytes:
                return
            while len(self._kept) >= self.cache.max_entries:
                self._kept.popitem()
            self._kept[identity] = kept

    def failed(self, identity: Identity, began: float, now: float) -> None:
        """Take note of a request that failed; for a while nobody need find that out again.

        Was the workspace answered meanwhile, or just before the request ``began``, then it is this
        resource alone that fails.
        """
        with self._lock:
            if self._answered.get(identity[0], -math.inf) < began - _PAUSE:
                self._failing[identity[0]] = now + _PAUSE
            kept = self._kept.get(identity)
            if kept is not None:
                kept.retry_at = now + _PAUSE

    def is_failing(self, kept: KeptAnswer, workspace: Workspace) -> bool:
        """Tell whether asking is known to be in vain: the old answer is served at once."""
        return bool(kept.retry_at) or workspace in self._failing

    def take_retry(self, kept: KeptAnswer, workspace: Workspace, now: float) -> bool:
        """Tell one call that it is to find out if the API works again; others wait a while."""
        with self._lock:
            if now < max(kept.retry_at, self._failing.get(workspace, 0.0)):
                return False
            if workspace in self._failing:
                self._failing[workspace] = now + _PAUSE
            return True

    def forget(self, workspace: Workspace, resource: str | None = None) -> None:
        """Drop the answers of a workspace, all or those of one resource; those on their way too."""

        def is_meant(identity: Identity) -> bool:
            return identity[0] == workspace and resource in (None, identity[1])

        with self._lock:
            for identity in filter(is_meant, list(self._kept)):
                del self._kept[identity]
        for flights in list(self._flights.values()):
            for identity in filter(is_meant, list(flights)):
                flight = flights.pop(identity, None)  # its loop may have removed it meanwhile
                if flight is not None:
                    flight.outdated = True

    def statistics(self) -> CacheStatistics:
        """Return a snapshot."""
        with self._lock:
            entries, size = len(self._kept), int(self._kept.currsize)
        return CacheStatistics(self.hits, self.joined, self.misses, self.stale, entries, size)
