"""Ways to look up the domains of many agents: by hand, as most people write it, and this package's.

Each is prepared once, on the running loop, and then asked for a number of look-ups, each of an
agent that was never asked for before. Not here: how they are measured (``fanout``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from itertools import count
from typing import Any

import aiohttp
from attrs import frozen
from cattrs import Converter
from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from chatloom_async import AsyncChatloom, ConnectionPool, FanOut, RateLimit, Success

KEY = "clf_benchmark"

Run = Callable[[int], Coroutine[Any, Any, int]]
Contender = Callable[[str, int], AbstractAsyncContextManager[Run]]


@asynccontextmanager
async def bare(base_url: str, in_flight: int) -> AsyncGenerator[Run, None]:
    """Workers on one iterator: ``get``, ``raise_for_status``, ``json``; nothing else."""
    agents = _agents()
    async with _session(in_flight) as session:

        async def work(lookups: Iterator[int]) -> int:
            return sum([len(await _lookup(session, base_url, next(agents))) for _ in lookups])

        async def run(lookups: int) -> int:
            waiting = iter(range(lookups))
            return sum(await asyncio.gather(*(work(waiting) for _ in range(in_flight))))

        yield run


@frozen
class Domains:
    """What the naive contender structures."""

    domains: list[str]


@asynccontextmanager
async def naive(base_url: str, in_flight: int) -> AsyncGenerator[Run, None]:
    """A task per agent behind a semaphore, with tenacity around and cattrs behind each request."""
    agents, converter = _agents(), Converter()
    failures = (aiohttp.ClientError, TimeoutError)
    async with _session(in_flight) as session:

        async def one(slots: asyncio.Semaphore, agent: str) -> int:
            retrying = AsyncRetrying(
                stop=stop_after_attempt(4),
                wait=wait_random_exponential(max=8),
                retry=retry_if_exception_type(failures),
                reraise=True,
            )
            async with slots:
                async for attempt in retrying:
                    with attempt:
                        domains = await _lookup(session, base_url, agent)
            return len(converter.structure({"domains": domains}, Domains).domains)

        async def run(lookups: int) -> int:
            slots = asyncio.Semaphore(in_flight)
            return sum(await asyncio.gather(*(one(slots, next(agents)) for _ in range(lookups))))

        yield run


@asynccontextmanager
async def chatloom(base_url: str, in_flight: int, *, direct: bool) -> AsyncGenerator[Run, None]:
    """This package's fan-out: retries armed, the rate limiter on and open, results typed."""
    agents = _agents()
    open_wide = RateLimit(per_minute=None)
    async with (
        ConnectionPool(in_flight, direct=direct) as pool,
        AsyncChatloom(KEY, base_url=base_url, rate_limit=open_wide, pool=pool) as client,
    ):

        async def run(lookups: int) -> int:
            found, asked = 0, (next(agents) for _ in range(lookups))
            async with FanOut(client.get_allowed_domains, asked, concurrency=in_flight) as answers:
                async for answer in answers:
                    if isinstance(answer, Success):
                        found += len(answer.value)
            return found

        yield run


CONTENDERS: dict[str, Contender] = {
    "bare": bare,
    "naive": naive,
    "session": partial(chatloom, direct=False),
    "direct": partial(chatloom, direct=True),
}


def _agents() -> Iterator[str]:
    return (f"agt_{number:08}" for number in count())


def _session(in_flight: int) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {KEY}"},
        connector=aiohttp.TCPConnector(limit=in_flight),
    )


async def _lookup(session: aiohttp.ClientSession, base_url: str, agent: str) -> list[str]:
    async with session.get(f"{base_url}/api/plugin/agents/{agent}/allowed-domains") as response:
        response.raise_for_status()
        domains: list[str] = (await response.json())["domains"]
        return domains
