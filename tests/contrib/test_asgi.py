"""ASGI applications: the pool's life, problems for visitors, visitors that leave."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

from chatloom_async import ConnectionPool, NotFoundError, RateLimitError
from chatloom_async.contrib.asgi import App, CancelOnDisconnect, Message, pool_lifespan, problem

HTTP = {"type": "http"}
NO_BODY: Message = {"type": "http.request", "body": b"", "more_body": False}
GONE: Message = {"type": "http.disconnect"}
BUSY = RateLimitError(429, "secret", b"secret", {}, 7.2)
END: Message = {"type": "http.response.body", "body": b""}


class Server:
    """Tells an application what it is given to tell, and notes what it is sent."""

    def __init__(self, *messages: Message) -> None:
        self.told: asyncio.Queue[Message] = asyncio.Queue()
        self.sent: list[Message] = []
        for message in messages:
            self.told.put_nowait(message)

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def serve(self, app: App, scope: Any = HTTP) -> None:
        await CancelOnDisconnect(app)(scope, self.told.get, self.send)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def hang(_scope: Any, _receive: Any, _send: Any) -> None:
    await asyncio.Event().wait()


async def test_each_life_of_an_application_has_a_pool_of_its_own() -> None:
    lifespan, pools = pool_lifespan(lambda: ConnectionPool(limit=7)), []
    for _ in range(2):
        app = SimpleNamespace(state=SimpleNamespace())
        async with lifespan(app):
            pools.append(app.state.chatloom_pool)
            assert (pools[-1].limit, pools[-1].closed) == (7, False)
        assert pools[-1].closed
    assert pools[0] is not pools[1]


@pytest.mark.parametrize(
    ("error", "status", "wait"),
    [
        (BUSY, 503, b"8"),
        (NotFoundError(404, "secret"), 404, None),
        (ExceptionGroup("", [NotFoundError(404, ""), ExceptionGroup("", [BUSY])]), 503, b"8"),
    ],
)
async def test_visitors_are_sent_problems(
    error: Exception, status: int, wait: bytes | None
) -> None:
    server = Server()
    await problem(None, error).to_asgi_response(app=None)(HTTP, server.told.get, server.send)
    start, body = server.sent
    headers = dict(start["headers"])
    assert start["status"] == json.loads(body["body"])["status"] == status
    assert headers[b"content-type"] == b"application/problem+json"
    assert int(headers[b"content-length"]) == len(body["body"])
    assert headers.get(b"retry-after") == wait
    assert b"secret" not in body["body"]


async def test_a_websocket_is_closed_with_the_problem() -> None:
    server = Server()
    await problem(None, BUSY)({"type": "websocket"}, server.told.get, server.send)
    (sent,) = server.sent
    assert sent == {"type": "websocket.close", "code": 1011, "reason": "Service Unavailable"}


@pytest.mark.parametrize(
    "error", [ZeroDivisionError(), ExceptionGroup("", [BUSY, ZeroDivisionError()])]
)
async def test_other_errors_are_not_made_a_problem(error: Exception) -> None:
    with pytest.raises(type(error)):
        problem(None, error)


@pytest.mark.parametrize("reads", [True, False])
async def test_a_visitor_who_leaves_ends_the_work(*, reads: bool) -> None:
    heard: list[Any] = []

    async def app(_scope: Any, receive: Any, _send: Any) -> None:
        if reads:
            heard.append(await receive())
        try:
            await asyncio.Event().wait()
        finally:
            heard.extend([await receive(), asyncio.current_task()])

    server = Server(NO_BODY)
    serving = asyncio.create_task(server.serve(app))
    await settle()
    assert not serving.done()
    server.told.put_nowait(GONE)
    await serving
    assert heard == [NO_BODY, *([GONE] if reads else []), serving]
    assert [each.get("status") for each in server.sent] == [499, None]
    assert not serving.cancelling()


async def test_a_visitor_who_leaves_amid_the_answer_gets_no_other() -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.Event().wait()

    server = Server(NO_BODY, GONE)
    await server.serve(app)
    assert [each.get("status") for each in server.sent] == [200]


@pytest.mark.parametrize("fails", [True, False])
async def test_a_leaving_that_the_application_swallows_is_over(*, fails: bool) -> None:
    async def app(*given: Any) -> None:
        try:
            await hang(*given)
        except asyncio.CancelledError:
            if fails:
                raise ZeroDivisionError from None

    async def serve() -> int:
        with suppress(ZeroDivisionError):
            await Server(NO_BODY, GONE).serve(app)
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert await asyncio.create_task(serve()) == 0


async def test_somebody_elses_cancellation_passes() -> None:
    server = Server(NO_BODY)
    serving = asyncio.create_task(server.serve(hang))
    await settle()
    server.told.put_nowait(GONE)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    await settle()
    assert len(asyncio.all_tasks()) == 1


async def test_an_error_of_the_application_passes() -> None:
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Server(NO_BODY).serve(app)
    await settle()
    assert len(asyncio.all_tasks()) == 1


async def test_a_body_is_read_as_fast_as_the_application_reads() -> None:
    parts: list[Message] = [
        {"type": "http.request", "body": bytes([number]), "more_body": number < 4}
        for number in range(5)
    ]
    server, left, read = Server(*parts), [], []

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        for _ in parts:
            await settle()
            left.append(server.told.qsize())
            read.append(await receive())
        await send(END)

    await server.serve(app)
    assert read == parts
    assert left == [4, 3, 2, 1, 0]


@pytest.mark.parametrize("end", [END, {"type": "http.response.pathsend", "path": "/file"}])
async def test_work_after_the_response_goes_on(end: Message) -> None:
    done: list[Message] = []

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await send(end)
        server.told.put_nowait(GONE)  # as servers say after the end
        await settle()
        done.append(await receive())

    server = Server(NO_BODY)
    await server.serve(app)
    assert done == [NO_BODY]
    assert server.sent == [end]


async def test_an_error_of_the_server_reaches_the_application() -> None:
    async def broken() -> Message:
        raise OSError

    async def app(_scope: Any, receive: Callable[[], Awaitable[Message]], _send: Any) -> None:
        await settle()
        with pytest.raises(OSError):  # noqa: PT011 - of the server above
            await receive()

    await CancelOnDisconnect(app)(HTTP, broken, Server().send)


async def test_other_protocols_are_left_alone() -> None:
    async def app(*given: Any) -> None:
        seen.extend(given)

    seen: list[Any] = []
    server = Server()
    given = ({"type": "websocket"}, server.told.get, server.send)
    await CancelOnDisconnect(app)(*given)
    assert seen == [*given]
