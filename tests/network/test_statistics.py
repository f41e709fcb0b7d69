"""What a pool tells of itself."""

import asyncio
import json

import pytest

from chatloom_async import ApiKey, AsyncChatloom, Cache, ConnectionPool
from chatloom_async.testing import Fault, Sandbox, make_workspace
from tests.clients import KEY, client_at, outcomes

ACME = make_workspace("acme", KEY)
pytestmark = pytest.mark.looptime


async def test_a_pool_tells_of_connections_and_its_queue() -> None:
    slow = Fault.delay(0.2, times=2)
    async with (
        Sandbox([ACME], faults=[slow]) as sandbox,
        ConnectionPool(limit=2) as pool,
    ):
        calls = asyncio.create_task(outcomes(client_at(sandbox.base_url, pool), 5))
        while sandbox.count() < 2:
            await asyncio.sleep(0)
        assert figures(pool) == (2, 0, 2, 3, 5)
        await calls
        assert figures(pool) == (2, 2, 0, 0, 0)
    assert pool.stats().connections == 0


def figures(pool: ConnectionPool) -> tuple[int, ...]:
    told = pool.stats()
    return told.connections, told.idle, told.requests, told.queued, told.calls


async def test_a_pool_tells_of_limiters_by_fingerprint() -> None:
    async with (
        Sandbox([ACME], faults=[Fault.status(429)]) as sandbox,
        ConnectionPool() as pool,
    ):
        await AsyncChatloom(KEY, base_url=sandbox.base_url, pool=pool).list_agents()
        [(name, limiter)] = pool.stats().limiters.items()
        assert name == ApiKey(KEY).fingerprint
        assert (limiter.sent, limiter.refused, limiter.state) == (2, 1, "open")


async def test_a_pool_tells_of_all_its_caches() -> None:
    async with Sandbox([ACME]) as sandbox, ConnectionPool() as pool:
        for cache in (Cache(ttl=60), Cache(ttl=60), Cache(ttl=90)):
            await client_at(sandbox.base_url, pool, cache=cache).list_agents()
        told = pool.stats().cache
        assert (told.hits, told.misses, told.stale, told.entries) == (1, 2, 0, 2)
        assert told.size > 2000
        assert json.loads(json.dumps(pool.stats().to_dict()))["cache"]["hits"] == 1


def test_a_pool_may_be_asked_without_loop() -> None:
    assert ConnectionPool().stats().to_dict()["limiters"] == {}
