"""A soak: a backend of many tenants for minutes, among mixed faults; what it holds must stay flat.

::

    python -m benchmarks.soak [--minutes 15] [--visits 40] [--check]

One process serves, one visits: 40 times a second a client is made for one of 5,000 keys, on one
pool, and reads a workspace; now and then 60 visits come at once. Some are cut short, some have an
unknown key. The server resets and drops connections, falls silent, cuts and drips bodies, answers
late, wrong, 429, 500 and 503, and holds each key to a quota.

``--check`` ends with 1 when memory, descriptors, tasks or limiters are more in the last quarter
than in the second, when something is left at the end, or when an error comes out that is not the
package's.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

from attrs import asdict, define, field, frozen

from benchmarks.processes import serving
from chatloom_async import AsyncChatloom, ChatloomError, ConnectionPool, RetryPolicy
from chatloom_async.testing import Fault, Quota, Sandbox, make_workspace

TENANTS = 5000
AGENTS = 3
LOOKS = 30  # rows of the table
CROWD, CROWDED = 60, 0.003  # visits at once, and how likely
CUT_SHORT, UNKNOWN = 0.03, 0.01  # shares of the visits
RETRY = RetryPolicy(attempts=3, deadline=8.0)
TIMEOUT = 2.0
FAULTS = (
    Fault.reset().sometimes(0.004, seed=1),
    Fault.disconnect().sometimes(0.004, seed=2),
    Fault.hang().sometimes(0.002, seed=3),
    Fault.cut_body().sometimes(0.004, seed=4),
    Fault.drip(0.002).sometimes(0.004, seed=5),
    Fault.delay(1.0).sometimes(0.01, seed=6),
    Fault.malformed().sometimes(0.002, seed=7),
    Fault.status(429, retry_after=1).sometimes(0.01, seed=8),
    Fault.status(500).sometimes(0.01, seed=9),
    Fault.status(503, retry_after=1).sometimes(0.005, seed=10),
)
SLACK = {"memory": 4.0, "descriptors": 10.0, "tasks": 10.0, "limiters": 50.0}


@frozen
class Look:
    """What is held at one moment; memory in MiB, the rest as counts."""

    minutes: float
    visits: int
    failed: int
    memory: float
    descriptors: float
    tasks: float
    limiters: float


@define(eq=False)
class Soak:
    """The visits of one pool, and what became of them."""

    pool: ConnectionPool
    url: str
    visits: int = 0
    outcomes: Counter[str] = field(factory=Counter[str])
    running: set[asyncio.Task[None]] = field(factory=set[asyncio.Task[None]])
    dice: random.Random = field(factory=lambda: random.Random(1))

    async def go(self, seconds: float, per_second: float) -> list[Look]:
        """Visit for so long, and look ``LOOKS`` times."""
        looks, started = list[Look](), time.monotonic()
        while (passed := time.monotonic() - started) < seconds:
            if passed >= len(looks) * seconds / LOOKS:
                looks.append(self.look(passed))
            for _ in range(CROWD if self.dice.random() < CROWDED else 1):
                self._start_visit()
            await asyncio.sleep(self.dice.expovariate(per_second))
        await asyncio.gather(*self.running, return_exceptions=True)
        return [*looks, self.look(time.monotonic() - started)]

    def _start_visit(self) -> None:
        task = asyncio.create_task(self._visit())
        self.running.add(task)
        task.add_done_callback(self.running.discard)
        if self.dice.random() < CUT_SHORT:
            asyncio.get_running_loop().call_later(self.dice.uniform(0, 0.2), task.cancel)

    async def _visit(self) -> None:
        """Read one workspace, as a dashboard would."""
        self.visits += 1
        name = "nobody" if self.dice.random() < UNKNOWN else f"t{self.dice.randrange(TENANTS)}"
        client = AsyncChatloom(
            _key(name), base_url=self.url, pool=self.pool, retry=RETRY, timeout=TIMEOUT
        )
        try:
            agents = await client.list_agents()
            async with asyncio.TaskGroup() as group:
                for agent in agents:
                    group.create_task(self._domains(client, agent.id))
            self.outcomes["read"] += 1
        except ChatloomError as error:
            self.outcomes[type(error).__name__] += 1
        except asyncio.CancelledError:
            self.outcomes["cut short"] += 1
            raise
        except Exception as error:  # noqa: BLE001 - what should never come out is counted
            self.outcomes[f"! {type(error).__name__}"] += 1

    async def _domains(self, client: AsyncChatloom, agent: str) -> None:
        try:
            await client.get_allowed_domains(agent)
        except ChatloomError as error:
            self.outcomes[type(error).__name__] += 1

    def look(self, seconds: float) -> Look:
        """Count what is held."""
        gc.collect()
        done = self.outcomes["read"] + self.outcomes["cut short"]
        return Look(
            minutes=seconds / 60,
            visits=self.visits,
            failed=sum(self.outcomes.values()) - done,
            memory=_memory(),
            descriptors=_descriptors(),
            tasks=len(asyncio.all_tasks()),
            limiters=len(self.pool.shared.limiters),
        )


def risen(looks: list[Look]) -> dict[str, tuple[float, float]]:
    """Return each figure's medians over the second and the last quarter, where it rose."""
    quarter = max(1, len(looks) // 4)
    found = dict[str, tuple[float, float]]()
    for name, slack in SLACK.items():
        values = [float(asdict(look)[name]) for look in looks]
        before, after = median(values[quarter : 2 * quarter]), median(values[-quarter - 1 : -1])
        if after > before * 1.05 + slack:
            found[name] = before, after
    return found


async def soak(url: str, seconds: float, per_second: float) -> tuple[Soak, list[Look], list[str]]:
    """Run one; the soak, what was held, and what was left when it was over."""
    before = _descriptors()
    async with ConnectionPool() as pool:
        run = Soak(pool, url)
        looks = await run.go(seconds, per_second)
    await asyncio.sleep(0.1)  # closed connections leave in the next turns of the loop
    gc.collect()
    left = list[str]()
    if len(asyncio.all_tasks()) > 1:
        left.append(f"{len(asyncio.all_tasks()) - 1} tasks")
    if (more := _descriptors() - before) > 0:
        left.append(f"{more} descriptors")
    return run, looks, left


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _memory() -> float:
    """Return the resident memory in MiB."""
    for line in Path("/proc/self/status").read_text("utf-8").splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def _key(name: str) -> str:
    return f"clf_{name}"


@asynccontextmanager
async def server() -> AsyncGenerator[str]:
    """Serve the tenants among all that goes wrong."""
    tenants = [make_workspace(f"t{n}", _key(f"t{n}"), AGENTS) for n in range(TENANTS)]
    quota = Quota.token_bucket(per_minute=300, burst=30)
    async with Sandbox(tenants, faults=FAULTS, quota=quota).keep(0) as sandbox:
        yield sandbox.base_url


def main() -> int:
    """Run, print, and tell whether everything stayed flat."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--visits", type=float, default=40, help="a second")
    parser.add_argument("--check", action="store_true", help="exit with 1 when something rises")
    options = parser.parse_args()
    logging.getLogger("chatloom_async").setLevel(logging.ERROR)
    with serving(server) as url:
        run, looks, left = asyncio.run(soak(url, options.minutes * 60, options.visits))
    rising = risen(looks)
    wrong = [name for name in run.outcomes if name.startswith("!")]
    print("minutes  visits  failed  memory MiB  descriptors  tasks  limiters")
    for look in looks:
        print(
            f"{look.minutes:7.1f} {look.visits:7} {look.failed:7} {look.memory:11.1f} "
            f"{look.descriptors:12.0f} {look.tasks:6.0f} {look.limiters:9.0f}"
        )
    print(", ".join(f"{name} {count}" for name, count in run.outcomes.most_common()))
    for name, (early, late) in rising.items():
        print(f"risen: {name}, from {early:.1f} to {late:.1f}")
    print(f"left at the end: {', '.join(left) or 'nothing'}")
    return int(options.check and bool(rising or wrong or left))


if __name__ == "__main__":
    sys.exit(main())
