"""The life of a sandbox: serving, stopping, threads."""

import asyncio
import gc
import math
import socket

import pytest

from chatloom_async.testing.faults import Fault
from chatloom_async.testing.quota import Quota
from chatloom_async.testing.sandbox import Sandbox
from tests.testing.asking import ACME, AGENTS, KEY, ask, domains_of, raw
from tests.virtual import now


def test_keys_are_not_shown() -> None:
    sandbox = Sandbox([ACME], quota=Quota.token_bucket(60, 60), faults=[Fault.reset()])
    assert KEY not in repr(ACME) + repr(sandbox)


@pytest.mark.parametrize("latency", [-1.0, math.nan, math.inf])
def test_a_latency_that_makes_no_sense_is_refused(latency: float) -> None:
    with pytest.raises(ValueError, match="latency"):
        Sandbox(latency=latency)


def test_a_sandbox_that_never_served_has_no_address() -> None:
    with pytest.raises(RuntimeError, match="enter it first"):
        _ = Sandbox().base_url


async def test_a_stopped_sandbox_can_serve_again() -> None:
    sandbox = Sandbox([ACME])
    for number in (1, 2):
        async with sandbox:
            assert (await ask(sandbox, AGENTS)).status == 200
            with pytest.raises(RuntimeError, match="already"):
                await sandbox.__aenter__()
        assert sandbox.count() == number
        with pytest.raises(ConnectionRefusedError):
            await ask(sandbox, AGENTS)


async def test_stopping_closes_idle_connections() -> None:
    async with asyncio.timeout(10):
        async with Sandbox([ACME]) as sandbox:
            port = int(sandbox.base_url.rpartition(":")[2])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            await ask(sandbox, AGENTS)
        assert await reader.read() == b""
        writer.close()


def test_the_thread_ends_with_its_block() -> None:
    async def hang(sandbox: Sandbox) -> None:
        pending = asyncio.create_task(ask(sandbox, domains_of("agt_1")))
        await ask(sandbox, AGENTS)
        pending.cancel()

    with Sandbox([ACME], faults=[Fault.hang(path=domains_of("*"))]).in_thread() as sandbox:
        asyncio.run(hang(sandbox))
    assert sandbox.count(status=0) == 1
    with pytest.raises(ConnectionRefusedError):
        asyncio.run(ask(sandbox, AGENTS))


def test_a_port_in_use_is_an_os_error() -> None:
    with Sandbox().in_thread() as first:
        port = int(first.base_url.rpartition(":")[2])
        with pytest.raises(OSError, match=str(port)), Sandbox(port=port).in_thread():
            pass


@pytest.mark.looptime
@pytest.mark.parametrize("fault", [Fault.hang(), Fault.delay(3600), Fault.drip(3600)])
async def test_stopping_waits_for_no_unfinished_answer(fault: Fault) -> None:
    async with Sandbox([ACME], faults=[fault]) as sandbox:
        pending = asyncio.create_task(raw(sandbox, f"GET {AGENTS} HTTP/1.1", f"X-API-Key: {KEY}"))
        await asyncio.sleep(10)
        assert sandbox.peak_in_flight == 1
        stopping = now()
    assert now() - stopping < 0.2
    assert b'"count"' not in await pending
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_stopping_closes_a_connection_of_the_last_moment() -> None:
    with Sandbox().in_thread() as sandbox:
        port = int(sandbox.base_url.rpartition(":")[2])
        late = socket.create_connection(("127.0.0.1", port))
    late.close()
    gc.collect()  # a socket that was left open warns here


@pytest.mark.looptime
async def test_stopping_waits_for_no_peer_that_stopped_reading() -> None:
    huge = Fault.status(200, body=b"x" * 20_000_000)
    async with Sandbox([ACME], faults=[huge]) as sandbox:
        port = int(sandbox.base_url.rpartition(":")[2])
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
        writer.write(f"GET {AGENTS} HTTP/1.1\r\nHost: s\r\nX-API-Key: {KEY}\r\n\r\n".encode())
        await asyncio.sleep(10)
        assert sandbox.count() == 1
        stopping = now()
    assert now() - stopping < 0.2
    writer.close()
