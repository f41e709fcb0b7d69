"""Bounds under load: sockets, memory and descriptors, queueing, deadlines, and total outages."""

import asyncio
import gc
import os
import tracemalloc
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from chatloom_async import (
    APIConnectionError,
    ApiKey,
    AsyncChatloom,
    ChatloomError,
    ConnectionPool,
    DeadlineExceededError,
    FanOut,
    InternalServerError,
    NotFoundError,
    RateLimit,
    RetryPolicy,
)
from chatloom_async.network.bounds import Timeouts
from tests.clients import KEY, client_at
from tests.faults.case import answer, says
from tests.faults.server import Close, Hang, Pause, Script, Server
from tests.garbage import no_collector

pytestmark = pytest.mark.looptime
OUTAGE = says({"error": "down"}, status=503)


async def look_up(chatloom: AsyncChatloom, number: int) -> Counter[int]:
    calls = (chatloom.get_allowed_domains(f"agt_{n}") for n in range(number))
    return Counter(map(len, await asyncio.gather(*calls)))


def memory() -> int:
    """Bytes held, but for what a thread of the test runner takes in meanwhile: the next tests."""
    runner = [
        tracemalloc.Filter(inclusive=False, filename_pattern=f"*/{name}/*")
        for name in ("execnet", "xdist")
    ]
    return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces(runner).traces)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0  # noqa: PTH208


@pytest.mark.parametrize("rate_limit", [None, RateLimit(per_minute=None)], ids=["free", "gated"])
async def test_nothing_grows_over_ten_rounds(rate_limit: RateLimit | None) -> None:
    async with Server([(answer(),)]) as server, ConnectionPool(limit=20) as pool:
        chatloom = client_at(server.url, pool, rate_limit=rate_limit)
        opened, held = descriptors(), list[int]()
        tracemalloc.start()
        try:
            for _ in range(10):
                await look_up(chatloom, 40)
                await asyncio.sleep(130)  # the gate remembers departures of two minutes
                server.requests.clear()
                gc.collect()
                held.append(memory())
        finally:
            tracemalloc.stop()
        assert held[-1] - held[3] < 10_000
        assert descriptors() <= opened + 40  # both ends of what the pool may keep


async def once(chatloom: AsyncChatloom) -> None:
    with suppress(APIConnectionError, NotFoundError):
        retry = RetryPolicy(attempts=2, deadline=60)
        await chatloom.with_options(retry=retry).get_allowed_domains("agt_1")


async def left(chatloom: AsyncChatloom) -> None:
    async with FanOut(chatloom.get_allowed_domains, ["agt_1"]):
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    ("scripts", "way"),
    [
        ([(answer(),)], once),
        ([(OUTAGE,), (answer(),)], once),
        ([(says({"error": "no"}, status=404),)], once),
        ([(b"220 mail.example\r\n\r\n", Close())], once),
        ([(Hang(),)], left),
    ],
    ids=["answered", "repeated", "refused", "no HTTP", "left"],
)
async def test_an_ended_call_is_gone_without_the_collector(
    scripts: list[Script], way: Callable[[AsyncChatloom], Awaitable[None]]
) -> None:
    with no_collector():
        async with Server(scripts) as server, ConnectionPool() as pool:
            key = ApiKey(KEY)
            held = weakref.ref(key)
            await way(client_at(server.url, pool, key))
            del key
            assert held() is None


async def test_five_hundred_calls_queue_and_none_times_out() -> None:
    slow: Script = (Pause(0.9), answer())
    async with Server([slow]) as server, ConnectionPool(limit=10) as pool:
        assert await look_up(client_at(server.url, pool, timeout=1.0), 500) == {2: 500}
        assert pool.opened == server.connections <= 10
        assert len(server.requests) == 500


SILENCE: Script = (Hang(),)


async def fail(chatloom: AsyncChatloom, number: int) -> tuple[float, ChatloomError]:
    """Make a call that fails; return how long that took, in virtual seconds, and its error."""
    now = asyncio.get_running_loop().time
    started = now()
    with pytest.raises(ChatloomError) as caught:
        await chatloom.get_allowed_domains(f"agt_{number}")
    return now() - started, caught.value


@pytest.mark.parametrize("deadline", [5.0, 60.0])
@pytest.mark.parametrize("rate_limit", [RateLimit(), RateLimit(per_minute=None)], ids=str)
@pytest.mark.parametrize("kind", ["errors", "silence", "refused"])
async def test_a_total_outage_costs_hardly_a_request_each(
    kind: str, rate_limit: RateLimit, deadline: float
) -> None:
    script: Script = (OUTAGE,) if kind == "errors" else SILENCE
    async with Server([script]) as server, ConnectionPool() as pool:
        url = "http://127.0.0.1:9" if kind == "refused" else server.url
        retry = RetryPolicy(deadline=deadline)
        chatloom = client_at(url, pool, timeout=2.0, retry=retry, rate_limit=rate_limit)
        results = await asyncio.gather(*(fail(chatloom, number) for number in range(1_000)))
        assert chatloom.stats().requests <= 1_100
        assert len(server.requests) <= 1_100
    for took, error in results:
        assert took <= deadline + 0.3
        told = error.last_failure if isinstance(error, DeadlineExceededError) else error
        unsent = getattr(error, "retry_after", None) is not None  # beyond the client's own ceiling
        assert unsent or isinstance(told, InternalServerError | APIConnectionError)


def alive() -> int:
    gc.collect()
    return sum(isinstance(each, Timeouts) for each in gc.get_objects())


async def test_only_the_latest_of_many_timeouts_is_kept() -> None:
    before = alive()
    async with Server([(answer(),)]) as server, AsyncChatloom(KEY, base_url=server.url) as chatloom:
        for extra in range(20):
            await chatloom.with_options(timeout=2 + extra / 100).get_allowed_domains("agt_1")
        await asyncio.sleep(3)
        assert alive() <= before + 1  # the latest
