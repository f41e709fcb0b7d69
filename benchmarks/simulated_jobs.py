"""Jobs of many calls in front of a limit, in virtual time, and what becomes of them.

Not here: which jobs, and the bars (``simulated_limits``).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus

from attrs import frozen

from benchmarks.simulated_clients import ALONE, CLIENTS, Call, Crew, Failed, agent_of, key_of
from benchmarks.simulated_servers import Latency, Server, Trouble, ideal, near
from chatloom_async import ChatloomError
from chatloom_async.testing.clock import FakeClock
from chatloom_async.testing.quota import Quota

WAYS = 0.04  # seconds: there and back, as near as most jobs are
PATIENCE = 10, 120.0  # a job ends after so many times its ideal and so many seconds


@frozen
class Job:
    """``calls`` look-ups by ``tasks`` tasks, shared out between the clients of the crew.

    ``one_heap``: all clients take their calls from one heap. ``moves``: when the limit
    moves, and where to. ``period``: the server's windows follow its clock, whose phase is random.
    ``neighbour``: requests per minute that somebody else sends with the same key; ``fair``: the
    limit that this leaves. ``ideal``: seconds, where no meter can tell.
    """

    quota: Quota
    calls: int = 3000
    tasks: int = 100
    crew: Crew = ALONE
    one_heap: bool = True
    latency: Latency = near
    service: float = 0.03
    troubles: tuple[Trouble, ...] = ()
    limited_first: bool = True
    connecting: float = 0.0
    moves: tuple[float, float] | None = None
    period: float = 0.0
    neighbour: float = 0.0
    fair: Quota | None = None
    ideal: float | None = None
    rate: float = 600.0  # per minute, for a peer that must be told

    def phase(self, seed: int) -> float:
        """Return how far into a window of the server the job begins."""
        return random.Random(seed).uniform(0, self.period)

    def best(self, seed: int) -> float:
        """Return the seconds of a client that knows the server's state, and one round trip."""
        seconds = self.ideal
        if seconds is None:
            shared = self.crew.keys if not self.quota.address else 1
            quota = self.fair or self.quota
            seconds = ideal(quota, self.calls // shared, self.phase(seed), self.moves)
        ceiling = self.crew.ceiling
        if ceiling is not None and ceiling.per_minute is not None:
            clients = self.crew.keys * self.crew.processes
            beyond = self.calls / clients - ceiling.burst
            seconds = max(seconds, beyond * 60 / ceiling.per_minute)
        return seconds + WAYS + self.service


@frozen
class Outcome:
    """What became of it: makespan ÷ best, then shares between 0 and 1.

    ``theirs``: the share of a neighbour's requests that were refused.
    """

    time: float
    refused: float
    failed: float
    sent: float
    theirs: float = 0.0


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """Collect the package's warnings, and keep its log quiet."""
    warnings = list[str]()

    def note(record: logging.LogRecord) -> bool:
        if record.levelno == logging.WARNING:
            warnings.append(record.getMessage())
        return False

    logger = logging.getLogger("chatloom_async")
    logger.addFilter(note)
    try:
        yield warnings
    finally:
        logger.removeFilter(note)


def run(job: Job, client: str, seed: int) -> Outcome:
    """Run one job in virtual time."""
    random.seed(seed)
    clock, best = FakeClock(), job.best(seed)
    server = Server(
        clock,
        random.Random(seed),
        job.quota,
        job.latency,
        job.service,
        job.phase(seed),
        job.troubles,
        limited_first=job.limited_first,
        connecting=job.connecting,
    )
    done, failed, theirs = list[str](), list[str](), list[int]()

    async def play() -> float:
        if job.moves is not None:
            asyncio.get_running_loop().call_at(job.moves[0], server.limit_to, job.moves[1])
        calls = CLIENTS[client](server, job.crew, job.rate)
        share = job.calls if job.one_heap else job.calls // len(calls)
        heaps = [iter(range(n * share, (n + 1) * share)) for n in range(len(calls))]
        neighbour = asyncio.create_task(_neighbour(server, job.neighbour, theirs))
        with suppress(TimeoutError):
            async with (
                asyncio.timeout(PATIENCE[0] * best + PATIENCE[1]),
                asyncio.TaskGroup() as group,
            ):
                for number, call in enumerate(calls):
                    heap = heaps[0] if job.one_heap else heaps[number]
                    for _ in range(max(1, job.tasks // len(calls))):
                        group.create_task(work(heap, call, done, failed))
        neighbour.cancel()
        return clock.monotonic()

    took, others = clock.run(play()), sum(status != HTTPStatus.OK for status in theirs)
    sent = len(server.arrivals) - len(theirs)
    return Outcome(
        took / best,
        (server.refused - others) / sent,
        1 - (len(done) - len(failed)) / job.calls,
        sent,
        others / max(1, len(theirs)),
    )


async def work(numbers: Iterator[int], call: Call, done: list[str], failed: list[str]) -> None:
    """Perform the calls that are left, as one of many tasks; note each, and which failed."""
    for number in numbers:
        agent = agent_of(number)
        try:
            await call(agent)
        except (Failed, ChatloomError):
            failed.append(agent)
        done.append(agent)


async def _neighbour(server: Server, per_minute: float, statuses: list[int]) -> None:
    """Send evenly with the key of the first client; retry nothing, note each answer's status."""

    async def send() -> None:
        answer = await server.answer("/neighbour", key_of(0).fingerprint)
        statuses.append(answer.status)

    async with asyncio.TaskGroup() as group:
        while per_minute:
            group.create_task(send())
            await asyncio.sleep(60 / per_minute)
