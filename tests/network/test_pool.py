"""Exchanges over real sockets: what goes over the wire, and what comes back when it breaks."""

import asyncio
import gc
import gzip
import os
import ssl
from pathlib import Path
from threading import Thread
from typing import Any
from unittest.mock import AsyncMock, Mock

import aiohttp
import pytest
import trustme

from chatloom_async import (
    APIConnectionError,
    ApiKey,
    APIStatusError,
    ChatloomError,
    ClientClosedError,
    ConfigurationError,
    ConnectionPool,
    NotFoundError,
    RetryPolicy,
)
from chatloom_async.network import pool as network_pool
from chatloom_async.network.direct import Direct
from chatloom_async.network.exchange import options_for
from chatloom_async.testing import Fault, Sandbox, make_workspace
from tests.clients import KEY, OTHER, client_at
from tests.faults.case import DOCUMENT, DOMAINS, answer
from tests.faults.server import Close, Pause, Reset, Script, Server

AGENTS = "/api/plugin/agents"


@pytest.fixture(autouse=True)
def _proxies_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("key", "sent"), [(KEY, "authorization"), (ApiKey(KEY, header="X-API-Key"), "x-api-key")]
)
async def test_a_request_names_key_and_sender_once(
    served: Sandbox, key: str | ApiKey, sent: str
) -> None:
    async with client_at(served.base_url, key=key) as client:
        await client.list_agents()
    headers = {name.lower(): value for name, value in served.requests[0].headers.items()}
    assert headers["accept"] == "application/json"
    assert headers["user-agent"].startswith("chatloom-async/")
    assert headers.keys() & {"authorization", "x-api-key"} == {sent}


async def test_cookies_are_not_kept(served: Sandbox) -> None:
    served.plant(Fault.status(404, headers={"Set-Cookie": "session=1; Path=/"}))
    base_url = served.base_url.replace("127.0.0.1", "localhost")  # addresses get no cookies anyway
    async with ConnectionPool(direct=False) as pool:
        client = client_at(base_url, pool)
        with pytest.raises(ChatloomError):
            await client.list_agents()
        await client.list_agents()
    assert "Cookie" not in served.requests[1].headers


@pytest.mark.parametrize("direct", [True, False])
async def test_a_long_header_is_read(served: Sandbox, *, direct: bool) -> None:
    served.plant(Fault.status(404, headers={"Content-Security-Policy": "x" * 20_000}))
    async with ConnectionPool(direct=direct) as pool:
        with pytest.raises(NotFoundError):
            await client_at(served.base_url, pool).list_agents()


async def test_a_large_body_is_sent_without_a_warning(served: Sandbox) -> None:
    async with client_at(served.base_url) as client:
        with pytest.raises(ChatloomError, match="405"):
            await client.send_raw("POST", "/api/plugin/agents", json="x" * 2**21)


async def test_a_call_outside_a_task_is_refused(served: Sandbox) -> None:
    async with ConnectionPool(limit=1) as pool:
        client = client_at(served.base_url, pool)
        await client.list_agents()
        driven = asyncio.get_running_loop().create_future()

        def drive() -> None:
            with pytest.raises(RuntimeError, match="inside a task"):
                client.list_agents().send(None)
            driven.set_result(None)

        asyncio.get_running_loop().call_soon(drive)
        await driven
        async with asyncio.timeout(1):
            assert len(await client.list_agents()) == 2


def own_session(**options: Any) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), **options)


async def test_a_session_keeps_no_connection_after_a_101() -> None:
    asyncio.get_running_loop().set_debug(True)  # else nobody tells
    script = (answer(101, b"", "Upgrade: websocket", "Connection: upgrade", length=""),)
    async with Server([script]) as server, ConnectionPool(direct=False) as pool:
        with pytest.raises(APIStatusError):
            await client_at(server.url, pool).get_allowed_domains("agt_1")
        gc.collect()  # a connection that nobody gave back is told of here
        assert pool.stats().connections == 0


