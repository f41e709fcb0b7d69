"""What users feel as seconds: a first read, a person behind a job, loop after loop.

Not here: makespans and shares of refusals (``simulated_limits``).
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Iterator
from functools import partial

from attrs import frozen

from benchmarks.simulated_clients import NO_CEILING, Crew, agent_of, chatloom, key_of
from benchmarks.simulated_jobs import work
from benchmarks.simulated_servers import Server, SimulatedTransport
from chatloom_async import AsyncChatloom, ChatloomError, RateLimit, RateLimitError, RetryPolicy
from chatloom_async.testing import api
from chatloom_async.testing.clock import FakeClock
from chatloom_async.testing.quota import Quota
from chatloom_async.testing.workspaces import make_workspace


@frozen
class Moment:
    """One figure, how it is measured with a seed, and the most that it may be."""

    title: str
    measure: Callable[[int], float]
    bar: float
    unit: str = "s"


def moments() -> Iterator[Moment]:
    """Yield every one."""
    for (agents, latency), bar in _FIRST_READS.items():
        title = f"first read of {agents} agents at {latency * 1000:.0f} ms"
        yield Moment(title, partial(first_read, agents, latency), bar)
    yield Moment("first read of 500 keys, 10 calls each, at 100 ms", many_keys, 0.6)
    yield Moment("a person behind a job of 3,000 calls", person, 1.0)
    # Where the server itself allows no more than the default ceiling.
    at_a_limit = partial(person, quota=Quota.token_bucket(240, 60))
    yield Moment("a person behind a job at a bucket of 300/min", at_a_limit, 2.0)
    yield Moment("an hour's quota, until the first error", hour, 1.0)
    yield Moment("10,000 look-ups without any limit ÷ no limiter", unlimited, 1.4, "x")
    yield Moment("beyond the ceiling in 120 s", partial(beyond, 1200, 1), 0, "requests")
    yield Moment("beyond the ceiling, six loops", partial(beyond, 100, 6), 0, "requests")
    yield Moment("refused at 100/10 s, six loops", loops_refused, 0.03, "share")


_FIRST_READS = {
    (10, 0.02): 0.1, (10, 0.1): 0.35, (10, 0.3): 1.0,
    (50, 0.02): 0.2, (50, 0.1): 0.6, (50, 0.3): 1.7,
    (250, 0.02): 1.5, (250, 0.1): 3.0, (250, 0.3): 6.0,
}  # fmt: skip


def _server(seed: int, quota: Quota | None = None, seconds: float = 0.05) -> Server:
    random.seed(seed)

    def latency(dice: random.Random) -> tuple[float, float]:
        way = seconds / 2 * dice.uniform(0.9, 1.1)
        return way, way

    return Server(FakeClock(), random.Random(seed), quota, latency, service=0.0)


def first_read(agents: int, latency: float, seed: int) -> float:
    """Return the seconds for a workspace's agents and all their domains, with every default."""
    server = _server(seed, seconds=latency)
    pages = api.pages(make_workspace("acme", "clf_acme", agents))
    server.pages = {path: reply.body for path, reply in pages.items()}

    async def read() -> float:
        chatloom = AsyncChatloom(key_of(0), pool=SimulatedTransport(server))
        found = await chatloom.list_agents()
        await asyncio.gather(*(chatloom.get_allowed_domains(agent.id) for agent in found))
        return server.clock.monotonic()

    return server.clock.run(read())


def many_keys(seed: int) -> float:
    """Return the seconds of a few calls with each of many keys, with every default."""
    server = _server(seed, seconds=0.1)

    async def read() -> float:
        calls = chatloom(server, Crew(keys=500, ceiling=RateLimit()), 0)
        await asyncio.gather(*(call(agent_of(n)) for call in calls for n in range(10)))
        return server.clock.monotonic()

    return server.clock.run(read())


