"""Requests without aiohttp's session: the same to the wire, and only where nothing is unusual.

What becomes of hostile answers is the same table for both ways (``tests/faults``).
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from aiohttp import client_proto, http_exceptions, streams

from chatloom_async import APIStatusError, ConnectionPool
from chatloom_async.network import exchange, pool
from chatloom_async.network.connector import Connector
from chatloom_async.network.direct import Direct
from tests.clients import client_at
from tests.faults.case import DOMAINS, answer
from tests.faults.server import HOST, Server


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server([(answer(),)]) as served:
        yield served


@pytest.fixture
def by_session(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The methods of the requests that went through aiohttp's session."""
    methods: list[str] = []

    async def send(session: Any, request: Any, *arguments: Any, **options: Any) -> Any:
        methods.append(request.method)
        return await exchange.send(session, request, *arguments, **options)

    monkeypatch.setattr(pool, "send", send)
    return methods


@pytest.fixture
def asked_for(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Connector, Any]]:
    """Each connection that a connector was asked for."""
    genuine, found = Connector.connect, list[tuple[Connector, Any]]()

    async def connect(connector: Connector, *arguments: Any) -> Any:
        connection = await genuine(connector, *arguments)
        found.append((connector, connection.protocol))
        return connection

    monkeypatch.setattr(Connector, "connect", connect)
    return found


async def look_up(server: Server, pool: ConnectionPool) -> tuple[str, ...]:
    return tuple(await client_at(server.url, pool).get_allowed_domains("agt_1"))


async def test_both_ways_send_the_same_lines(server: Server) -> None:
    for direct in (True, False):
        async with ConnectionPool(direct=direct) as pool:
            assert await look_up(server, pool) == DOMAINS
    first, second = (request.split(b"\r\n") for request in server.requests)
    assert first[0] == second[0]
    assert sorted(first) == sorted(second)


@pytest.mark.parametrize("direct", [True, False])
async def test_only_100_to_199_are_interim(
    direct: bool,  # noqa: FBT001 - a case
) -> None:
    odd = b"HTTP/1.1 000 Hm\r\nContent-Length: 2\r\n\r\n{}"
    async with Server([(odd,)]) as served, ConnectionPool(direct=direct) as pool:
        with pytest.raises(APIStatusError):
            await look_up(served, pool)


async def test_only_a_get_goes_past_the_session(server: Server, by_session: list[str]) -> None:
    async with ConnectionPool() as pool:
        client = client_at(server.url, pool)
        await client.send_raw("POST", "/api/plugin/next", json={})
        await client.send_raw("DELETE", "/api/plugin/next")
        for _ in range(3):
            await look_up(server, pool)
        assert (by_session, pool.opened) == (["POST", "DELETE"], 1)


async def test_a_connection_is_at_hand_for_two_turns(
    server: Server, asked_for: list[tuple[Connector, Any]]
) -> None:
    async with ConnectionPool(limit=1) as pool:
        for _ in range(2):  # two follow each other, then two of which one waits for a place
            await look_up(server, pool)
        await asyncio.gather(look_up(server, pool), look_up(server, pool))
        assert len(asked_for) == 1
        for _ in range(2):
            await asyncio.sleep(0)
        await look_up(server, pool)
        assert (len(asked_for), pool.opened) == (2, 1)


def test_a_connection_grows_old_while_the_loop_stands_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool, server = ConnectionPool(), Server([(answer(),)])
    with asyncio.Runner() as runner:
        runner.run(server.__aenter__())
        runner.run(look_up(server, pool))
        monkeypatch.setattr("chatloom_async.network.direct._KEPT", -1.0)  # for longer than that
        runner.run(look_up(server, pool))
        runner.run(pool.aclose())
        runner.run(server.__aexit__())
    assert server.connections == 2


