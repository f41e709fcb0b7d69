"""How politely and how fast the rate limiter works: a discrete-event run in virtual time.

::

    python -m benchmarks.politeness [--quick] [--seeds 5] [--check] [--json]

The shipped gate (``RateLimiter``, with the shipped backoff) against rate limiters as servers have
them, and through outages; beside it, in the same run, what users write today. 3,000 calls of 50
and of 500 tasks, latency 20 to 200 ms, 300 and 600 per minute, with and without Retry-After; the
gate is told nothing about the limit.

- ``time``: makespan divided by that of a client without latency that knows the server's state;
- ``refused``: 429s among all requests; ``failed``: calls that ended in an error.

``--check`` ends with 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import sys
import time
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import product
from statistics import fmean

from attrs import asdict, frozen

from benchmarks.simulated_clients import CLIENTS, gate, work
from benchmarks.simulated_outages import OUTAGES, Outage, Survival, counted_closures, survive
from benchmarks.simulated_servers import QUOTAS, Server, Trouble
from benchmarks.simulated_servers import ideal as quickest
from chatloom_async.testing.clock import FakeClock

CALLS = 3000
MOVES_AT = 120.0  # seconds, for limits that halve or double


@frozen
class Scenario:
    """One server and one job."""

    quota: str
    limit: float = 600
    tells: bool = True  # a Retry-After
    tasks: int = 500
    moves_to: float | None = None
    gates: int = 1  # processes on one key, 3,000 calls each
    errors: float = 0.0

    @property
    def change(self) -> tuple[float, float] | None:
        """Return when the limit moves, and where to."""
        return None if self.moves_to is None else (MOVES_AT, self.moves_to)


@frozen
class Outcome:
    """What became of it; shares between 0 and 1."""

    time: float
    refused: float
    failed: float


def simulate(scenario: Scenario, client: str, seed: int) -> Outcome:
    """Run one job in virtual time."""
    random.seed(seed)
    quota = QUOTAS[scenario.quota](scenario.limit, random.Random(seed))
    troubles = (Trouble(0, math.inf, "500", scenario.errors),) if scenario.errors else ()
    server = Server(random.Random(seed), quota, scenario.tells, troubles)
    total, failed = CALLS * scenario.gates, list[str]()

    async def job() -> float:
        loop, todo = asyncio.get_running_loop(), iter(range(total))
        if scenario.moves_to is not None:
            loop.call_at(MOVES_AT, setattr, quota, "limit", scenario.moves_to)
        async with asyncio.TaskGroup() as group:
            for _ in range(scenario.gates):
                call = CLIENTS[client](server, scenario.limit)
                for _ in range(scenario.tasks // scenario.gates):
                    group.create_task(work(todo, call, failed))
        return loop.time()

    best = quickest_time(scenario.quota, scenario.limit, total, scenario.change, seed)
    took = FakeClock().run(job())
    return Outcome(took / best, server.refused / len(server.arrivals), len(failed) / total)


@cache
def quickest_time(
    quota: str, limit: float, calls: int, change: tuple[float, float] | None, seed: int
) -> float:
    """Return the makespan of a client that knows everything."""
    return quickest(QUOTAS[quota](limit, random.Random(seed)), calls, change)


def mean(outcomes: Iterable[Outcome]) -> Outcome:
    """Return the mean of each figure."""
    rows = list(outcomes)
    return Outcome(
        fmean(row.time for row in rows),
        fmean(row.refused for row in rows),
        fmean(row.failed for row in rows),
    )


MAKESPAN = {"token bucket": 1.01, "gcra": 1.01, "two counters": 1.02}
MAKESPAN |= {"fixed window": 1.08, "sliding log": 1.08}
REFUSED = 0.007


@frozen
class Row:
    """One line of the table; a bar is the most (``time``, ``refused``) a figure may be."""

    title: str
    client: str
    outcome: Outcome
    most_time: float = math.inf
    most_refused: float = math.inf
    may_fail: bool = False

    @property
    def missed(self) -> bool:
        """Tell whether a bar is missed."""
        outcome = self.outcome
        late, rude = outcome.time > self.most_time, outcome.refused > self.most_refused
        return late or rude or (outcome.failed > 0 and not self.may_fail)


def politeness(seeds: int, *, quick: bool) -> Iterator[Row]:
    """Run the gate against every server, then what is used today."""
    tasks = (500,) if quick else (50, 500)
    for quota, bar in MAKESPAN.items():
        cells = [Scenario(quota, *cell) for cell in product((300, 600), (True, False), tasks)]
        yield row(quota, cells, seeds, (bar, REFUSED))
    if not quick:
        for quota in ("clock window", "clock counters", "small bucket"):
            cells = [Scenario(quota, *cell) for cell in product((300, 600), (True, False))]
            yield row(quota, cells, seeds)
    for name, limit in (("halves", 150), ("doubles", 600)):
        for quota in ("gcra",) if quick else MAKESPAN:
            cells = [Scenario(quota, 300, tells, moves_to=limit) for tells in (True, False)]
            yield row(f"{quota}, limit {name}", cells, seeds)
    for quota in ("token bucket",) if quick else MAKESPAN:
        cells = [
            Scenario(quota, *cell, errors=0.005) for cell in product((300, 600), (True, False))
        ]
        yield row(f"{quota}, 0.5 % 500s", cells, seeds, (MAKESPAN[quota], REFUSED))
    for quota in ("token bucket", "sliding log") if quick else MAKESPAN:
        cells = [Scenario(quota, *cell, gates=4) for cell in product((300, 600), (True, False))]
        yield row(f"{quota}, four gates", cells, seeds, (1 / 0.95, 0.02))
    for quota in ("token bucket", "fixed window") if quick else MAKESPAN:
        for client in list(CLIENTS)[1:]:
            cells = [
                Scenario(quota, tells=tells) for tells in ((False,) if quick else (True, False))
            ]
            yield row(quota, cells, min(seeds, 2), client=client)


def row(
    title: str,
    cells: list[Scenario],
    seeds: int,
    bars: tuple[float, float] = (math.inf, math.inf),
    client: str = "this gate, knowing nothing",
) -> Row:
    """Run all cells with all seeds."""
    with counted_closures():
        outcome = mean(simulate(cell, client, seed) for cell in cells for seed in range(seeds))
    return Row(title, client, outcome, *bars, may_fail=CLIENTS[client] is not gate)


def outages(seeds: int, *, quick: bool) -> Iterator[tuple[Outage, Survival, bool]]:
    """Run every outage; the worst of all seeds, and whether it misses a bar."""
    for outage in OUTAGES:
        runs = [survive(outage, seed, quick=quick) for seed in range(seeds)]
        worst = Survival(
            max(run.lost for run in runs),
            max(run.per_waiting for run in runs),
            max(run.back for run in runs),
            max(run.closed for run in runs),
        )
        missed = (
            worst.lost > 0 or worst.per_waiting > 0.2 or worst.back > 5
            if outage.stops
            else worst.closed > 0 or (outage.poisoned is not None and worst.lost > 0)
        )
        yield outage, worst, missed


def main() -> int:
    """Run, print, and tell whether every bar is met."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer scenarios, one seed")
    parser.add_argument("--seeds", type=int, help="runs per scenario (5; with --quick 1)")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a bar is missed")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args()
    seeds = options.seeds or (1 if options.quick else 5)
    started = time.monotonic()
    rows = list(politeness(seeds, quick=options.quick))
    survivals = list(outages(1 if options.quick else min(seeds, 2), quick=options.quick))
    if options.json:
        print(json.dumps(as_json(rows, survivals), indent=2))
    else:
        print_tables(rows, survivals)
        print(f"\n{seeds} seeds, {time.monotonic() - started:.0f} s")
    missed = any(line.missed for line in rows) or any(bad for *_, bad in survivals)
    return int(options.check and missed)


