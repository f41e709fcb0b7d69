"""ASGI applications: a pool for the application's life, problems for visitors, and their leaving.

What FastAPI, Starlette and Litestar share, without importing any of them::

    app = FastAPI(lifespan=pool_lifespan())            # the pool: request.app.state.chatloom_pool
    app.add_exception_handler(ChatloomError, problem)
    app.add_exception_handler(ExceptionGroup, problem)  # of a TaskGroup
    app.add_middleware(CancelOnDisconnect)

Not here: what an error means for a visitor (``errors``).
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

from attrs import define, field

from chatloom_async.client import prepare
from chatloom_async.errors import ChatloomError
from chatloom_async.network.pool import ConnectionPool

Message = MutableMapping[str, Any]
# Any: each framework has a type of its own for messages.
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
# What holds a part of the answer; the last two are extensions of ASGI, for files.
_PARTS = {f"http.response.{part}" for part in ("body", "pathsend", "zerocopysend")}
_GONE = 499  # not registered; how proxies log a client that closed the connection
_FAILED = 1011  # how a WebSocket ends that the server cannot serve (RFC 6455 §7.4.1)
App = Callable[[Any, Receive, Send], Awaitable[None]]


def pool_lifespan(
    make_pool: Callable[[], ConnectionPool] = ConnectionPool,
) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """Return a lifespan that opens a pool with the application and closes it at its end.

    Handlers find it as ``request.app.state.chatloom_pool``. Give ``make_pool`` to set its options:
    ``pool_lifespan(lambda: ConnectionPool(limit=200))``.
    """

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        prepare()
        async with make_pool() as pool:
            app.state.chatloom_pool = pool
            yield

    return lifespan


def problem(_request: Any, error: Exception) -> Any:
    """Answer a visitor for a ``ChatloomError``: a problem document, and its status (RFC 9457).

    Of a group of them, as a ``TaskGroup`` raises it, the one with the highest status, then with the
    longest wait, speaks for all. Any other error is raised again.

    An exception handler, and no coroutine, which Litestar would not await. What it returns is a
    response to these frameworks: a ``ProblemResponse``.
    """
    found = list(_leaves(error))
    if any(not isinstance(each, ChatloomError) for each in found):
        raise error
    return ProblemResponse(max(found, key=lambda each: (each.http_status, each.retry_after or 0)))


def _leaves(error: Exception) -> Iterator[Any]:
    if isinstance(error, ExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error


@define(eq=False)
class ProblemResponse:
    """A response that is an ASGI application itself, which these frameworks take for one."""

    error: ChatloomError

    async def __call__(
        self,
        scope: Any,
        receive: Receive,  # noqa: ARG002 - Litestar passes all by their names
        send: Send,
    ) -> None:
        """Send it; a WebSocket, which may be open, is closed with the reason."""
        found = self.error.to_problem()
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _FAILED, "reason": found["title"]})
            return
        body = json.dumps(found).encode()
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        if "retry_after" in found:
            headers.append((b"retry-after", str(found["retry_after"]).encode()))
        await send({"type": "http.response.start", "status": found["status"], "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def to_asgi_response(self, *_: Any, **__: Any) -> App:
        """Return itself, to Litestar."""
        return self


@define(eq=False)
class CancelOnDisconnect:
    """A middleware that cancels the handling of a request when its visitor has gone.

    These frameworks let a handler run on, and with it the calls that it waits for. The server tells
    the application (``http.disconnect``), which asks only when it reads the request's body.
    """

    app: App

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Handle the request, watching its visitor."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a server runs an application in a task
        visitor = _Visitor(receive, task)
        watching = asyncio.get_running_loop().create_task(visitor.watch())
        # What the server raises, the application meets when it reads.
        watching.add_done_callback(lambda task: task.cancelled() or task.exception())
        before = task.cancelling()
        answered = False

        def end() -> None:
            watching.cancel()
            visitor.unwatched()

        async def send_on(message: Message) -> None:
            nonlocal answered
            answered = True
            if message["type"] in _PARTS and not message.get("more_body", False):
                end()  # the server says that the visitor has gone then, and there may be more to do
            await send(message)

        try:
            try:
                await self.app(scope, visitor.receive, send_on)
            finally:
                end()
                if visitor.has_gone:  # also where the application made something else of it
                    task.uncancel()
        except asyncio.CancelledError:
            if not visitor.has_gone or task.cancelling() > before:
                raise
            if not answered:  # middlewares around this one take no answer for a fault
                with suppress(OSError):  # as servers may raise where nobody listens
                    await send({"type": "http.response.start", "status": _GONE, "headers": []})
                    await send({"type": "http.response.body", "body": b""})


@define(eq=False)
class _Visitor:
    """Reads what the server tells, one message ahead of the application."""

    tells: Receive
    task: asyncio.Task[Any]
    has_gone: bool = False
    _unread: asyncio.Queue[Message | None] = field(factory=asyncio.Queue)

    async def watch(self) -> None:
        """Read until the visitor has gone, and cancel the task then."""
        more = True
        try:
            while not self.has_gone:
                if more:  # a body comes as fast as the application reads it
                    await self._unread.join()
                message = await self.tells()
                more = message.get("more_body", False)
                self.has_gone = message["type"] == "http.disconnect"
                self._unread.put_nowait(message)
            self.task.cancel()
        finally:
            self.unwatched()

    def unwatched(self) -> None:
        """From here on the application reads by itself."""
        self._unread.put_nowait(None)

    async def receive(self) -> Any:
        """Return the next message, to the application."""
        message = await self._unread.get()
        self._unread.task_done()
        if message is None:
            self.unwatched()  # whoever reads next too
            return await self.tells()
        return message
