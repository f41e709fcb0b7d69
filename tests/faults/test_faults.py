"""Every case of the table, on real sockets in virtual time."""

import asyncio
import contextlib
import pickle
import re
import socket
import ssl
import tracemalloc
from collections.abc import AsyncGenerator, Iterator
from datetime import UTC, datetime
from functools import cache
from operator import attrgetter

import pytest
import trustme

from chatloom_async import (
    AsyncChatloom,
    ChatloomError,
    ConnectionPool,
    DeadlineExceededError,
    RetryPolicy,
)
from tests.faults.answers import ANSWERS
from tests.faults.case import Case, Peer, Raises, answer
from tests.faults.connections import CONNECTIONS
from tests.faults.framing import FRAMING
from tests.faults.server import HOST, Server
from tests.faults.tls import TLS

KEY = "clf_SecretOfTheFaultSuite"
CASES = (*ANSWERS, *FRAMING, *CONNECTIONS, *TLS)
pytestmark = pytest.mark.looptime(noop_cycles=100)


@cache
def authority() -> trustme.CA:
    return trustme.CA()


@cache
def certificate(kind: str) -> ssl.SSLContext | None:
    if kind == "none":
        return None
    issuer = trustme.CA() if kind == "unknown authority" else authority()
    name = "elsewhere.example" if kind == "wrong host" else HOST
    until = datetime(2020, 1, 1, tzinfo=UTC) if kind == "expired" else None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issuer.issue_cert(name, not_after=until).configure_cert(context)
    return context


@cache
def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority().configure_trust(context)
    return context


@contextlib.contextmanager
def bound(peer: Peer) -> Iterator[int]:
    """Yield a port where nobody ever answers, in one of three ways."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        if peer.listening == "accepts nothing":
            listener.listen(16)
        if peer.listening == "backlog full":
            listener.listen(0)
            for _ in range(8):
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex((HOST, port))
        yield port


@contextlib.asynccontextmanager
async def stage(case: Case) -> AsyncGenerator[tuple[AsyncChatloom, Server, Server]]:
    peer = case.peer
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            Server(case.scripts, certificate(peer.certificate), peer.greeting)
        )
        proxy = await stack.enter_async_context(Server([peer.proxy or ()]))
        port = server.port if peer.listening == "yes" else stack.enter_context(bound(peer))
        proxy_port = stack.enter_context(bound(Peer())) if peer.proxy_refused else proxy.port
        scheme = "https" if peer.client_speaks_tls or peer.certificate != "none" else "http"
        url = None if peer.proxy is None else f"http://{HOST}:{proxy_port}"
        pool = await stack.enter_async_context(ConnectionPool(proxy=url, ssl=trusting()))
        base_url = f"{scheme}://{HOST}:{port}"
        chatloom = AsyncChatloom(KEY, base_url=base_url, retry=case.retry, pool=pool)
        yield chatloom, server, proxy


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
async def test_the_caller_sees_what_the_table_says(case: Case) -> None:
    async with stage(case) as (chatloom, server, proxy):
        for _ in range(case.earlier_calls):
            await chatloom.get_allowed_domains("agt_1")
            await asyncio.sleep(0.05)  # the connection is idle, and what follows an answer arrives
        server.requests.clear()
        server.scripts = server.scripts[case.earlier_calls :]
        before, started = server.connections, asyncio.get_running_loop().time()
        with measured(case):
            await check(case, chatloom)
        elapsed = asyncio.get_running_loop().time() - started
        assert case.after <= elapsed <= 1.1 * case.after + 0.2
        assert len(server.requests) == case.requests
        assert case.connections in (None, server.connections - before)
        check_what_was_sent(server.requests, proxy.requests)
        await check_the_client_is_whole(case, chatloom, server)


@contextlib.contextmanager
def measured(case: Case) -> Iterator[None]:
    if case.memory is None:
        yield
        return
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] <= case.memory
    finally:
        tracemalloc.stop()


async def check(case: Case, chatloom: AsyncChatloom) -> None:
    if not isinstance(case.sees, Raises):
        assert tuple(await chatloom.get_allowed_domains("agt_1")) == case.sees
        return
    with pytest.raises(case.sees.kind) as caught:
        await chatloom.get_allowed_domains("agt_1")
    check_error(case, case.sees, caught.value)


def check_error(case: Case, sees: Raises, error: ChatloomError) -> None:
    assert type(error) is sees.kind
    assert re.search(sees.says, str(error))
    assert {name: getattr(error, name) for name in sees.having} == dict(sees.having)
    assert error.method == "GET"
    assert error.path.startswith("/api/plugin/")
    assert len(str(error)) < 4_000
    str(error).encode()
    # Nothing of a library hangs on it, and it travels between processes.
    assert error.__cause__ is None
    assert error.__context__ is None
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert (type(copy), str(copy), fields(copy)) == (type(error), str(error), fields(error))
    assert KEY.lower() not in f"{error!r} {vars(error)}".lower()
    if case.requests and sees.kind is not DeadlineExceededError:
        assert len(error.attempts) == case.requests


def fields(error: ChatloomError) -> dict[str, object]:
    """Return what an error carries, errors within as text: they are equal to themselves only."""
    return {k: str(v) if isinstance(v, ChatloomError) else v for k, v in vars(error).items()}


def check_what_was_sent(requests: list[bytes], proxied: list[bytes]) -> None:
    for head in requests:
        assert KEY.encode() in head
        assert b"cookie" not in head.lower()
    for head in proxied:
        assert KEY.encode() not in head or not head.startswith(b"CONNECT")


async def check_the_client_is_whole(case: Case, chatloom: AsyncChatloom, server: Server) -> None:
    """Nothing is left behind, and the next call on the same pool is answered."""
    statistics = chatloom.stats()
    assert statistics.in_flight == 0
    assert statistics.limiter is not None
    assert statistics.limiter.in_flight == 0
    assert statistics.limiter.waiting == 0
    server.play((answer(),))
    if case.peer in (Peer(), Peer(greeting=case.peer.greeting), Peer(certificate="good")):
        patient = chatloom.with_options(retry=RetryPolicy(max_retry_after=4000))
        assert len(await patient.get_allowed_domains("agt_2")) == 2
        assert len(server.requests) == 1