@pytest.mark.parametrize("told", [True, False])
async def test_aiohttp_sends_a_lost_request_once(
    *, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not told:  # as of an aiohttp whose session cannot be told
        monkeypatch.setattr(
            network_pool, "options_for", lambda *about, **_: options_for(*about, plain=False)
        )
    async with Server([(Reset(),)]) as server, ConnectionPool(direct=False) as pool:
        with pytest.raises(APIConnectionError):
            await client_at(server.url, pool).list_agents()
        assert len(server.requests) == 1


@pytest.mark.looptime
async def test_a_dead_connection_says_nothing_of_younger_ones() -> None:
    answered: Script = (Pause(1), answer())
    scripts: list[Script] = [answered, answered, (Reset(),), (Pause(2), Reset()), (answer(),)]
    async with Server(scripts) as server, ConnectionPool() as pool:
        client = client_at(server.url, pool, retry=RetryPolicy(attempts=2))
        for _ in range(2):
            await asyncio.gather(*(client.get_allowed_domains(f"agt_{n}") for n in range(2)))
        await client.get_allowed_domains("agt_3")
        assert pool.opened == 3


async def test_a_lost_kept_connection_is_stale(served: Sandbox) -> None:
    async with ConnectionPool() as pool:
        client = client_at(served.base_url, pool)
        await client.list_agents()
        served.plant(Fault.disconnect(path=AGENTS))
        failing = asyncio.create_task(client.list_agents())
        await asyncio.sleep(0)
        await client.get_raw("/api/plugin/agents/agt_acme_1/allowed-domains")
        with pytest.raises(APIConnectionError) as caught:
            await failing
    assert caught.value.reason == "stale"


async def test_a_named_authority_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, bundle = trustme.CA(), os.fspath(tmp_path / "authority.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(bundle)
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    read = Mock(side_effect=ssl.create_default_context)
    monkeypatch.setattr(ssl, "create_default_context", read)
    async with Sandbox([make_workspace("acme", KEY, 2)], ssl=context) as secured:
        for written in (1, 1, 2):  # read once for all pools, and again when it was renewed
            os.utime(bundle, (written, written))
            async with client_at(secured.base_url) as client:
                assert len(await client.list_agents()) == 2
    assert read.call_count == 2


CREDENTIALS = "Authorization", "authorization", "X-Api-Key", "Cookie", "Proxy-Authorization"
PROXIES = "proxy.corp:3128 127.0.0.1:3128 http:// http://proxy.corp:port socks5://proxy.corp:1080"
ODD: dict[str, list[Any]] = {
    "limit": [0, -1, 1.5, "100", None, True],
    "proxy": [*PROXIES.split(), 5, "not a url", "http://proxy .corp"],
    "ssl": ["authority.pem", True, False],
    "trace_configs": [5, [5], aiohttp.TraceConfig()],
    "observer": [AsyncMock()],
    "session": ["x"],
}


@pytest.mark.parametrize(
    ("option", "value"), [(option, value) for option, values in ODD.items() for value in values]
)
def test_an_option_of_another_kind_is_refused(option: str, value: Any) -> None:
    options: dict[str, Any] = {option: value}
    with pytest.raises(ConfigurationError, match=rf"^ConnectionPool\.{option} is "):
        ConnectionPool(**options)


@pytest.mark.parametrize("proxy", ["https://proxy.corp", "http://user:p%40ss@[::1]:3128/"])
def test_a_proxy_may_have_credentials_or_speak_tls(proxy: str) -> None:
    pool = ConnectionPool(proxy=proxy)
    assert pool.proxy == proxy
    assert proxy not in repr(pool)


@pytest.mark.parametrize("source", ["option", "environment", "session"])
async def test_no_proxy_reads_a_key_without_tls(
    served: Sandbox, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Server([(Close(),)]) as proxy, own_session(proxy=proxy.url) as session:
        monkeypatch.setenv("http_proxy", proxy.url)
        options: dict[str, dict[str, Any]] = {
            "option": {"proxy": proxy.url},
            "environment": {"trust_env": True},
            "session": {"session": session},
        }
        async with ConnectionPool(**options[source]) as pool:
            assert len(await client_at(served.base_url, pool).list_agents()) == 2
        assert proxy.connections == 0


async def test_no_proxy_of_the_environment_is_used_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Server([(Close(),)]) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        async with client_at("https://127.0.0.1:9") as client:
            with pytest.raises(APIConnectionError):
                await client.list_agents()
        assert proxy.connections == 0


@pytest.mark.parametrize(
    "proxy",
    ["https://127.0.0.1:9", "http://", "http://127.0.0.1:port", "proxy", "user:secret@a:3128"],
)
async def test_an_unusable_proxy_of_the_environment_is_told(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    async with ConnectionPool(trust_env=True) as pool:
        client = client_at("https://127.0.0.1:9", pool)
        with pytest.raises(ConfigurationError, match="the proxy named in the environment") as told:
            await client.list_agents()
    assert "secret" not in str(told.value)


@pytest.mark.looptime
@pytest.mark.parametrize(("status", "asked"), [(407, 1), (403, 1), (502, 3), (503, 3)])
async def test_a_proxy_in_trouble_is_asked_again(status: int, asked: int) -> None:
    async with Server([(answer(status, b""), Close())]) as proxy:
        async with ConnectionPool(proxy=proxy.url) as pool:
            client = client_at("https://localhost:1", pool, retry=RetryPolicy(attempts=3))
            with pytest.raises(APIConnectionError, match=f"the proxy answered {status}"):
                await client.list_agents()
        assert len(proxy.requests) == asked


@pytest.mark.filterwarnings("ignore:.*auth.*:DeprecationWarning")
@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"cookie_jar": None}, r"cookie_jar=aiohttp\.DummyCookieJar\(\)"),
        ({"auth": "a BasicAuth"}, "auth of its own"),
        *(({"headers": {name: "clf_other"}}, name.lower()) for name in CREDENTIALS),
    ],
)
async def test_a_session_with_own_credentials_is_refused(options: Any, problem: str) -> None:
    async with aiohttp.ClientSession(**{"cookie_jar": aiohttp.DummyCookieJar(), **options}) as own:
        with pytest.raises(ConfigurationError, match=problem) as caught:
            ConnectionPool(session=own)
    assert "clf_other" not in str(caught.value)


