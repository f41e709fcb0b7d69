"""One key in several processes: how well a shared limit is kept, in real time on this machine.

    python -m benchmarks.workers [--seconds 10] [--check]

Four processes with 25 tasks each list agents with one key, at 600 a minute with a burst of 20:
each with a limit of its own, sharing one by a file, and by a Redis server where there is one. Then
one process is killed on the way, and Redis is stopped for half of the time.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen
from redis.asyncio import Redis

from chatloom_async import AsyncChatloom, Failure, FanOut, RateLimit
from chatloom_async.contrib.redis import SharedRedis
from chatloom_async.testing import Sandbox, make_workspace

KEY = "clf_benchmark_workers"
PROCESSES, TASKS, PER_MINUTE, BURST = 4, 25, 600, 20
_STARTING = 8.0  # seconds in which every process is ready


@frozen
class Row:
    """What a run sent: requests by process, in the worst second, and what failed."""

    name: str
    sent: tuple[int, ...]
    seconds: float
    worst: int
    failed: int
    warnings: int

    @property
    def over(self) -> float:
        """Requests ÷ what the ceiling allows in that time."""
        return sum(self.sent) / (BURST + PER_MINUTE / 60 * self.seconds)

    def line(self) -> str:
        """Return the row as printed."""
        return (
            f"{self.name:28} {sum(self.sent):6} {self.over:7.3f} {self.worst:7} "
            f"{min(self.sent):5}-{max(self.sent):<5} {self.failed:6} {self.warnings:8}"
        )


async def work(url: str, shared: str, begin: float, seconds: float) -> None:
    """Be one of the processes: list agents until the time is over; print when, and failures."""
    logging.basicConfig(level=logging.WARNING)
    client = Redis(unix_socket_path=shared[6:]) if shared.startswith("redis:") else None
    store = SharedRedis(client) if client else shared or None
    loop = asyncio.get_running_loop()
    sent, failed = list[float](), 0
    async with AsyncChatloom(
        KEY, base_url=url, rate_limit=RateLimit(PER_MINUTE, BURST, shared=store)
    ) as chatloom:

        async def look_up(_: int) -> None:
            await chatloom.list_agents()
            sent.append(loop.time())

        await asyncio.sleep(begin - time.time())  # all together, whoever was started first
        calls = FanOut(look_up, range(10**9), concurrency=TASKS)
        try:
            async with asyncio.timeout(seconds), calls as outcomes:
                async for outcome in outcomes:
                    failed += isinstance(outcome, Failure)
        except TimeoutError:
            pass
    if client is not None:
        await client.aclose()
    print(failed, *(f"{moment:.3f}" for moment in sent))


async def run(
    name: str,
    shared: str,
    seconds: float,
    *,
    kill: bool = False,
    server: asyncio.subprocess.Process | None = None,
) -> Row:
    """Let the processes work; ``server`` is stopped for half of the time."""
    async with Sandbox([make_workspace("acme", KEY, agents=1)]) as sandbox:
        begin = time.time() + _STARTING
        command = [sys.executable, "-m", "benchmarks.workers", "--seconds", str(seconds)]
        command += ["--work", sandbox.base_url, shared, str(begin)]
        pipe = asyncio.subprocess.PIPE
        workers = [
            await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
            for _ in range(PROCESSES)
        ]
        await asyncio.sleep(begin - time.time())
        if server is not None:
            await asyncio.sleep(seconds / 4)
            server.send_signal(signal.SIGSTOP)
            await asyncio.sleep(seconds / 2)
            server.send_signal(signal.SIGCONT)
        if kill:
            await asyncio.sleep(seconds / 2)
            workers.pop().kill()
        told = [await worker.communicate() for worker in workers]
    return _row(name, seconds, told)


def _row(name: str, seconds: float, told: Sequence[tuple[bytes, bytes]]) -> Row:
    sent = [list(map(float, out.split()[1:])) for out, _ in told]
    moments = [moment for each in sent for moment in each]
    begin = min(moments)
    by_second = Counter(int(moment - begin) for moment in moments)
    return Row(
        name,
        tuple(map(len, sent)),
        seconds,
        max(by_second.values()),
        sum(int(out.split()[0]) for out, _ in told),
        sum(error.count(b"the shared rate limit fails") for _, error in told),
    )


async def main(seconds: float) -> list[Row]:
    """Make every run and print its row."""
    print(
        f"{'':28} {'sent':>6} {'x limit':>7} {'worst s':>7} {'shares':>11} {'failed':>6} warnings"
    )
    rows = list[Row]()
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "limits.db")
        rows.append(await run("a limit of each's own", "", seconds))
        print(rows[-1].line(), flush=True)
        rows.append(await run("shared by a file", path, seconds))
        print(rows[-1].line(), flush=True)
        rows.append(await run("the same, one killed", path + "2", seconds, kill=True))
        print(rows[-1].line(), flush=True)
        if shutil.which("redis-server"):
            rows += await _on_redis(folder, seconds)
    return rows


async def _on_redis(folder: str, seconds: float) -> list[Row]:
    socket = f"{folder}/redis"
    server = await asyncio.create_subprocess_exec(
        *("redis-server", "--port", "0", "--unixsocket", socket, "--save", ""),
        stdout=asyncio.subprocess.DEVNULL,
        cwd=folder,
    )
    try:
        while not Path(socket).exists():  # noqa: ASYNC110, ASYNC240 - the server tells nobody
            await asyncio.sleep(0.01)
        rows = [await run("shared by Redis", f"redis:{socket}", seconds)]
        print(rows[-1].line(), flush=True)
        async with Redis(unix_socket_path=socket) as client:
            await client.flushall()
        rows.append(
            await run("the same, stopped half way", f"redis:{socket}", seconds, server=server)
        )
        print(rows[-1].line(), flush=True)
    finally:
        server.send_signal(signal.SIGCONT)
        server.terminate()
        await server.wait()
    return rows


def short(rows: Sequence[Row]) -> list[str]:
    """Return the rows that miss a bar: the limit, even shares, a failed call.

    Three per cent over the limit, and shares within 15 % of the mean. Where the store fails, each
    process keeps a share of its own: five per cent over, and no share is asked for.
    """
    return [
        row.name
        for row in rows[1:]
        if row.over > (1.05 if row.warnings else 1.03)
        or row.failed
        or (not row.warnings and _unevenness(row.sent) > 0.15)
    ]


def _unevenness(sent: Sequence[int]) -> float:
    """Return how far the worst share is from the mean, beside the mean."""
    mean = sum(sent) / len(sent)
    return max(abs(each - mean) for each in sent) / mean


if __name__ == "__main__":
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--seconds", type=float, default=10.0)
    ask.add_argument("--check", action="store_true", help="exit 1 when a bar is missed")
    ask.add_argument("--work", nargs=3, metavar=("URL", "SHARED", "BEGIN"), help=argparse.SUPPRESS)
    options = ask.parse_args()
    if options.work:
        url, shared, begin = options.work
        asyncio.run(work(url, shared, float(begin), options.seconds))
    else:
        missed = short(asyncio.run(main(options.seconds)))
        print("short:", ", ".join(missed) or "nothing")
        sys.exit(bool(missed) and options.check)
