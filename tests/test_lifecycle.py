"""From making a client to closing it, in one loop or many, in threads, forks and forgotten."""

import asyncio
import gc
import os
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import pytest

from chatloom_async import (
    AgentList,
    AsyncChatloom,
    ClientClosedError,
    ConfigurationError,
    ConnectionPool,
    RateLimit,
)
from chatloom_async.calls.attempts import CallRecord
from chatloom_async.testing import Fault, Sandbox
from chatloom_async.transport import Request
from tests.clients import KEY, client_at, outcomes
from tests.faults.server import Hang, Script, Server
from tests.ratelimit.test_shared import hang, strange
from tests.threads import in_threads

SILENT: Script = (Hang(),)


@contextmanager
def warned() -> Iterator[list[warnings.WarningMessage]]:
    """Yield the list of what is warned of inside, also by the garbage collection at the end."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        yield told
        gc.collect()


@pytest.mark.looptime
async def test_closing_the_pool_ends_all_clients_calls() -> None:
    async with Server([SILENT]) as server:
        pool = ConnectionPool(5)
        clients = [AsyncChatloom(f"{KEY}{n}", base_url=server.url, pool=pool) for n in range(3)]
        calls = [asyncio.create_task(client.list_agents()) for client in clients]
        await asyncio.sleep(1)
        await pool.aclose()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [ClientClosedError] * 3
        with pytest.raises(ClientClosedError):
            await clients[0].list_agents()


async def test_closing_cut_short_is_finished_again(
    served: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, closed = ConnectionPool(), list[aiohttp.ClientSession]()
    await client_at(served.base_url, pool).list_agents()
    finish = aiohttp.ClientSession.close

    async def close(session: aiohttp.ClientSession) -> None:
        closed.append(session)
        if len(closed) < 2:
            await asyncio.Event().wait()
        await finish(session)

    monkeypatch.setattr(aiohttp.ClientSession, "close", close)
    first = asyncio.create_task(pool.aclose())
    while not closed:
        await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    await pool.aclose()
    assert closed[-1].closed


@pytest.mark.parametrize("used", [False, True])
async def test_every_method_raises_after_closing(served: Sandbox, *, used: bool) -> None:
    chatloom = client_at(served.base_url)
    if used:
        await chatloom.list_agents()
    await asyncio.gather(*(chatloom.aclose() for _ in range(5)))
    await chatloom.aclose()
    sibling = chatloom.with_options(timeout=1)
    raw, domains = chatloom.get_raw("/x"), chatloom.get_allowed_domains("a")
    for call in (chatloom.list_agents(), domains, raw, sibling.list_agents()):
        with pytest.raises(ClientClosedError):
            await call
    assert chatloom.stats().in_flight == 0


@pytest.mark.looptime
async def test_nothing_asks_a_shared_store_after_closing() -> None:
    async with ConnectionPool() as pool:
        chatloom = AsyncChatloom(KEY, pool=pool, rate_limit=RateLimit(shared=strange(hang)))
        calls = [asyncio.create_task(chatloom.list_agents()) for _ in range(3)]
        await asyncio.sleep(0.1)
        await pool.aclose()
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(each) for each in ended} == {ClientClosedError}
        assert asyncio.all_tasks() == {asyncio.current_task()}


def test_one_client_serves_three_runs_with_few_connections(served: Sandbox) -> None:
    pool = ConnectionPool(16)
    chatloom = client_at(served.base_url, pool)
    for _ in range(3):
        found = asyncio.run(outcomes(chatloom, 333))
        assert [len(agents) for agents in found] == [2] * 333
    assert served.connections <= 50
    asyncio.run(pool.aclose())
    with pytest.raises(ClientClosedError):
        asyncio.run(chatloom.list_agents())


@pytest.mark.parametrize("limit", [RateLimit(per_minute=None), RateLimit(60_000, burst=1)])
def test_one_client_works_in_several_threads_at_once(limit: RateLimit, served: Sandbox) -> None:
    chatloom = client_at(served.base_url, rate_limit=limit)
    found: list[object] = []

    async def run() -> None:
        found.extend(await outcomes(chatloom, 150))

    in_threads(4, run)
    asyncio.run(chatloom.aclose())
    assert {type(each) for each in found} == {AgentList}
    assert (len(found), chatloom.stats().in_flight) == (600, 0)


def test_closing_ends_the_calls_of_another_thread(served: Sandbox) -> None:
    served.plant(Fault.hang(times=None))
    chatloom = client_at(served.base_url)
    found: list[object] = []

    async def close() -> None:
        while not served.requests:
            await asyncio.sleep(0.001)
        await chatloom.aclose()

    thread = threading.Thread(target=lambda: found.extend(asyncio.run(outcomes(chatloom, 1))))
    thread.start()
    asyncio.run(close())
    thread.join(5)
    assert [type(each) for each in found] == [ClientClosedError]


def test_a_loop_ending_amid_closing_gets_no_coroutine(served: Sandbox) -> None:
    blocked, closed, pools = threading.Event(), threading.Event(), []

    async def use() -> None:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
            pools.append(ConnectionPool(session=session))
            await client_at(served.base_url, pools[0]).list_agents()

    def work() -> None:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(use())

        def last() -> None:
            loop.stop()
            blocked.set()
            closed.wait(10)

        loop.call_soon(last)
        loop.run_forever()
        loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    blocked.wait(10)
    asyncio.run(pools[0].aclose())
    closed.set()
    thread.join()
    with warned() as told:
        del thread
    assert not told


def test_a_thread_closes_an_ending_loops_pool(served: Sandbox) -> None:
    errors: list[str] = []
    pool = ConnectionPool()

    async def cleans_up() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            thread = threading.Thread(target=lambda: asyncio.run(pool.aclose()))
            thread.start()
            thread.join()

    async def work() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: errors.append(context["message"]))
        await client_at(served.base_url, pool).list_agents()
        left = loop.create_task(cleans_up())
        await asyncio.sleep(0)
        assert not left.done()

    asyncio.run(work())
    assert errors == []


def test_a_pool_survives_a_loop_closed_without_ceremony(served: Sandbox) -> None:
    chatloom = client_at(served.base_url)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(chatloom.list_agents())
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    assert len(asyncio.run(chatloom.list_agents())) == 2
    asyncio.run(chatloom.aclose())


def test_calls_of_a_closed_loop_are_let_go(served: Sandbox) -> None:
    async def begin() -> Any:
        return asyncio.current_task()

    pool = ConnectionPool()
    lost: Any = type("Lost", (), {"task": asyncio.run(begin())})()
    pool.shared.in_flight.calls.add(lost)
    asyncio.run(client_at(served.base_url, pool).list_agents())
    assert pool.stats().calls == 0
    asyncio.run(pool.aclose())


async def test_a_loop_closed_at_this_moment_keeps_nobody() -> None:
    """Another thread may close its loop between any two steps of ours."""

    def refuse(*_: object) -> None:
        raise RuntimeError("Event loop is closed")

    loop = type("Loop", (), {"is_closed": lambda _: False, "call_soon_threadsafe": refuse})()
    task: Any = type("Task", (), {"get_loop": lambda _: loop})()
    pool = ConnectionPool()
    pool.shared.in_flight.calls.add(CallRecord(Request("GET", "", "/x", "/x"), task=task))
    await pool.aclose()
    assert pool.closed


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forking is for POSIX")
def test_a_client_works_on_both_sides_of_fork(served: Sandbox) -> None:
    script = """
        chatloom = AsyncChatloom(KEY, base_url=URL)
        async def both():
            assert len(await chatloom.list_agents()) == 2
        asyncio.run(both())
        child = os.fork()
        asyncio.run(both())
        asyncio.run(chatloom.aclose())
        if child:
            assert os.waitpid(child, 0)[1] == 0
    """
    assert run_strictly(script, URL=served.base_url) == ""


STAR = """
import asyncio, gc, os
from chatloom_async import *
from chatloom_async.testing import *
"""


def run_strictly(script: str, **given: str) -> str:
    """Run a script in development mode, warnings as errors; return what it complains of."""
    names = "\n".join(f"{name} = {value!r}" for name, value in {"KEY": KEY, **given}.items())
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", STAR + names + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    return "\n".join(line for line in lines if not line.startswith("Executing <"))  # it was slow


def test_nothing_is_left_behind_in_development_mode() -> None:
    script = """
        faults = [Fault.status(503), Fault.reset(), Fault.cut_body(), Fault.malformed()]
        faults.append(Fault.drip(0.01))
        workspace = make_workspace("acme", KEY, agents=20)
        FREE = RateLimit(per_minute=None)
        ONCE = RetryPolicy(attempts=1)

        async def main():
            async with Sandbox([workspace], faults=faults) as sandbox:
                chatloom = AsyncChatloom(KEY, base_url=sandbox.base_url, rate_limit=FREE)
                async with chatloom:
                    once = chatloom.with_options(retry=ONCE, timeout=0.2)
                    calls = [once.list_agents() for _ in range(9)]
                    await asyncio.gather(*calls, return_exceptions=True)
                    ids = [agent.id for agent in await chatloom.list_agents()]
                    async with FanOut(chatloom.get_allowed_domains, ids, concurrency=5) as answers:
                        async for answer in answers:
                            break
                    sandbox.plant(Fault.hang(times=None))
                    try:
                        async with asyncio.timeout(0.05):
                            await chatloom.list_agents()
                    except TimeoutError:
                        pass
                    left = [asyncio.create_task(chatloom.list_agents()) for _ in range(5)]
                    await asyncio.sleep(0.05)
                await asyncio.gather(*left, return_exceptions=True)

        async def leave_calls_alone():
            global left
            left = [asyncio.create_task(lonely.list_agents()) for _ in range(5)]
            await asyncio.sleep(0.05)

        def close_while_a_loop_stands_still():
            with Sandbox([workspace]).in_thread() as sandbox, asyncio.Runner() as runner:
                chatloom = AsyncChatloom(KEY, base_url=sandbox.base_url)
                runner.run(chatloom.list_agents())
                other = asyncio.new_event_loop()
                other.run_until_complete(chatloom.aclose())
                other.close()

        asyncio.run(main(), debug=True)
        slow = RetryPolicy(initial_delay=9)
        lonely = AsyncChatloom(KEY, base_url="http://127.0.0.1:9", retry=slow)
        for _ in range(2):
            asyncio.run(leave_calls_alone())
        asyncio.run(lonely.aclose())
        close_while_a_loop_stands_still()
        gc.collect()
    """
    assert run_strictly(script) == ""


def forgotten(recorded: list[warnings.WarningMessage]) -> list[str]:
    return [str(w.message) for w in recorded if "never closed" in str(w.message)]


@pytest.mark.parametrize("what", ["client", "pool", "prompt"])
def test_a_forgotten_pool_names_where_it_was_made(served: Sandbox, what: str) -> None:
    async def forget() -> None:
        if what == "client":
            chatloom = AsyncChatloom(KEY, base_url=served.base_url)  # made here
        else:
            pool = ConnectionPool() if what == "pool" else eval("ConnectionPool()")  # noqa: S307
            chatloom = client_at(served.base_url, pool)
        await chatloom.list_agents()

    with warned() as recorded:
        asyncio.run(forget())
    lines = forget.__code__.co_firstlineno + (2 if what == "client" else 4)
    (message,) = forgotten(recorded)
    made = "<string>:1" if what == "prompt" else f"{__file__}:{lines}"
    assert f"made at {made} " in message
    assert [w.category for w in recorded] == [ResourceWarning]


def test_forgetting_a_client_in_a_loop_warns_once(served: Sandbox) -> None:
    async def forget() -> None:
        await AsyncChatloom(KEY, base_url=served.base_url).list_agents()
        gc.collect()
        await asyncio.sleep(0.01)

    with warned() as recorded:
        asyncio.run(forget(), debug=True)
    assert len(forgotten(recorded)) == len(recorded) == 1


def test_an_unused_or_refused_client_does_not_warn() -> None:
    with warned() as recorded:
        AsyncChatloom(KEY)
        ConnectionPool()
        with pytest.raises(ConfigurationError):
            ConnectionPool(0)
    assert recorded == []
