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
import resource
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

from attrs import define, field

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


@define(eq=False)
class Soak:
    """The visits of one pool, what became of them, and what was held on the way."""

    pool: ConnectionPool
    url: str
    visits: int = 0
    outcomes: Counter[str] = field(factory=Counter[str])
    running: set[asyncio.Task[None]] = field(factory=set[asyncio.Task[None]])
    held: list[dict[str, float]] = field(factory=list)
    dice: random.Random = field(factory=lambda: random.Random(1))

    async def go(self, seconds: float, per_second: float) -> None:
        """Visit for so long, and look ``LOOKS`` times."""
        started = time.monotonic()
        while (passed := time.monotonic() - started) < seconds:
            if passed >= len(self.held) * seconds / LOOKS:
                self._look(passed)
            for _ in range(CROWD if self.dice.random() < CROWDED else 1):
                task = asyncio.create_task(self._visit())
                self.running.add(task)
                task.add_done_callback(self.running.discard)
                if self.dice.random() < CUT_SHORT:
                    asyncio.get_running_loop().call_later(self.dice.uniform(0, 0.2), task.cancel)
            await asyncio.sleep(self.dice.expovariate(per_second))
        await asyncio.gather(*self.running, return_exceptions=True)
        self._look(time.monotonic() - started)

    async def _visit(self) -> None:
        """Read one workspace, as a dashboard would."""
        self.visits += 1
        name = "nobody" if self.dice.random() < UNKNOWN else f"t{self.dice.randrange(TENANTS)}"
        client = AsyncChatloom(
            _key(name), base_url=self.url, pool=self.pool, retry=RETRY, timeout=TIMEOUT
        )
        try:
            workspace = await client.get_workspace()
            self.outcomes["read"] += 1
            self.outcomes.update(gap.error for gap in workspace.gaps)
        except ChatloomError as error:
            self.outcomes[type(error).__name__] += 1
        except asyncio.CancelledError:
            self.outcomes["cut short"] += 1
            raise
        except Exception as error:  # noqa: BLE001 - what should never come out is counted
            self.outcomes[f"! {type(error).__name__}"] += 1

    def _look(self, seconds: float) -> None:
        """Count what is held, memory in MiB, and print it."""
        gc.collect()
        found = {
            "memory": _memory(),
            "descriptors": _descriptors(),
            "tasks": len(asyncio.all_tasks()),
            "limiters": len(self.pool.shared.limiters),
        }
        self.held.append(found)
        figures = " ".join(f"{found[name]:11.1f}" for name in found)
        print(f"{seconds / 60:7.1f} {self.visits:7} {figures}", flush=True)

    def risen(self) -> list[str]:
        """Tell what rose from the median of the second quarter to that of the last."""
        quarter, found = max(1, len(self.held) // 4), list[str]()
        for name, slack in SLACK.items():
            values = [look[name] for look in self.held]
            before, after = median(values[quarter : 2 * quarter]), median(values[-quarter - 1 : -1])
            if after > before * 1.05 + slack:
                found.append(f"{name}, from {before:.1f} to {after:.1f}")
        return found


async def soak(url: str, seconds: float, per_second: float) -> bool:
    """Run one and print what was held, what became of it and what was left; is all well?"""
    before = _descriptors()
    async with ConnectionPool() as pool:
        run = Soak(pool, url)
        await run.go(seconds, per_second)
    await asyncio.sleep(0.1)  # closed connections leave in the next turns of the loop
    gc.collect()
    tasks, descriptors = len(asyncio.all_tasks()) - 1, max(0, _descriptors() - before)
    rising = run.risen()
    print(", ".join(f"{name} {count}" for name, count in run.outcomes.most_common()))
    print(f"risen: {'; '.join(rising) or 'nothing'}")
    print(f"left at the end: {tasks} tasks, {descriptors} descriptors")
    wrong = any(name.startswith("!") for name in run.outcomes)
    return not (rising or wrong or tasks or descriptors)


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _memory() -> float:
    """Return the resident memory in MiB."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


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
    print("minutes  visits  memory MiB descriptors       tasks    limiters")
    with serving(server) as url:
        well = asyncio.run(soak(url, options.minutes * 60, options.visits))
    return int(options.check and not well)


if __name__ == "__main__":
    sys.exit(main())