def print_tables(rows: list[Row], survivals: list[tuple[Outage, Survival, bool]]) -> None:
    """Print both tables; figures against their bars, ``!`` where one is missed."""
    print(f"{'server':28} {'client':28} {'time':>14} {'refused':>16} {'failed':>8}")
    for line in rows:
        outcome, flag = line.outcome, " !" if line.missed else ""
        spent = f"{outcome.time:.3f}{against(f'{line.most_time:.2f}')}"
        refused = f"{outcome.refused:.2%}{against(f'{line.most_refused:.1%}')}"
        failed = f"{outcome.failed:.1%}{flag}"
        print(f"{line.title:28} {line.client:28} {spent:>14} {refused:>16} {failed:>8}")
    print(f"\n{'outage':28} {'lost':>6} {'requests/waiting':>17} {'back s':>8} {'closed':>7}")
    for outage, survival, missed in survivals:
        print(
            f"{outage.name:28} {survival.lost:6} {survival.per_waiting:17.2f} "
            f"{survival.back:8.1f} {survival.closed:7}{' !' if missed else ''}"
        )


def against(bar: str) -> str:
    """Return how a bar is shown beside its figure, if there is one."""
    return "" if "inf" in bar else f" / {bar}"


def as_json(rows: list[Row], survivals: list[tuple[Outage, Survival, bool]]) -> dict[str, object]:
    """Return the same for machines."""
    return {
        "politeness": [
            {
                "server": line.title,
                "client": line.client,
                **asdict(line.outcome),
                "missed": line.missed,
            }
            for line in rows
        ],
        "outages": [
            {"outage": outage.name, **asdict(survival), "missed": missed}
            for outage, survival, missed in survivals
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
