"""Costs that grow: CPU per item of a large run beside that of one a tenth as large.

::

    python -m benchmarks.growth

- ``connections``: tasks that each make three look-ups on a connection of their own.
- ``keys``: clients of one pool with a key and a limiter each, three look-ups each, 100 in flight.
- ``agents``: one list, written as JSON and read into models.

Each run is a process of its own; what grows in proportion stands at 1.00. The first two need as
many descriptors as connections (``ulimit -n``), and are told what there is if those are too few.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from benchmarks.fanout import server
from benchmarks.processes import fresh, serving
from chatloom_async import AsyncChatloom, ConnectionPool, Failure, FanOut
from chatloom_async.calls.wire import decode
from chatloom_async.models import AgentList

EACH = 3  # look-ups of a task or a key
PATIENT = 600.0  # seconds: the last of so many waits for all others
AGENT = (
    '{"id":"agt_%d","name":"Sales Assistant","primaryColor":"#611F69","secondaryColor":"#764ba2",'
    '"position":"bottom-right","template":"modern","status":"active",'
    '"createdAt":"2026-01-15T09:00:00.000Z"}'
)


async def connections(base_url: str, tasks: int) -> None:
    """Run as many tasks as there are connections."""
    limit = tasks * 10 // 9 + 1  # the last tenth is for other keys
    async with ConnectionPool(limit) as pool:
        client = AsyncChatloom(
            "clf_growth", base_url=base_url, rate_limit=None, pool=pool, timeout=PATIENT
        )

        async def task(number: int) -> None:
            for _ in range(EACH):
                await client.get_allowed_domains(f"agt_{number}")

        await asyncio.gather(*map(task, range(tasks)))


async def keys(base_url: str, many: int) -> None:
    """Use as many clients."""
    async with ConnectionPool() as pool:

        async def one(number: int) -> None:
            client = AsyncChatloom(
                f"clf_growth{number}", base_url=base_url, pool=pool, timeout=PATIENT
            )
            for _ in range(EACH):
                await client.get_allowed_domains("agt_1")

        async with FanOut(one, range(many), concurrency=100) as answers:
            async for answer in answers:
                if isinstance(answer, Failure):
                    raise answer.error


async def agents(_: str, many: int) -> None:
    """Read one list."""
    listed = ",".join(AGENT % n for n in range(many))
    data = f'{{"agents":[{listed}],"count":{many}}}'.encode()
    if len(decode(data, AgentList)) != many:
        raise RuntimeError("agents are missing")


Run = Callable[[str, int], Coroutine[Any, Any, None]]
RUNS: dict[str, tuple[Run, int, int]] = {
    "connections": (connections, 1000, 10_000),
    "keys": (keys, 1000, 10_000),
    "agents": (agents, 10_000, 100_000),
}


def spent(run: Run, base_url: str, size: int) -> float:
    """Return the CPU microseconds per item of one run."""
    started = time.process_time()
    asyncio.run(run(base_url, size))
    return (time.process_time() - started) / size * 1e6


def main() -> None:
    """Print the table."""
    with serving(server) as base_url:
        for name, (run, few, many) in RUNS.items():
            small, large = (fresh(spent, run, base_url, size) for size in (few, many))
            print(
                f"{name:12}  {few:7,}: {small:7.1f} µs each  {many:7,}: {large:7.1f} µs each  "
                f"{large / small:5.2f} ×",
                flush=True,
            )


if __name__ == "__main__":
    main()
