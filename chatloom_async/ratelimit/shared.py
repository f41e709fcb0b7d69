"""One limit over several processes: what a limiter asks a store that all of them share.

A store keeps, under a name that stands for a key, how much of the ceiling is used and until when
the key is closed. What one process learned about the server stays its own. Not here: the stores
(``ratelimit.shared_file``, and ``contrib.redis`` for several machines) and what they promise
(``ratelimit.values``).
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import secrets
from collections.abc import Callable, Coroutine

from attrs import define, evolve

from chatloom_async.errors import ConfigurationError, RateLimitError
from chatloom_async.ratelimit.values import Grant, RateLimit, SharedStore
from chatloom_async.ratelimit.waiting import WaitLimits

_log = logging.getLogger("chatloom_async")

PROBE = 2.0  # seconds in which nobody else probes
_RETRY = 1.0  # seconds between attempts to reach a store that failed
_OVERDUE = 1.0  # seconds: a store that has not answered by then fails
_FRESH = 1.0  # seconds, or one turn, in which a granted departure is used without asking again
_REST, _LONGEST = 2, 1.0  # turns for which who owes others stays away, and seconds at most
_SOONEST = 0.01  # seconds after which a store is asked again that grants nothing
_AT_ONCE = 4  # departures asked for together: with more, one process would take a whole burst
# A process id alone may be that of a process in another container, which has the same store.
_CONTAINER = secrets.randbits(31)


def this_process() -> int:
    """Return a number of this process alone, of 63 bits; a forked one has its own."""
    return _CONTAINER << 32 | os.getpid()


@define(eq=False, repr=False)
class SharedTurns:
    """What a store lets one limiter do; ``go_on`` is called when it has answered.

    While the store fails, the limiter keeps its share: the limit divided by the processes that the
    store knew last, or all of it where the store has never answered. One warning tells of it, and
    no call fails for it; the store is tried again every second.

    The burst goes to whoever asks first. A process that got more of it than its share stays away
    for some turns, as long as others ask too: then all get the same in the end.
    """

    store: SharedStore
    name: str
    limit: RateLimit
    go_on: Callable[[], None]
    _granted: int = 0
    _granted_at: float = -math.inf
    _probe_since: float = math.inf  # since when a departure is the probe
    _opens_at: float = -math.inf  # when the next may leave, as the store told last
    _closed_since: float | None = None  # since when it says that the key is closed
    _early: float = 0.0  # so many departures did not have to wait: of the burst
    _rests_until: float = -math.inf  # for what it owes others
    _asking: asyncio.Task[None] | None = None
    _news: Callable[[], Coroutine[None, None, None]] | None = None  # what to tell the store
    _telling: asyncio.Task[None] | None = None
    _processes: int = 1
    _failed_at: float = -math.inf
    _used_until: float = -math.inf  # of the share, while the store fails
    _warned: bool = False

    def take(self, waiting: int) -> bool:
        """Use a departure that is granted; else ask for as many as wait, and return False."""
        loop = asyncio.get_running_loop()
        fresh = loop.time() <= self._granted_at + max(_FRESH, self.limit.interval)
        if self._granted and fresh:
            self._granted -= 1
            return True
        if self._asking is None:
            if not fresh:  # nobody asked: that tries no one's patience
                self._closed_since = None
            self._asking = loop.create_task(self._ask(waiting))
            self._asking.add_done_callback(self._end_asking)
        return False

    def opens_in(self, now: float) -> float:
        """Return in how many seconds the next one may leave, as the store told; 0: who knows."""
        return max(0.0, self._opens_at - now)

    def refusal(self, limits: WaitLimits, left: float) -> RateLimitError | None:
        """Return the error of a call that would not wait so long for a closed key, if it is one.

        ``left``: seconds until its deadline.
        """
        now, since = asyncio.get_running_loop().time(), self._closed_since
        wait = self.opens_in(now)
        if not wait or since is None:
            return None
        if wait <= min(left, limits.max_retry_after) and now - since < limits.patience + PROBE:
            return None
        return RateLimitError(
            429, f"not sent: closed for all processes, for about {wait:.1f} s", retry_after=wait
        )

    def closed(self, seconds: float) -> None:
        """Close the key for all processes: the server refused, or fails."""
        self._granted, self._probe_since = 0, math.inf
        self._tell(lambda: self.store.close(self.name, seconds))

    def answered(self, departure: float, *, opened: bool) -> None:
        """Open the key for all processes, if this answer was a probe's or ``opened`` the gate."""
        if opened or departure >= self._probe_since:
            self._closed_since, self._probe_since = None, math.inf
            self._tell(lambda: self.store.open(self.name))

    async def aclose(self) -> None:
        """End what is asked; what the store is being told has its time."""
        if self._asking is not None:
            self._asking.cancel()
        under_way = set(filter(None, [self._telling, self._asking]))
        if under_way:
            await asyncio.wait(under_way, timeout=_OVERDUE)

    async def _ask(self, waiting: int) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() < self._rests_until:
            await asyncio.sleep(self._rests_until - loop.time())
        grant = await self._grant(min(waiting, _AT_ONCE))
        count = grant.count
        self._share(grant, loop.time())
        while grant.wait > 0:
            self._opens_at = loop.time() + grant.wait
            if not grant.count and self._closed_since is None:
                self._closed_since = loop.time()
            loop.call_soon(self.go_on)  # not within ``take``, where tasks are eager
            await asyncio.sleep(grant.wait)
            if not count or grant.probe:  # the key is closed to all but its probe
                break
            # The departure is reserved; but the key may have been closed meanwhile.
            grant = await self._grant(0)
        self._granted, self._granted_at = count, loop.time()
        if grant.probe:
            self._probe_since = self._granted_at
        elif count:
            self._closed_since = None

    def _share(self, grant: Grant, now: float) -> None:
        """Rest after this departure, if the process owes others some of the burst."""
        burst, interval = self.limit.burst, self.limit.interval
        if not grant.wait:
            self._early = min(self._early + grant.count, burst)
        elif grant.count and self._early * grant.wait > burst * interval:  # each waits for one turn
            rest = min(_REST * grant.wait, _LONGEST)
            self._rests_until = now + grant.wait + rest
            self._early -= rest / grant.wait

    def _end_asking(self, asking: asyncio.Task[None]) -> None:
        self._asking = None
        if asking.cancelled():  # by something inside the store, perhaps: whoever waits goes on
            self._failed_at = asking.get_loop().time()
        self.go_on()

    async def _grant(self, wanted: int) -> Grant:
        """Ask the store, or the local share while it fails."""
        loop = asyncio.get_running_loop()
        if loop.time() >= self._failed_at + _RETRY:
            try:
                async with asyncio.timeout(_OVERDUE):
                    grant = await self.store.take(self.name, self.limit, wanted)
                _check(grant)
            except Exception as error:  # noqa: BLE001 - whatever the store raises
                self._fail(error, loop.time())
            else:
                self._processes = grant.processes
                if self._warned:
                    self._warned = False
                    _log.info("the shared rate limit is back")
                wait = max(grant.wait, 0.0 if grant.count or not wanted else _SOONEST)
                return evolve(grant, wait=wait)
        if not (self.limit.interval and wanted):
            return Grant(wanted)
        # A burst each would be one for every process: the share begins without one.
        now = loop.time()
        leaves = max(now, self._used_until)
        self._used_until = leaves + self.limit.interval * self._processes
        return Grant(1, leaves - now)

    def _tell(self, news: Callable[[], Coroutine[None, None, None]]) -> None:
        """Tell the store, one thing after the other; what is out of date by then is left out."""
        self._news = news
        if self._telling is None or self._telling.done():
            self._telling = asyncio.get_running_loop().create_task(self._tell_all())

    async def _tell_all(self) -> None:
        while (news := self._news) is not None:
            self._news = None
            try:
                async with asyncio.timeout(_OVERDUE):
                    await news()
            except Exception as error:  # noqa: BLE001 - whatever the store raises
                self._fail(error, asyncio.get_running_loop().time())

    def _fail(self, error: Exception, now: float) -> None:
        self._failed_at = now
        if not self._warned:
            self._warned = True
            _log.warning(
                "the shared rate limit fails (%s): this process keeps 1/%d of it until it is back",
                error if isinstance(error, ConfigurationError) else type(error).__name__,
                self._processes,
            )


def _check(grant: Grant) -> None:
    """Refuse what would never let a request leave, or all of them."""
    meant = isinstance(grant, Grant) and grant.count >= 0 and grant.processes >= 1
    if not (meant and 0 <= grant.wait < math.inf):
        raise TypeError("take() of the store returns a Grant, its figures finite and not negative")
