"""An audit of many workspaces, against one session per workspace and everything gathered.

::

    python -m benchmarks.fleet [--quick] [--agents 10] [--json]
    python -m benchmarks.fleet --slow      one key at 60 a minute among 500 fast ones; four minutes
    python -m benchmarks.fleet --faults    revoked keys, agents answering 500, random 429 and 503

The workspaces are shared out among server processes on one core; every measurement is a fresh
process on another. CPU is the client process's own accounting (user and system), memory its peak,
sockets the most open at one time (where /proc tells). Clients pace as they do by default.

- ``chatloom``: ``stream_audit`` over clients that are made on the way and share one pool.
- ``plain``: a session per workspace, its look-ups gathered, all workspaces gathered.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import aiohttp
from attrs import asdict, evolve, frozen

from benchmarks.processes import pin, printed_by, serve, serving
from chatloom_async import AsyncChatloom, ConnectionPool
from chatloom_async.audit import stream_audit
from chatloom_async.testing import Fault, Quota, Sandbox, Workspace, make_workspace

SERVERS = 2
SIZES = (100, 1000, 5000)
QUICK = (100, 1000)
GATHERED_AT_MOST = 1000  # beyond, the plain script needs more sockets than systems allow
SLOW = "slow"
SLOW_AGENTS = 120
SLOW_BURST = 10
FAST_WORKSPACES = 500
LOOKS = 0.1  # seconds between two counts of the open sockets


@frozen
class Fleet:
    """What the servers serve; ``kind`` is "even", "slow" or "faults"."""

    kind: str
    workspaces: int
    agents: int


@frozen
class Measurement:
    """One run: seconds of CPU and of time; peak MiB, and how much of them came after the imports.

    Also the sockets open at once, what was read and what was not.
    """

    cpu: float = 0.0
    wall: float = 0.0
    memory: float = 0.0
    growth: float = 0.0
    sockets: int = 0
    lookups: int = 0
    gaps: int = 0
    requests: int = 0


Contender = Callable[[Fleet, list[str]], Awaitable[Measurement]]


async def chatloom(fleet: Fleet, urls: list[str]) -> Measurement:
    """Stream the audit and keep counts."""
    counted = Measurement()
    async with ConnectionPool() as pool:
        clients = (
            (name, AsyncChatloom(_key(name), base_url=url, pool=pool))
            for name, url in _places(fleet, urls)
        )
        async with stream_audit(clients) as stream:
            async for audit in stream:
                read = sum(agent.allowed_domains is not None for agent in audit.agents)
                counted = evolve(
                    counted,
                    lookups=counted.lookups + read,
                    gaps=counted.gaps + len(audit.gaps),
                    requests=counted.requests + audit.requests,
                )
    return counted


async def plain(fleet: Fleet, urls: list[str]) -> Measurement:
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

    read_in_all = await asyncio.gather(*(read(name, url) for name, url in _places(fleet, urls)))
    return Measurement(lookups=sum(read_in_all), requests=sum(read_in_all) + fleet.workspaces)


CONTENDERS: dict[str, Contender] = {"chatloom": chatloom, "plain": plain}


def _places(fleet: Fleet, urls: list[str]) -> Iterator[tuple[str, str]]:
    """Yield each workspace with the server that has it; the slow one has its own."""
    if fleet.kind == "slow":
        yield SLOW, urls[-1]
    for number in range(fleet.workspaces):
        yield f"w{number}", urls[number % SERVERS]


def _key(name: str) -> str:
    return f"clf_{name}"


def _sandbox(fleet: Fleet, server: int) -> Sandbox:
    if server == SERVERS:
        slow = make_workspace(SLOW, _key(SLOW), agents=SLOW_AGENTS)
        return Sandbox([slow], quota=Quota.token_bucket(60, SLOW_BURST)).keep(0)
    faults: list[Fault] = []
    if fleet.kind == "faults":
        broken = "*0_5/allowed-domains"  # one of ten agents in every tenth workspace
        faults = [
            Fault.status(500, path=broken, times=None),
            Fault.status(429).sometimes(0.01, seed=server),
            Fault.status(503).sometimes(0.01, seed=server + 10),
        ]
    sandbox = Sandbox(faults=faults).keep(0)
    for number in range(fleet.workspaces):
        if number % SERVERS == server:
            sandbox.add(_workspace(fleet, number))
    return sandbox


def _workspace(fleet: Fleet, number: int) -> Workspace:
    workspace = make_workspace(f"w{number}", _key(f"w{number}"), agents=fleet.agents)
    return evolve(workspace, revoked=fleet.kind == "faults" and number % 50 == 7)


async def _serve(fleet: Fleet, server: int) -> None:
    async with _sandbox(fleet, server) as sandbox:
        await serve(sandbox.base_url)


async def _measured(contender: Contender, fleet: Fleet, urls: list[str]) -> Measurement:
    most = 0

    async def count_sockets() -> None:
        nonlocal most
        while True:
            most = max(most, _open_sockets())
            await asyncio.sleep(LOOKS)

    before = _peak()
    counting = asyncio.create_task(count_sockets())
    cpu, started = time.process_time(), time.perf_counter()
    counted = await contender(fleet, urls)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - started
    counting.cancel()
    growth = _peak() - before
    return evolve(counted, cpu=cpu, wall=wall, memory=_peak(), growth=growth, sockets=most)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _open_sockets() -> int:
    count = 0
    with suppress(OSError):
        for link in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                count += os.readlink(link).startswith("socket:")  # noqa: PTH115 - no path
    return count


@contextmanager
def _servers(fleet: Fleet) -> Iterator[list[str]]:
    """Serve a fleet while the block runs."""
    command = ["benchmarks.fleet", *_options(fleet), "--serve"]
    with ExitStack() as stack:
        yield [
            stack.enter_context(serving(*command, str(server)))
            for server in range(SERVERS + (fleet.kind == "slow"))
        ]


def _options(fleet: Fleet) -> list[str]:
    return ["--fleet", fleet.kind, str(fleet.workspaces), str(fleet.agents)]


def _fresh(contender: str, fleet: Fleet, urls: list[str]) -> Measurement | None:
    command = ["benchmarks.fleet", *_options(fleet), "--measure", contender, *urls]
    try:
        return Measurement(**json.loads(printed_by(*command)))
    except subprocess.CalledProcessError:
        return None


def _compare(fleets: list[Fleet]) -> Iterator[tuple[Fleet, str, Measurement | None]]:
    for fleet in fleets:
        with _servers(fleet) as urls:
            for name in CONTENDERS:
                if name == "chatloom" or (
                    fleet.kind == "even" and fleet.workspaces <= GATHERED_AT_MOST
                ):
                    yield fleet, name, _fresh(name, fleet, urls)


def _line(fleet: Fleet, name: str, each: Measurement | None) -> str:
    label = f"{fleet.kind:7} {fleet.workspaces:10} x {fleet.agents:<6} {name:9}"
    if each is None:
        return f"{label}  failed"
    per = each.wall / max(1, fleet.workspaces) * 1000
    return (
        f"{label} {each.wall:7.2f} {each.cpu:7.2f} {per:13.2f} {each.lookups / each.wall:9.0f} "
        f"{each.memory:8.1f} {each.growth:10.1f} {each.sockets:8} {each.lookups:8} {each.gaps:5} "
        f"{each.requests:9}"
    )


_HEAD = (
    "fleet   workspaces x agents contender  wall s   CPU s  ms/workspace look-ups/s peak MiB"
    " growth MiB  sockets  look-ups  gaps  requests"
)


def main() -> None:
    """Compare, or be one of the processes of a comparison."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    parser.add_argument("--agents", type=int, default=10)
    parser.add_argument("--quick", action="store_true", help="100 and 1,000 workspaces only")
    parser.add_argument("--slow", action="store_true")
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--json", action="store_true")
    for internal, count in (("--fleet", 3), ("--serve", 1), ("--measure", "+")):
        parser.add_argument(internal, nargs=count, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fleet:
        kind, workspaces, agents = options.fleet
        _be_a_process(options, Fleet(kind, int(workspaces), int(agents)))
        return
    fleets = [Fleet("even", size, options.agents) for size in (QUICK if options.quick else SIZES)]
    if options.slow:
        fleets = [Fleet("slow", 0, options.agents), Fleet("slow", FAST_WORKSPACES, options.agents)]
    elif options.faults:
        fleets = [Fleet("faults", 1000, options.agents)]
    if not options.json:
        print(_HEAD)
    for fleet, name, measured in _compare(fleets):
        if options.json:
            result = None if measured is None else asdict(measured)
            print(json.dumps({**asdict(fleet), "contender": name, "measured": result}))
        else:
            print(_line(fleet, name, measured), flush=True)


def _be_a_process(options: argparse.Namespace, fleet: Fleet) -> None:
    if options.serve:
        pin(0)
        asyncio.run(_serve(fleet, int(options.serve[0])))
    else:
        pin(1)
        contender, *urls = options.measure
        print(json.dumps(asdict(asyncio.run(_measured(CONTENDERS[contender], fleet, urls)))))


if __name__ == "__main__":
    main()
