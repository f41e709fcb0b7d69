"""A pool of connections for any number of clients, keys and event loops: sessions, their life.

Not here: one request and its answer (``network.exchange``, ``network.direct``), retries
(``calls.retry``) and pacing (``ratelimit.limiter``).
"""

from __future__ import annotations

import asyncio
import inspect
import ssl
import sys
import warnings
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NoReturn, Self

import aiohttp
from attrs import define, field

from chatloom_async.auth import ApiKey
from chatloom_async.cache import CacheStatistics
from chatloom_async.errors import (
    APIConnectionError,
    APITimeoutError,
    ChatloomError,
    ClientClosedError,
    ConfigurationError,
    require_whole,
)
from chatloom_async.events import Observer, guarded
from chatloom_async.network.bounds import Slots, Timeouts, Watch
from chatloom_async.network.connector import Connector
from chatloom_async.network.direct import MAX_FIELD, Direct, connect_seconds
from chatloom_async.network.exchange import options_for, send
from chatloom_async.network.options import (
    hooks_problem,
    proxy_problem,
    session_problem,
    tls_problem,
)
from chatloom_async.network.statistics import PoolStatistics
from chatloom_async.network.translation import by_way_of_proxy, translate, untrace
from chatloom_async.transport import Request, Response, Shared
from chatloom_async.version import __version__

# An attempt that waited so long for its answer when somebody gave it up: its connection is doubted.
_SILENT = 1.0


@define(eq=False, repr=False)
class _Connections:
    """What a pool has in one event loop."""

    session: aiohttp.ClientSession
    slots: Slots
    keeper: AsyncGenerator[None, None]
    direct: Direct | None
    options: Mapping[str, Any]  # of each request of the session
    closing: list[asyncio.Task[None]]  # what another thread's loop asked for
    timeouts: dict[float, Timeouts] = field(factory=dict)  # by their length

    def time(self, seconds: float) -> Timeouts:
        """Return what times the requests that may last so long; let go of what times none."""
        self.timeouts = {each: kept for each, kept in self.timeouts.items() if kept.in_use()}
        return self.timeouts.setdefault(seconds, Timeouts(seconds))

    def lost_kept(self) -> bool:
        """Report a lost connection to a connector of ours; return whether it was a kept one."""
        connector = self.session.connector
        return isinstance(connector, Connector) and connector.lost_kept()


