"""Jobs through an outage, in virtual time: what is lost, what is sent in vain, how it recovers.

Not here: rate limits alone, the table and its bars (``politeness``).
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import frozen

from benchmarks.simulated_clients import gate, path_of, work
from benchmarks.simulated_servers import Server, TokenBucket, Trouble
from chatloom_async.testing.clock import FakeClock


@frozen
class Outage:
    """A job of 300 tasks, and what goes wrong in it."""

    name: str
    kind: str = "503"
    seconds: float = 30.0
    probability: float = 1.0
    poisoned: frozenset[str] | None = None
    limit: float | None = None

    @property
    def stops(self) -> bool:
        """Tell whether it concerns everyone, and the gate should close."""
        return self.probability == 1 and self.poisoned is None


OUTAGES = (
    Outage("a hiccup of 2 s", seconds=2),
    Outage("30 s of 503s"),
    Outage("30 s of resets", "reset"),
    Outage("30 s of hanging requests", "hang"),
    Outage("a limit and 30 s of 503s", limit=1200),
    Outage("20 % errors for a minute", seconds=60, probability=0.2),
    Outage("one poisoned agent", seconds=math.inf, poisoned=frozenset({path_of(7)})),
)


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


@contextmanager
def counted_closures() -> Iterator[list[str]]:
    """Collect the warnings of closing gates, and keep the log quiet."""
    closures = list[str]()

    def note(record: logging.LogRecord) -> bool:
        if record.levelno == logging.WARNING:
            closures.append(record.getMessage())
        return False

    logger = logging.getLogger("chatloom_async")
    logger.addFilter(note)
    try:
        yield closures
    finally:
        logger.removeFilter(note)


def survive(outage: Outage, seed: int, *, quick: bool) -> Survival:
    """Run one job through one outage, in virtual time."""
    random.seed(seed)
    tasks, calls, start = (300, 6000, 10.0) if quick else (300, 24_000, 30.0)
    end = start + outage.seconds
    trouble = Trouble(start, end, outage.kind, outage.probability, outage.poisoned)
    quota = None if outage.limit is None else TokenBucket(outage.limit, outage.limit / 5)
    server, failed = Server(random.Random(seed), quota, troubles=(trouble,)), list[str]()

    async def job() -> None:
        todo, call = iter(range(calls)), gate(server, math.inf)
        async with asyncio.TaskGroup() as group:
            for _ in range(tasks):
                group.create_task(work(todo, call, failed))

    with counted_closures() as closures:
        FakeClock().run(job())
    before = sum(start - 5 <= at < start for at in server.answers) / 5
    known = min((at for at in server.failures if at >= start), default=end)
    during = sum(known <= at < end for at in server.arrivals) if outage.stops else 0
    return Survival(
        lost=sum(path not in (outage.poisoned or ()) for path in failed),
        per_waiting=during / tasks,
        back=recovery(server.answers, end, before) if outage.stops else 0.0,
        closed=sum("fails" in message for message in closures),
    )


def recovery(answers: list[float], end: float, before: float) -> float:
    """Return after how many seconds nine tenths of the answers per second are back."""
    for tenths in range(6000):
        start = end + tenths / 10
        if sum(start <= at < start + 1 for at in answers) >= 0.9 * before:
            return tenths / 10
    return math.inf