@pytest.mark.parametrize("header", ["Authorization", "Cookie"])
async def test_a_sessions_later_credentials_are_not_sent(served: Sandbox, header: str) -> None:
    async with own_session() as session, ConnectionPool(session=session) as pool:
        session.headers[header] = "Bearer clf_other"
        client = client_at(served.base_url, pool, ApiKey(KEY, "X-API-Key"))
        with pytest.raises(ConfigurationError, match="credentials of its own"):
            await client.list_agents()
    assert served.count() == 0


async def test_credentials_of_netrc_are_not_sent(
    served: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password other")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with ConnectionPool(trust_env=True) as pool:
        client = client_at(served.base_url, pool, ApiKey(KEY, "X-API-Key"))
        with pytest.raises(ConfigurationError, match=r"or netrc, has .* instead of trust_env=True"):
            await client.list_agents()
    assert served.count() == 0


async def test_a_session_raising_for_statuses_gives_our_errors(served: Sandbox) -> None:
    async with own_session(raise_for_status=True) as session:
        async with ConnectionPool(session=session) as pool:
            with pytest.raises(NotFoundError, match="404"):
                await client_at(served.base_url, pool).get_allowed_domains("agt_nobody")
            assert (pool.stats().connections, pool.stats().idle) == (0, 0)  # those in use
        assert not session.closed  # it is its owner's


@pytest.mark.looptime
async def test_a_session_that_does_not_decompress_gives_models() -> None:
    compressed = answer(200, gzip.compress(DOCUMENT), "Content-Encoding: gzip")
    async with (
        own_session(auto_decompress=False) as session,
        Server([(compressed[:-9], Pause(1), compressed[-9:])]) as server,
        ConnectionPool(session=session) as pool,
    ):
        assert tuple(await client_at(server.url, pool).get_allowed_domains("agt_1")) == DOMAINS


@pytest.mark.looptime
@pytest.mark.parametrize("bound", ["limit", "limit_per_host"])
async def test_queueing_in_a_session_costs_no_timeout(bound: str) -> None:
    bounds: dict[str, Any] = {bound: 1}
    async with (
        own_session(connector=aiohttp.TCPConnector(**bounds)) as session,
        Server([(Pause(10), answer())]) as server,
        ConnectionPool(session=session) as pool,
    ):
        calls = [client_at(server.url, pool).get_allowed_domains(f"agt_{n}") for n in range(3)]
        assert [len(domains) for domains in await asyncio.gather(*calls)] == [2, 2, 2]


async def test_closing_amid_the_opening_leaves_nothing_open(
    served: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = list[aiohttp.ClientSession]()
    pool = ConnectionPool()

    def meanwhile(session: aiohttp.ClientSession) -> None:
        sessions.append(session)
        thread = Thread(target=lambda: asyncio.run(pool.aclose()))
        thread.start()
        thread.join()

    monkeypatch.setattr(Direct, "of", meanwhile)
    with pytest.raises(ClientClosedError):
        await client_at(served.base_url, pool).list_agents()
    assert sessions[0].closed


async def test_a_closed_session_that_was_brought_is_named(served: Sandbox) -> None:
    session = own_session()
    await session.close()
    async with ConnectionPool(session=session) as pool:
        with pytest.raises(ClientClosedError, match="the aiohttp session you brought is closed"):
            await client_at(served.base_url, pool).list_agents()


async def test_a_sessions_options_are_refused_beside_it() -> None:
    hooks, context = [aiohttp.TraceConfig()], ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    options: list[Any] = [{"ssl": context}, {"trust_env": True}, {"trace_configs": hooks}]
    async with own_session() as session:
        for each in options:
            with pytest.raises(ConfigurationError, match="belong to the session you bring"):
                ConnectionPool(session=session, **each)


def test_a_second_loop_refuses_a_session(served: Sandbox) -> None:
    pools = []

    async def first() -> None:
        async with own_session() as session:
            pools.append(ConnectionPool(session=session))
            await client_at(served.base_url, pools[0]).list_agents()

    asyncio.run(first())
    with pytest.raises(ConfigurationError, match="works on one event loop"):
        asyncio.run(client_at(served.base_url, pools[0]).list_agents())


async def test_a_session_works_on_its_own_loop_only(served: Sandbox) -> None:
    async with own_session() as session:
        client = client_at(served.base_url, ConnectionPool(session=session))
        with pytest.raises(ConfigurationError, match="works on one event loop"):
            await asyncio.to_thread(lambda: asyncio.run(client.list_agents()))
        assert await client.list_agents()


async def test_keys_get_their_own_answers(served: Sandbox) -> None:
    async with ConnectionPool(limit=4) as pool:
        clients = [client_at(served.base_url, pool, key) for key in (KEY, OTHER)]
        answers = await asyncio.gather(*(client.list_agents() for client in clients * 20))
        assert pool.opened == served.connections <= 4
    assert [answer[0].id for answer in answers] == ["agt_acme_2", "agt_beta_2"] * 20