@pytest.mark.parametrize("spoilt", ["stale", "unasked bytes"])
async def test_a_connection_at_hand_must_be_sound(
    server: Server, asked_for: list[tuple[Connector, Any]], spoilt: str
) -> None:
    async with ConnectionPool() as pool:
        for _ in range(2):
            await look_up(server, pool)
        ((connector, protocol),) = asked_for
        if spoilt == "stale":
            connector.lost_kept()
        else:
            protocol.data_received(answer())
        assert await look_up(server, pool) == DOMAINS
        assert pool.opened == 2


@pytest.mark.parametrize("unusual", ["hooks", "environment", "session", "proxy", "switched off"])
async def test_what_is_unusual_goes_through_the_session(
    server: Server, by_session: list[str], unusual: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with AsyncExitStack() as stack:
        jar = aiohttp.DummyCookieJar()
        session = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=jar))
        pools = {
            "hooks": ConnectionPool(trace_configs=[aiohttp.TraceConfig()]),
            "environment": ConnectionPool(trust_env=True),
            "session": ConnectionPool(session=session),
            "proxy": ConnectionPool(proxy=f"http://{HOST}:1"),  # past which plain http goes
            "switched off": ConnectionPool(direct=False),
        }
        pool = await stack.enter_async_context(pools[unusual])
        assert await look_up(server, pool) == DOMAINS
    assert by_session == ["GET"]
    assert not [record for record in caplog.records if "direct" in record.message]


@pytest.mark.parametrize("name", ["_request", "request"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_replaced_method_of_the_session_is_used(
    server: Server, name: str, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine: Callable[..., Any] = getattr(aiohttp.ClientSession, name)
    recorded: list[str] = []

    def recording(session: Any, method: str, *arguments: Any, **options: Any) -> Any:
        recorded.append(method)
        return genuine(session, method, *arguments, **options)

    async with ConnectionPool() as pool:
        if when == "after":
            await look_up(server, pool)
        monkeypatch.setattr(aiohttp.ClientSession, name, recording)
        assert await look_up(server, pool) == DOMAINS
    assert recorded == ["GET"]


async def test_a_newer_aiohttp_is_left_to_its_session(
    server: Server, by_session: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "chatloom_async")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aiohttp, "__version__", "3.15.0a1")
        async with ConnectionPool() as pool:
            for _ in range(2):
                assert await look_up(server, pool) == DOMAINS
    assert by_session == ["GET", "GET"]
    (told,) = [record.message for record in caplog.records if "direct" in record.message]
    assert told.endswith("aiohttp 3.15.0a1 is newer than those it was tried with")


NAMES = [
    (aiohttp.BaseConnector, "connect"),
    (client_proto.ResponseHandler, "set_response_params"),
    (streams.DataQueue, "read"),
    (client_proto.ResponseHandler, "should_close"),
    (client_proto.ResponseHandler, "is_connected"),
    (client_proto.ResponseHandler, "data_received"),
    (aiohttp.StreamReader, "is_eof"),
    (aiohttp.ClientRequest, "update_auto_headers"),
    (aiohttp, "ClientRequest"),
    (aiohttp, "client_proto"),
    (http_exceptions, "HttpProcessingError"),
]


def changed(_: object, one_more: object) -> object:
    """What takes other parameters than it did."""
    raise AssertionError(one_more)


@pytest.fixture(params=["removed", "changed"])
def poisoned(
    request: pytest.FixtureRequest, named: tuple[Any, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An aiohttp that misses a name, or has another thing there, where the direct way looks."""
    genuine = Direct.of

    def of(session: aiohttp.ClientSession) -> Direct | None:
        with monkeypatch.context() as poison:  # for the session needs most of the names too
            if request.param == "removed":
                poison.delattr(*named)
            else:
                poison.setattr(*named, changed)
            return genuine(session)

    monkeypatch.setattr(Direct, "of", of)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("named", NAMES, ids=lambda named: named[1])
async def test_where_aiohttp_has_changed_its_session_is_used(
    server: Server, by_session: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "chatloom_async")
    async with ConnectionPool() as pool:
        assert await look_up(server, pool) == DOMAINS
    assert by_session == ["GET"]
    assert sum("the direct way is off" in record.message for record in caplog.records) == 1
