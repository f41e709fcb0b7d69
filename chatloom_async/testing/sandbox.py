"""Sandbox: the API served locally on real sockets, with faults, quotas and counters.

Here are its life and its handles. What a request gets is decided in ``tenants``.
"""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Generator, Iterable
from contextlib import contextmanager
from ssl import SSLContext
from threading import Lock, Thread
from typing import Self

from aiohttp import web

from chatloom_async.testing import api
from chatloom_async.testing.delivery import Delivery
from chatloom_async.testing.faults import Fault, PlantedFault
from chatloom_async.testing.quota import AppliedQuota, Quota
from chatloom_async.testing.records import Ledger, RecordedRequest, redacted
from chatloom_async.testing.tenants import Tenants
from chatloom_async.testing.workspaces import Workspace

HOST = "127.0.0.1"

# Room for every connection of a large fan-out: the kernel tries a refused one a second later.
_BACKLOG = 4096

# Seconds for handlers to end whose connections were closed.
_GRACE = 0.01

# Turns of the loop in which a connection that was accepted gets its transport: asyncio gives it
# none once the listener is closed, and leaves its socket open.
_TURNS = 3


class Sandbox:
    """A local server that behaves as the API reference says, on 127.0.0.1.

    ``async with`` serves on the running loop, ``in_thread`` from a thread of its own. ``quota`` is
    one or several, ``latency`` seconds come before every answer, ``port`` 0 picks a free one,
    ``ssl`` makes it https. ``clock`` is what quotas and records read, in seconds; by default the
    serving loop's own time, so that a virtual loop moves them. Methods and counters may be used
    from any thread, before, while and after it serves.
    """

    connections: int = 0
    """Connections opened so far, also those that never carried a request."""
    peak_in_flight: int = 0
    """The most requests that waited for their answers at one time."""

    def __init__(  # noqa: PLR0913 - what it serves, and how
        self,
        workspaces: Iterable[Workspace] = (),
        *,
        faults: Iterable[Fault] = (),
        quota: Quota | Iterable[Quota] | None = None,
        latency: float = 0.0,
        port: int = 0,
        ssl: SSLContext | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """Take in what it serves; ValueError: the latency is no number of seconds."""
        if not 0 <= latency < math.inf:
            raise ValueError(f"latency is a number of seconds, 0 or more, not {latency!r}")
        self._latency, self._port, self._ssl, self._clock = latency, port, ssl, clock
        self._now: Callable[[], float] = time.monotonic
        self._base_url: str | None = None
        self._in_flight = 0
        self._tenants, self._ledger, self._lock = Tenants(), Ledger(), Lock()
        self._service: tuple[web.Server, asyncio.Server] | None = None
        for each in (quota,) if isinstance(quota, Quota) else quota or ():
            self.limit(each)
        for workspace in workspaces:
            self.add(workspace)
        for fault in faults:
            self.plant(fault)

    def __repr__(self) -> str:
        return f"Sandbox({self._base_url or 'not served yet'})"

    @property
    def base_url(self) -> str:
        """Where it serves, or served last; RuntimeError before it ever did."""
        if self._base_url is None:
            raise RuntimeError("the sandbox has no address yet: enter it first")
        return self._base_url

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests so far, oldest first; only the last ones, see ``keep``."""
        with self._lock:
            return self._ledger.requests()

    def count(
        self, path: str | None = None, status: int | None = None, workspace: str | None = None
    ) -> int:
        """How many requests came in for this path (or shell pattern), status and workspace.

        Status 0 counts those that never got a whole answer, because of a fault or because the
        client gave up waiting. Every request counts, kept or not.
        """
        with self._lock:
            return self._ledger.count(path, status, workspace)

    def keep(self, last: int | None) -> Self:
        """Hold only the ``last`` requests in ``requests`` (at first 10,000; 0 none, None all)."""
        with self._lock:
            self._ledger.keep(last)
        return self

    def add(self, workspace: Workspace) -> None:
        """Serve this workspace, in place of one with the same name.

        ValueError when another workspace has its key.
        """
        with self._lock:
            self._tenants.add(workspace)

    def plant(self, fault: Fault) -> None:
        """Let this fault happen; of several that hit a request, the one planted first does."""
        with self._lock:
            self._tenants.planted.append(PlantedFault(fault))

    def limit(self, quota: Quota) -> None:
        """Hold requests to this quota from now on, beside those they are held to already."""
        with self._lock:
            self._tenants.quotas.append(AppliedQuota(quota))

    def revoke(self, name_or_key: str) -> None:
        """Refuse the key of this workspace from now on; LookupError when there is none."""
        with self._lock:
            self._tenants.revoke(name_or_key)

    def rotate(self, name: str) -> str:
        """Give this workspace a new key, return it, and refuse the old one from now on.

        LookupError when there is no such workspace.
        """
        with self._lock:
            return self._tenants.rotate(name)

    async def __aenter__(self) -> Self:
        """Serve on the running loop; RuntimeError when it serves already, OSError for the port."""
        if self._service is not None:
            raise RuntimeError("the sandbox is serving already")
        loop = asyncio.get_running_loop()
        self._now = self._clock or loop.time
        server = web.Server(self._handle, access_log=None, handler_cancellation=True)

        def connected() -> asyncio.Protocol:
            self.connections += 1
            return server()

        listener = await loop.create_server(
            connected, HOST, self._port, ssl=self._ssl, backlog=_BACKLOG
        )
        port = listener.sockets[0].getsockname()[1]
        self._base_url = f"{'https' if self._ssl else 'http'}://{HOST}:{port}"
        self._service = server, listener
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop: refuse connections, cancel the answers waited for, drop what is open."""
        if self._service is None:
            return
        (server, listener), self._service = self._service, None
        for _turn in range(_TURNS):
            await asyncio.sleep(0)
        listener.close()
        for connection in server.connections:
            if connection.transport is not None:
                # Closing would wait for a peer that has stopped reading.
                connection.transport.abort()
        await server.shutdown(_GRACE)
        await listener.wait_closed()

    @contextmanager
    def in_thread(self) -> Generator[Self]:
        """Serve from a thread and a loop of its own while the block runs."""
        loop = asyncio.new_event_loop()
        thread = Thread(target=loop.run_forever, name="chatloom-sandbox", daemon=True)
        thread.start()

        def run(coroutine: Coroutine[None, None, object]) -> None:
            asyncio.run_coroutine_threadsafe(coroutine, loop).result()

        try:
            run(self.__aenter__())
            try:
                yield self
            finally:
                run(self.__aexit__())
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        delivery, recorded = self._decide(request)
        self._in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self._in_flight)
        try:
            if wait := self._latency + delivery.wait:
                await asyncio.sleep(wait)
            return await delivery.carry_out(request)
        except asyncio.CancelledError:
            with self._lock:
                self._ledger.given_up(recorded)
            raise
        finally:
            self._in_flight -= 1
            for give_back in delivery.held:
                give_back()

    def _decide(self, request: web.BaseRequest) -> tuple[Delivery, RecordedRequest]:
        target, now = request.raw_path, self._now()
        # A request through a proxy may name the whole URL (RFC 9112 §3.2.2).
        path = target if target.startswith("/") else request.rel_url.raw_path_qs
        key, address = api.given_key(request.headers), request.remote or ""
        with self._lock:
            delivery = self._tenants.delivery(
                key, address, request.method, path, now=now, wall=time.time()
            )
            headers = redacted(request.headers) if self._ledger.keeps else {}
            recorded = RecordedRequest(
                request.method, path, delivery.status, now, delivery.workspace, headers
            )
            self._ledger.record(recorded)
        return delivery, recorded
