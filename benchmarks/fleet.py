"""An audit of many workspaces, against one session per workspace and everything gathered.

::

    python -m benchmarks.fleet [--quick] [--agents 10]
    python -m benchmarks.fleet --slow      one key at 60 a minute among 500 fast ones; four minutes

The workspaces are shared out among server processes on one core; every measurement is a fresh
process on another. CPU is the client process's own accounting (user and system), memory its peak,
growth how much of it came after the imports, sockets the most open at one time (where /proc tells).
Clients pace as they do by default.

- ``chatloom``: ``stream_audit`` over clients that are made on the way and share one pool.
- ``plain``: a session per workspace, its look-ups gathered, all workspaces gathered.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

import aiohttp
from attrs import frozen

from benchmarks.processes import fresh, serving
from chatloom_async import AsyncChatloom, ConnectionPool
from chatloom_async.audit import stream_audit
from chatloom_async.testing import Quota, Sandbox, make_workspace

SERVERS = 2
SIZES = (100, 1000, 5000)
GATHERED_AT_MOST = 1000  # beyond, the plain script needs more sockets than systems allow
SLOW = "slow"
SLOW_AGENTS = 120
SLOW_BURST = 10
FAST_WORKSPACES = 500
LOOKS = 0.1  # seconds between two counts of the open sockets


@frozen
class Fleet:
    """What the servers serve: so many workspaces of so many agents, and maybe a slow one."""

    workspaces: int
    agents: int
    slow: bool = False

    def places(self, urls: list[str]) -> Iterator[tuple[str, str]]:
        """Yield each workspace with the server that has it; the slow one has its own."""
        if self.slow:
            yield SLOW, urls[-1]
        for number in range(self.workspaces):
            yield f"w{number}", urls[number % SERVERS]


Counts = tuple[int, int, int]  # look-ups that were answered, gaps, requests


async def chatloom(fleet: Fleet, urls: list[str]) -> Counts:
    """Stream the audit and keep counts."""
    lookups = gaps = requests = 0
    async with ConnectionPool() as pool:
        clients = (
            (name, AsyncChatloom(_key(name), base_url=url, pool=pool))
            for name, url in fleet.places(urls)
        )
        async with stream_audit(clients) as stream:
            async for audit in stream:
                lookups += sum(agent.allowed_domains is not None for agent in audit.agents)
                gaps += len(audit.gaps)
                requests += audit.requests
    return lookups, gaps, requests


async def plain(fleet: Fleet, urls: list[str]) -> Counts:
    """Do it as most people write it."""

    async def read(name: str, url: str) -> int:
        headers = {"Authorization": f"Bearer {_key(name)}"}
        async with aiohttp.ClientSession(headers=headers) as session:

            async def get(path: str) -> dict[str, list[dict[str, str]]]:
                async with session.get(f"{url}/api/plugin/agents{path}") as response:
                    response.raise_for_status()
                    found: dict[str, list[dict[str, str]]] = await response.json()
                    return found

            agents = (await get(""))["agents"]
            answers = await asyncio.gather(*(get(f"/{a['id']}/allowed-domains") for a in agents))
            return len(answers)

    read_in_all = await asyncio.gather(*(read(name, url) for name, url in fleet.places(urls)))
    return sum(read_in_all), 0, sum(read_in_all) + fleet.workspaces


def _key(name: str) -> str:
    return f"clf_{name}"


@asynccontextmanager
async def server(fleet: Fleet, number: int) -> AsyncGenerator[str]:
    """Serve a share of the fleet."""
    if number == SERVERS:
        slow = make_workspace(SLOW, _key(SLOW), agents=SLOW_AGENTS)
        sandbox = Sandbox([slow], quota=Quota.token_bucket(60, SLOW_BURST))
    else:
        names = [f"w{n}" for n in range(number, fleet.workspaces, SERVERS)]
        sandbox = Sandbox([make_workspace(name, _key(name), fleet.agents) for name in names])
    async with sandbox.keep(0):
        yield sandbox.base_url


def measure(
    contender: Callable[[Fleet, list[str]], Awaitable[Counts]], fleet: Fleet, urls: list[str]
) -> str:
    """Return the figures of one run as a part of a row."""

    async def run() -> str:
        most = 0

        async def count_sockets() -> None:
            nonlocal most
            while True:
                most = max(most, _open_sockets())
                await asyncio.sleep(LOOKS)

        before = _peak()
        counting = asyncio.create_task(count_sockets())
        cpu, started = time.process_time(), time.perf_counter()
        lookups, gaps, requests = await contender(fleet, urls)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - started
        counting.cancel()
        per, growth = wall / max(1, fleet.workspaces) * 1000, _peak() - before
        return (
            f"{wall:7.2f} {cpu:7.2f} {per:13.2f} {lookups / wall:9.0f} {_peak():8.1f} "
            f"{growth:10.1f} {most:8} {lookups:8} {gaps:5} {requests:9}"
        )

    try:
        return asyncio.run(run())
    except (OSError, aiohttp.ClientError) as error:  # of the plain script: too few descriptors
        return f"  failed: {error}"


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _open_sockets() -> int:
    count = 0
    with suppress(OSError):
        for link in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                count += os.readlink(link).startswith("socket:")  # noqa: PTH115 - no path
    return count


def main() -> None:
    """Compare."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    parser.add_argument("--agents", type=int, default=10)
    parser.add_argument("--quick", action="store_true", help="100 and 1,000 workspaces only")
    parser.add_argument("--slow", action="store_true")
    options = parser.parse_args()
    fleets = [Fleet(size, options.agents) for size in (SIZES[:2] if options.quick else SIZES)]
    if options.slow:
        fleets = [Fleet(size, options.agents, slow=True) for size in (0, FAST_WORKSPACES)]
    print(
        "workspaces x agents contender  wall s   CPU s  ms/workspace look-ups/s peak MiB growth MiB"
        "  sockets  look-ups  gaps  requests"
    )
    for fleet in fleets:
        compared = not fleet.slow and fleet.workspaces <= GATHERED_AT_MOST
        with ExitStack() as stack:
            numbers = range(SERVERS + fleet.slow)
            urls = [stack.enter_context(serving(server, fleet, number)) for number in numbers]
            for contender in (chatloom, plain) if compared else (chatloom,):
                label = f"{fleet.workspaces:10} x {fleet.agents:<6} {contender.__name__:9}"
                print(label, fresh(measure, contender, fleet, urls), flush=True)


if __name__ == "__main__":
    main()