def person(seed: int, quota: Quota | None = None) -> float:
    """Return the longest of 30 waits of somebody with a deadline, while a job is under way."""
    server, waits = _server(seed, quota), list[float]()
    dice = random.Random(seed)

    async def play() -> None:
        bulk = AsyncChatloom(key_of(0), pool=SimulatedTransport(server))
        urgent = bulk.with_options(retry=RetryPolicy(deadline=8.0))
        calls = iter(range(3000))
        job = [
            asyncio.create_task(work(calls, bulk.get_allowed_domains, [], [])) for _ in range(100)
        ]
        await asyncio.sleep(70)
        for _ in range(30):
            await asyncio.sleep(dice.uniform(1, 8))
            started = server.clock.monotonic()
            try:
                await urgent.get_allowed_domains("agt_1")
                waits.append(server.clock.monotonic() - started)
            except ChatloomError:
                waits.append(math.inf)
        for task in job:
            task.cancel()
        await asyncio.gather(*job, return_exceptions=True)

    server.clock.run(play())
    return max(waits)


def hour(seed: int) -> float:
    """Return the seconds from the first refusal to the first error that tells how long to wait."""
    server = _server(seed, Quota.fixed_window(100, 3600).telling("x-ratelimit-epoch-ms"))
    errors = list[float]()

    async def play() -> None:
        [call] = chatloom(server, Crew(), 0)

        async def one(number: int) -> None:
            try:
                await call(agent_of(number))
            except RateLimitError as error:
                told = error.retry_after is not None and error.retry_after > 60
                errors.append(server.clock.monotonic() - spent if told else math.inf)
            except ChatloomError:
                errors.append(math.inf)

        for number in range(100):
            await one(number)
        spent = server.clock.monotonic()
        await asyncio.gather(*(one(number) for number in range(50)))

    server.clock.run(play())
    return max(errors, default=math.inf)


def unlimited(seed: int) -> float:
    """Return the seconds of 10,000 look-ups by 100 tasks ÷ those of a client without a limiter."""

    def seconds(limit: RateLimit | None) -> float:
        server = _server(seed)

        async def play() -> float:
            [call] = chatloom(server, Crew(ceiling=limit), 0)
            calls = iter(range(10_000))
            await asyncio.gather(*(work(calls, call, [], []) for _ in range(100)))
            return server.clock.monotonic()

        return server.clock.run(play())

    return seconds(NO_CEILING) / seconds(None)


def beyond(calls: int, loops: int, seed: int) -> float:
    """Return the most requests above the default ceiling, of so many calls in each loop."""
    server, limit = _server(seed), RateLimit()
    client = AsyncChatloom(key_of(0), pool=SimulatedTransport(server))

    async def play() -> None:
        agents = map(agent_of, range(calls))
        tasks = [asyncio.create_task(client.get_allowed_domains(agent)) for agent in agents]
        await asyncio.wait(tasks, timeout=120)

    for _ in range(loops):
        server.clock.run(play())
    return _excess(sorted(server.arrivals), limit)


def _excess(times: list[float], limit: RateLimit) -> float:
    """Return how far a bucket of these figures would have been overdrawn by these requests."""
    level, at, worst = limit.burst, -math.inf, 0.0
    for now in times:
        level = min(limit.burst, level + (now - at) * (limit.per_minute or math.inf) / 60) - 1
        at, worst = now, max(worst, -level)
    # A request is counted on arrival: those that left evenly may arrive as much closer together.
    return float(math.floor(worst))


def loops_refused(seed: int) -> float:
    """Return the share refused of six jobs in a loop each, at a window that tells nothing."""
    server = _server(seed, Quota.fixed_window(100, 10).telling("silent"))
    client = AsyncChatloom(key_of(0), pool=SimulatedTransport(server), rate_limit=NO_CEILING)

    async def play() -> None:
        await asyncio.gather(*(client.get_allowed_domains(agent_of(n)) for n in range(150)))

    for _ in range(6):
        server.clock.run(play())
    return server.refused / len(server.arrivals)
