"""Concurrent look-ups of allowed domains across many agents, against a bare aiohttp loop.

::

    python -m benchmarks.fanout [--turns 40] [--json]

The server is a process of its own on a core of its own. The contenders take turns of 200 look-ups
in one process on the other core, after a warm-up that opens the connections, for processors change
their pace within seconds. CPU is that process's own accounting (user and system) in the median
turn, the ratio the median over turns of the CPU beside that of ``bare``. Memory is the peak of a
process with one contender alone.

- ``chatloom``: ``FanOut`` over ``get_allowed_domains``: retries armed, results typed, no pacing.
- ``bare``: workers on one shared iterator: ``session.get``, ``raise_for_status``, ``json``.
- ``gather``: a task per agent behind a semaphore, as most people write it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import aiohttp
from attrs import asdict, evolve, frozen

from chatloom_async import AsyncChatloom, ConnectionPool, FanOut, Success
from chatloom_async.testing import Sandbox, Workspace, make_workspace

KEY = "clf_benchmark"
AGENTS = 500
LOOKUPS = 200  # in one turn
IN_FLIGHT = (1, 10, 100, 256)

Run = Callable[[int], Awaitable[int]]


@frozen
class Measurement:
    """One contender: microseconds of CPU and of time per look-up, CPU beside ``bare``'s, MiB."""

    cpu: float
    wall: float
    ratio: float
    memory: float


@asynccontextmanager
async def chatloom(base_url: str, agents: list[str], in_flight: int) -> AsyncGenerator[Run, None]:
    """Prepare this package's fan-out."""
    async with (
        ConnectionPool(in_flight) as pool,
        AsyncChatloom(KEY, base_url=base_url, rate_limit=None, pool=pool) as client,
    ):

        async def run(lookups: int) -> int:
            found = 0
            async with FanOut(
                client.get_allowed_domains, _cycle(agents, lookups), concurrency=in_flight
            ) as answers:
                async for answer in answers:
                    match answer:
                        case Success(_, domains):
                            found += len(domains)
            return found

        yield run


@asynccontextmanager
async def bare(base_url: str, agents: list[str], in_flight: int) -> AsyncGenerator[Run, None]:
    """Prepare the leanest loop by hand."""
    async with _session(in_flight) as session:

        async def work(waiting: Iterator[str]) -> int:
            found = 0
            for agent in waiting:
                domains = await _lookup(session, base_url, agent)
                found += len(domains)
            return found

        async def run(lookups: int) -> int:
            waiting = _cycle(agents, lookups)
            return sum(await asyncio.gather(*(work(waiting) for _ in range(in_flight))))

        yield run


@asynccontextmanager
async def gather(base_url: str, agents: list[str], in_flight: int) -> AsyncGenerator[Run, None]:
    """Prepare the usual loop by hand."""
    async with _session(in_flight) as session:

        async def run(lookups: int) -> int:
            slots = asyncio.Semaphore(in_flight)

            async def one(agent: str) -> int:
                async with slots:
                    return len(await _lookup(session, base_url, agent))

            return sum(await asyncio.gather(*map(one, _cycle(agents, lookups))))

        yield run


CONTENDERS = {"chatloom": chatloom, "bare": bare, "gather": gather}


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


def _cycle(agents: list[str], lookups: int) -> Iterator[str]:
    return (agents[n % len(agents)] for n in range(lookups))


async def _measure(
    contenders: list[str], base_url: str, in_flight: int, turns: int
) -> dict[str, Measurement]:
    """Let contenders take turns, every other time in the opposite order."""
    agents = [agent.id for agent in _workspace().agents]
    cpu: dict[str, list[float]] = {name: [] for name in contenders}
    wall: dict[str, list[float]] = {name: [] for name in contenders}
    async with AsyncExitStack() as stack:
        runs = {
            name: await stack.enter_async_context(CONTENDERS[name](base_url, agents, in_flight))
            for name in contenders
        }
        for run in runs.values():
            await run(max(LOOKUPS, 4 * in_flight))
        for turn in range(turns):
            for name in contenders if turn % 2 else reversed(contenders):
                used, started = time.process_time(), time.perf_counter()
                found = await runs[name](LOOKUPS)
                cpu[name].append((time.process_time() - used) / LOOKUPS * 1e6)
                wall[name].append((time.perf_counter() - started) / LOOKUPS * 1e6)
                if found != 2 * LOOKUPS:
                    raise RuntimeError(f"{name} found {found} domains of {2 * LOOKUPS}")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    beside = cpu.get("bare", [1.0] * turns)
    return {
        name: Measurement(
            statistics.median(cpu[name]),
            statistics.median(wall[name]),
            statistics.median(one / other for one, other in zip(cpu[name], beside, strict=True)),
            memory,
        )
        for name in contenders
    }


def _workspace() -> Workspace:
    return make_workspace("benchmark", KEY, agents=AGENTS, domains=2)


async def _serve() -> None:
    async with Sandbox([_workspace()]).keep(0) as sandbox:
        print(sandbox.base_url, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def _pin(core: int) -> None:
    """Keep this process on one core, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[core % len(cores)]})


@contextmanager
def _server() -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.fanout", "--serve"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None  # noqa: S101 - asked for above
        yield server.stdout.readline().strip()
        server.communicate()


def _fresh(
    contenders: list[str], base_url: str, in_flight: int, turns: int
) -> dict[str, Measurement]:
    command = [sys.executable, "-m", "benchmarks.fanout", "--turns", str(turns)]
    command += ["--measure", base_url, str(in_flight), *contenders]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return {name: Measurement(**each) for name, each in json.loads(printed).items()}


def _compare(turns: int) -> dict[int, dict[str, Measurement]]:
    results: dict[int, dict[str, Measurement]] = {}
    with _server() as base_url:
        for in_flight in IN_FLIGHT:
            together = _fresh(list(CONTENDERS), base_url, in_flight, turns)
            alone = {name: _fresh([name], base_url, in_flight, 5)[name] for name in CONTENDERS}
            results[in_flight] = {
                name: evolve(each, memory=alone[name].memory) for name, each in together.items()
            }
    return results


def _table(results: dict[int, dict[str, Measurement]]) -> str:
    lines = ["in flight  contender  CPU µs/look-up  × bare  wall µs/look-up  peak MiB"]
    for in_flight, row in results.items():
        for name, each in row.items():
            lines.append(
                f"{in_flight:9}  {name:9}  {each.cpu:14.1f}  {each.ratio:6.2f}  "
                f"{each.wall:15.1f}  {each.memory:8.1f}"
            )
    return "\n".join(lines)


def main() -> None:
    """Compare, or be one of the processes of a comparison."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fanout", description=__doc__)
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        _pin(0)
        asyncio.run(_serve())
    elif options.measure:
        _pin(1)
        base_url, in_flight, *contenders = options.measure
        measured = asyncio.run(_measure(contenders, base_url, int(in_flight), options.turns))
        print(json.dumps({name: asdict(each) for name, each in measured.items()}))
    else:
        results = _compare(options.turns)
        print(
            json.dumps(
                {n: {k: asdict(v) for k, v in row.items()} for n, row in results.items()}, indent=2
            )
            if options.json
            else _table(results)
        )


if __name__ == "__main__":
    main()
