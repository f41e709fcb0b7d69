"""Costs that grow: CPU per item of a large run beside that of one a tenth as large.

::

    python -m benchmarks.growth

- ``connections``: tasks that each make three look-ups on a connection of their own.
- ``keys``: clients of one pool with a key and a limiter each, three look-ups each, 100 in flight.
- ``agents``: one list, from bytes to models.

Each run is a process of its own; what grows in proportion stands at 1.00. The first two need as
many descriptors as connections (``ulimit -n``), and are told what there is if those are too few.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable

from benchmarks.fanout import SERVER
from benchmarks.processes import pin, printed_by, serving
from chatloom_async import AsyncChatloom, ConnectionPool, Failure, FanOut
from chatloom_async.calls.wire import decode
from chatloom_async.models import AgentList

SIZES = {
    "connections": (1000, 10_000),
    "keys": (1000, 10_000),
    "agents": (10_000, 100_000),
}
EACH = 3  # look-ups of a task or a key
PATIENT = 600.0  # seconds: the last of so many waits for all others
AGENT = (
    '{"id":"agt_%d","name":"Sales Assistant","primaryColor":"#611F69","secondaryColor":"#764ba2",'
    '"position":"bottom-right","template":"modern","status":"active",'
    '"createdAt":"2026-01-15T09:00:00.000Z"}'
)


def connections(base_url: str, tasks: int) -> float:
    """Return the CPU seconds of as many tasks as there are connections."""

    async def main() -> float:
        limit = tasks * 10 // 9 + 1  # the last tenth is for other keys
        async with ConnectionPool(limit) as pool:
            client = AsyncChatloom(
                "clf_growth", base_url=base_url, rate_limit=None, pool=pool, timeout=PATIENT
            )

            async def task(number: int) -> None:
                for _ in range(EACH):
                    await client.get_allowed_domains(f"agt_{number}")

            return await _spent(lambda: asyncio.gather(*map(task, range(tasks))))

    return asyncio.run(main())


def keys(base_url: str, many: int) -> float:
    """Return the CPU seconds of as many clients."""

    async def main() -> float:
        async with ConnectionPool() as pool:

            async def one(number: int) -> None:
                client = AsyncChatloom(
                    f"clf_growth{number}", base_url=base_url, pool=pool, timeout=PATIENT
                )
                for _ in range(EACH):
                    await client.get_allowed_domains("agt_1")

            async def all_of_them() -> None:
                async with FanOut(one, range(many), concurrency=100) as answers:
                    async for answer in answers:
                        if isinstance(answer, Failure):
                            raise answer.error

            return await _spent(all_of_them)

    return asyncio.run(main())


def agents(_: str, many: int) -> float:
    """Return the CPU seconds of one list."""
    listed = ",".join(AGENT % n for n in range(many))
    data = f'{{"agents":[{listed}],"count":{many}}}'.encode()
    started = time.process_time()
    if len(decode(data, AgentList)) != many:
        raise RuntimeError("agents are missing")
    return time.process_time() - started


RUNS = {"connections": connections, "keys": keys, "agents": agents}


async def _spent(run: Callable[[], Awaitable[object]]) -> float:
    started = time.process_time()
    await run()
    return time.process_time() - started


def _fresh(base_url: str, name: str, size: int) -> float:
    return float(printed_by("benchmarks.growth", "--only", base_url, name, str(size)))


def main() -> None:
    """Print the table, or be one of its runs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--only", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        pin(1)
        base_url, name, size = options.only
        print(RUNS[name](base_url, int(size)))
        return
    with serving(*SERVER) as base_url:
        for name, sizes in SIZES.items():
            small, large = (_fresh(base_url, name, size) / size * 1e6 for size in sizes)
            print(
                f"{name:12}  {sizes[0]:7,}: {small:7.1f} µs each  {sizes[1]:7,}: "
                f"{large:7.1f} µs each  {large / small:5.2f} ×",
                flush=True,
            )


if __name__ == "__main__":
    main()
