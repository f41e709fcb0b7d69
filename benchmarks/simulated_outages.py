"""Jobs through an outage, in virtual time: what is lost, what is sent in vain, how it recovers.

Not here: rate limits alone, the table and its bars (``politeness``).
"""

from __future__ import annotations

import asyncio
import math
import random
from bisect import bisect_left
from collections.abc import Iterator
from itertools import count

from attrs import frozen

from benchmarks.simulated_clients import Call, Crew, agent_of, chatloom
from benchmarks.simulated_jobs import collected_warnings
from benchmarks.simulated_servers import Server, Trouble, wide
from chatloom_async import ChatloomError
from chatloom_async.testing.api import domains_path
from chatloom_async.testing.clock import FakeClock
from chatloom_async.testing.quota import Quota


@frozen
class Survival:
    """What became of it.

    ``per_waiting``: requests per task between the first failure seen and the end of the outage;
    ``back``: seconds until nine tenths of the throughput before are reached; ``closed``: how often.
    """

    lost: int
    per_waiting: float
    back: float
    closed: int


@frozen
class Outage:
    """What goes wrong, for all or for some, while 300 tasks look agents up now and then."""

    name: str
    kind: str = "503"
    seconds: float = 30.0
    probability: float = 1.0
    poisoned: int | None = None  # the agent that always fails
    limit: float | None = None

    @property
    def stops(self) -> bool:
        """Tell whether it concerns everyone, and the gate should close."""
        return self.probability == 1 and self.poisoned is None

    def is_survived(self, found: Survival) -> bool:
        """Tell whether no bar is missed."""
        if self.stops:
            return not found.lost and found.per_waiting <= 0.2 and found.back <= 5
        return not found.closed and (self.poisoned is None or not found.lost)


OUTAGES = (
    Outage("a hiccup of 2 s", seconds=2),
    Outage("30 s of 503s"),
    Outage("30 s of resets", "reset"),
    Outage("30 s of hanging requests", "hang"),
    Outage("a limit and 30 s of 503s", limit=1200),
    Outage("20 % errors for a minute", seconds=60, probability=0.2),
    Outage("one poisoned agent", seconds=math.inf, poisoned=7),
)


TASKS, THINKS, CALM = 300, 2.0, 15.0  # tasks; seconds between two calls, and after the outage


def survive(outage: Outage, seed: int, *, quick: bool) -> Survival:
    """Run one job through one outage, in virtual time."""
    random.seed(seed)
    start = 10.0 if quick else 30.0
    end = start + (60.0 if math.isinf(outage.seconds) else outage.seconds)
    poisoned = None if outage.poisoned is None else agent_of(outage.poisoned)
    paths = None if poisoned is None else frozenset({domains_path(poisoned)})
    trouble = Trouble(start, start + outage.seconds, outage.kind, outage.probability, paths)
    quota = None if outage.limit is None else Quota.token_bucket(outage.limit, outage.limit / 5)
    clock, failed, pause = FakeClock(), list[str](), random.Random(seed)
    server = Server(
        clock,
        random.Random(seed),
        quota,
        wide,
        service=0,
        troubles=(trouble,),
        limited_first=False,
    )

    async def task(call: Call, agents: Iterator[int]) -> None:
        while clock.monotonic() < end + CALM:
            await asyncio.sleep(pause.expovariate(1 / THINKS))
            agent = agent_of(next(agents))
            try:
                await call(agent)
            except ChatloomError:
                failed.append(agent)

    async def job() -> None:
        agents, [call] = count(), chatloom(server, Crew(), math.inf)
        async with asyncio.TaskGroup() as group:
            for _ in range(TASKS):
                group.create_task(task(call, agents))

    with collected_warnings() as warnings:
        clock.run(job())
    before = sum(start - 5 <= at < start for at in server.answers) / 5
    known = min((at for at in server.failures if at >= start), default=end)
    during = sum(known <= at < end for at in server.arrivals) if outage.stops else 0
    return Survival(
        lost=sum(agent != poisoned for agent in failed),
        per_waiting=during / TASKS,
        back=recovery(server.answers, end, before) if outage.stops else 0.0,
        closed=sum("fails" in message for message in warnings),
    )


def recovery(answers: list[float], end: float, before: float) -> float:
    """Return after how many seconds nine tenths of the answers per second are back."""
    for tenths in range(6000):
        start = end + tenths / 10
        if bisect_left(answers, start + 1) - bisect_left(answers, start) >= 0.9 * before:
            return tenths / 10
    return math.inf