@define(eq=False, slots=False)
class ConnectionPool:
    """Connections shared by any number of clients, keys and event loops.

    Made anywhere, opened by the first call, one aiohttp session per running loop. Keys travel in
    per-request headers only, cookies are never kept, redirects never followed. A copy, deep or not,
    is the pool itself: what holds one, settings say, shares it.

    Args:
        limit: requests in flight per event loop; more of them queue, which costs no timeout. Keys
            take turns, and the last tenth is for keys with few in flight, so that one key's calls
            which hang leave room for the others. As long as there has been one key only, it has
            that tenth too while its requests come back.
        proxy: URL of an HTTP proxy; the key stays inside the TLS tunnel. Plain http, which is for
            loopback only, goes past every proxy.
        ssl: a context for private certificate authorities.
        trust_env: take proxies from the environment, as aiohttp does.
        trace_configs: aiohttp's hooks, for example OpenTelemetry's; they see headers, so the key.
        observer: a function that is told of calls, attempts and rate limiters (``events``). What it
            raises is logged once and harms no call.
        direct: send what can be sent without aiohttp's session, at half the cost; it is off by
            itself beside a proxy, ``trust_env``, hooks or a session that is brought, and where this
            aiohttp is not as it should be. False: everything through the session.
        session: bring your own aiohttp session, made with ``cookie_jar=aiohttp.DummyCookieJar()``;
            you close it, it works on its loop only, its own middlewares do not run, and which of
            its connections are sound is its connector's business. Its headers hold no credentials.

    Raises:
        ConfigurationError: an option is of another kind, the limit less than 1, or a session
            comes with options that belong to making one, or would mix cookies or credentials of
            its own into requests.

    """

    limit: int = 100
    proxy: str | None = field(default=None, kw_only=True, repr=False)
    ssl: ssl.SSLContext | None = field(default=None, kw_only=True, repr=False)
    trust_env: bool = field(default=False, kw_only=True)
    trace_configs: Sequence[aiohttp.TraceConfig] = field(default=(), kw_only=True, repr=False)
    session: aiohttp.ClientSession | None = field(default=None, kw_only=True, repr=False)
    observer: Observer | None = field(default=None, kw_only=True, repr=False)
    direct: bool = field(default=True, kw_only=True, repr=False)
    shared: Shared = field(init=False, repr=False)
    closed: bool = field(default=False, init=False)
    _by_loop: dict[asyncio.AbstractEventLoop, _Connections] = field(
        factory=dict, init=False, repr=False
    )
    _made_at: str = field(init=False, repr=False)
    _used: bool = field(default=False, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        """Refuse what cannot work; nothing is opened."""
        require_whole("ConnectionPool.limit", self.limit)
        problem = (
            proxy_problem(self.proxy)
            or tls_problem(self.ssl)
            or hooks_problem(self.trace_configs)
            or session_problem(self.session)
        )
        if problem is not None:
            raise ConfigurationError(problem)
        if self.session is not None and (self.ssl or self.trust_env or self.trace_configs):
            raise ConfigurationError(
                "ssl, trust_env and trace_configs belong to the session you bring: set them there"
            )
        observer = self.observer
        if observer is not None and (
            not callable(observer) or inspect.iscoroutinefunction(observer)
        ):
            raise ConfigurationError(
                "ConnectionPool.observer is a function of one event, and not an async one"
            )
        self.shared = Shared(notify=None if self.observer is None else guarded(self.observer))
        self._made_at = _made_here()

    @property
    def opened(self) -> int:
        """How many connections this pool has opened on the running loop so far; 0 without one."""
        try:
            connections = self._by_loop.get(asyncio.get_running_loop())
        except RuntimeError:  # as a debugger meets that shows attributes
            return 0
        connector = None if connections is None else connections.session.connector
        return connector.opened if isinstance(connector, Connector) else 0

    def stats(self) -> PoolStatistics:
        """Return a snapshot; it may be asked for from anywhere, and costs no request."""
        opened = requests = queued = 0
        for connections in list(self._by_loop.values()):
            connector, slots = connections.session.connector, connections.slots
            opened += connector.count() if isinstance(connector, Connector) else slots.taken()
            requests += slots.taken()
            queued += slots.queued()
        shared, cache = self.shared, CacheStatistics()
        for store in list(shared.caches.values()):
            cache = cache.plus(store.statistics())
        return PoolStatistics(
            opened,
            max(0, opened - requests),
            requests,
            queued,
            len(shared.in_flight),
            shared.limiters.statistics(),
            cache,
        )

    async def exchange(self, request: Request, key: ApiKey, timeout: float) -> Response:
        """Make exactly one request and return its whole answer.

        Args:
            request: what to send.
            key: sent in its header.
            timeout: seconds from connecting to the last byte; waiting for a slot is not counted.

        Raises:
            APIConnectionError: no complete answer arrived.
            ClientClosedError: the pool, or the session it was given, is closed.
            ConfigurationError: the session belongs to another loop, or netrc interferes.
            RuntimeError: it was called outside a task.

        """
        connections = self._by_loop.get(asyncio.get_running_loop()) or await self._open()
        tenant = key.fingerprint
        if not connections.slots.take(tenant):
            await connections.slots.wait(tenant)
        try:
            timeouts = connections.timeouts.get(timeout) or connections.time(timeout)
            watch = timeouts.start()
            try:
                direct = connections.direct
                if direct is not None and direct.takes(request):
                    return await direct.send(request, key, timeout)
                return await send(connections.session, request, key, timeout, connections.options)
            except BaseException as error:  # noqa: BLE001 - raised below
                problem = self._problem(error, connections, watch, request)
            finally:
                timeouts.end(watch)
        finally:
            connections.slots.release(tenant)
        try:
            raise problem  # out here, where nothing of aiohttp becomes its context
        finally:
            del problem, watch  # the traceback holds this frame, and the watch its task

    def _problem(
        self, error: BaseException, connections: _Connections, watch: Watch, request: Request
    ) -> BaseException:
        """Return what to raise for an error of ``send``, rid of aiohttp's: they hold the key."""
        trust_env, url = (self.session or self).trust_env, request.base_url
        found: ChatloomError | None = None
        if isinstance(error, asyncio.CancelledError):
            expired = watch.expired()
            if expired or watch.lasted() >= _SILENT:
                connections.lost_kept()
            if expired:
                found = APITimeoutError(f"no complete answer within {watch.seconds:g} s")
        elif isinstance(error, ChatloomError):
            found = error
        else:
            found = translate(error, url, connect_seconds(watch.seconds), trust_env=trust_env)
            untrace(error)
        ended = found is not None or isinstance(error, RuntimeError)  # as a closed session raises
        if ended and self.closed:
            return ClientClosedError("the connection pool was closed")
        if ended and self.session is not None and self.session.closed:
            return ClientClosedError("the aiohttp session you brought is closed")
        if isinstance(found, APIConnectionError):
            if found.reason == "disconnected" and connections.lost_kept():
                found.reason = "stale"
            if self.proxy or trust_env:
                found = by_way_of_proxy(found, url, self.proxy, trust_env=trust_env)
        # Else it is a cancellation, or what a trace hook raised: itself, without where it has been.
        problem = error if found is None else found
        problem.__cause__ = problem.__context__ = None
        return problem.with_traceback(None)

    async def _open(self) -> _Connections:
        if self.closed:
            raise ClientClosedError("the connection pool is closed")
        here = asyncio.get_running_loop()
        # aiohttp tells a session's loop nowhere else, but with a DeprecationWarning.
        if self.session is not None and (
            self._by_loop or getattr(self.session, "_loop", here) is not here
        ):
            raise ConfigurationError(
                "a session you bring works on one event loop; let the pool make it"
            )
        for loop in list(self._by_loop):  # which another thread's loop may change
            if loop.is_closed():
                self._by_loop.pop(loop, None)
        self.shared.in_flight.forget_lost()
        session = self.session or aiohttp.ClientSession(
            connector=Connector(self.ssl),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=self.trust_env,
            trace_configs=list(self.trace_configs),
            max_field_size=MAX_FIELD,
            headers={"Accept": "application/json", "User-Agent": _USER_AGENT},
        )
        # asyncio.run ends a loop's asynchronous generators: that closes the session in time.
        closing: list[asyncio.Task[None]] = []
        keeper = _keep(session, closing, ours=self.session is None)
        slots = Slots(_places(self.limit, session.connector))
        direct = Direct.of(session) if self.direct and self.proxy is None else None
        plain = self.session is None and self.proxy is None and not self.trust_env
        options = options_for(session, self.proxy, plain=plain)
        connections = _Connections(session, slots, keeper, direct, options, closing)
        self._by_loop[here] = connections
        self._used = True
        await anext(keeper)
        if self.closed:  # by another thread's loop, which may not have met these
            await self._close(connections)
            raise ClientClosedError("the connection pool was closed")
        return connections

    async def aclose(self) -> None:
        """End the calls in flight and close what the pool opened; idempotent.

        What a cancelled ``aclose`` left open, the next one closes.

        The calls of all its clients raise ``ClientClosedError``, those in flight and later ones.

        A loop that runs in another thread closes its own connections. So does one that stands
        still, in its ``shutdown_asyncgens``, which ``asyncio.run`` and ``asyncio.Runner`` see to.
        """
        here = asyncio.get_running_loop()
        if not self.closed:
            self.closed = True
            self.shared.in_flight.end()
            for loop, connections in list(self._by_loop.items()):
                if loop is not here and loop.is_running():
                    with suppress(RuntimeError):  # it has ended since, and its connections with it
                        loop.call_soon_threadsafe(self._close_soon, loop, connections)
        await self._close(self._by_loop.get(here))

    def _close_soon(self, loop: asyncio.AbstractEventLoop, connections: _Connections) -> None:
        """Close what belongs to the running loop, which goes on with other things."""
        connections.closing.append(loop.create_task(self._close(connections)))

    async def _close(self, connections: _Connections | None) -> None:
        """Close what belongs to the running loop."""
        try:
            await self.shared.limiters.aclose()
        finally:
            if connections is not None:
                if connections.direct is not None:
                    connections.direct.release()
                if self.session is None:  # here: a loop that ends refuses a keeper that waits
                    await connections.session.close()
                with suppress(RuntimeError):  # the loop ends, and closes it at this moment
                    await connections.keeper.aclose()

    def __copy__(self) -> Self:
        """Return the pool itself: connections cannot be doubled."""
        return self

    def __deepcopy__(self, _: object) -> Self:
        """Return the pool itself: connections cannot be doubled."""
        return self

    def __reduce__(self) -> NoReturn:
        """Refuse: connections do not travel."""
        raise TypeError("a ConnectionPool is not pickled; make one in each process")

    async def __aenter__(self) -> Self:
        """Return the pool; the first call opens it."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self.aclose()

    def __del__(self) -> None:
        """Warn about a pool that was opened and forgotten."""
        by_loop = getattr(self, "_by_loop", None)  # missing when the constructor refused
        if by_loop is not None and not self.closed and self.session is None and self._used:
            warnings.warn(
                f"the ConnectionPool made at {self._made_at} was never closed: "
                "use it with 'async with', or await its aclose()",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )


def _places(limit: int, connector: aiohttp.BaseConnector | None) -> int:
    """Return how many requests find a connection without queueing in aiohttp (0: no bound).

    Time in its queue would count against the timeout; time in ours does not.
    """
    bounds = () if connector is None else (connector.limit, connector.limit_per_host)
    return min([limit, *filter(None, bounds)])


async def _keep(
    session: aiohttp.ClientSession, closing: list[asyncio.Task[None]], *, ours: bool
) -> AsyncGenerator[None, None]:
    """Hold a session until the pool or its loop ends, and then its loop until it is closed."""
    try:
        yield
    finally:
        if ours:
            await session.close()
        if others := {*closing} - {asyncio.current_task()}:
            await asyncio.wait(others)


def _made_here() -> str:
    """Return file and line of the first frame outside this package and its generated code."""
    frame = inspect.currentframe()
    package = __name__.partition(".")[0]
    while frame is not None and (
        frame.f_code.co_filename.startswith("<attrs ")
        or frame.f_globals.get("__name__", "").partition(".")[0] == package
    ):
        frame = frame.f_back
    return "unknown" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


_USER_AGENT = (
    f"chatloom-async/{__version__} aiohttp/{aiohttp.__version__} "
    f"python/{sys.version_info.major}.{sys.version_info.minor}"
)
