"""One key in several processes: how well a shared limit is kept, in real time on this machine.

    python -m benchmarks.workers [--seconds 10] [--check]

Four processes with 25 tasks each list agents with one key, at 600 a minute with a burst of 20:
each with a limit of its own, sharing one by a file, and by a Redis server where there is one. Then
one process is killed on the way, and Redis is stopped for half of the time.

``--check`` ends with 1 when a bar is missed: three per cent over the limit, shares within 15 % of
the mean, no failed call. Where the store fails, each process keeps a share of its own: five per
cent over, and no share is asked for.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import fmean

from redis.asyncio import Redis

from benchmarks.simulated_jobs import collected_warnings
from chatloom_async import AsyncChatloom, Failure, FanOut, RateLimit
from chatloom_async.contrib.redis import SharedRedis
from chatloom_async.testing import Sandbox, make_workspace

KEY = "clf_benchmark_workers"
PROCESSES, TASKS, PER_MINUTE, BURST = 4, 25, 600, 20
_STARTING = 8.0  # seconds in which every process is ready
_SPAWN = get_context("spawn")

Told = tuple[list[float], int, int]  # when a process sent, failed calls, warnings


def work(tell: Connection, url: str, shared: str, begin: float, seconds: float) -> None:
    """Be one of the processes: list agents until the time is over, and tell of it."""
    with collected_warnings() as warnings:
        sent, failed = asyncio.run(_work(url, shared, begin, seconds))
    tell.send((sent, failed, sum("the shared rate limit fails" in line for line in warnings)))


async def _work(url: str, shared: str, begin: float, seconds: float) -> tuple[list[float], int]:
    client = Redis(unix_socket_path=shared[6:]) if shared.startswith("redis:") else None
    limit = RateLimit(PER_MINUTE, BURST, shared=SharedRedis(client) if client else shared or None)
    loop = asyncio.get_running_loop()
    sent, failed = list[float](), 0
    async with AsyncChatloom(KEY, base_url=url, rate_limit=limit) as chatloom:

        async def look_up(_: int) -> None:
            await chatloom.list_agents()
            sent.append(loop.time())

        await asyncio.sleep(begin - time.time())  # all together, whoever was started first
        calls = FanOut(look_up, range(10**9), concurrency=TASKS)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), calls as outcomes:
                async for outcome in outcomes:
                    failed += isinstance(outcome, Failure)
    if client is not None:
        await client.aclose()
    return sent, failed


def run(
    name: str,
    shared: str,
    seconds: float,
    *,
    kill: bool = False,
    stop: subprocess.Popen[bytes] | None = None,
) -> bool:
    """Let the processes work, print the row, and tell whether it holds.

    ``kill`` ends one of them on the way, ``stop`` is stopped for half of the time.
    """
    with Sandbox([make_workspace("acme", KEY, agents=1)]).in_thread() as sandbox:
        begin = time.time() + _STARTING
        pipes = [_SPAWN.Pipe(duplex=False) for _ in range(PROCESSES)]
        workers = [
            _SPAWN.Process(target=work, args=(tell, sandbox.base_url, shared, begin, seconds))
            for _, tell in pipes
        ]
        for worker, (_, tell) in zip(workers, pipes, strict=True):
            worker.start()
            tell.close()  # else nobody hears of a worker that failed
        time.sleep(begin - time.time() + seconds / 4)
        if stop is not None:
            stop.send_signal(signal.SIGSTOP)
        time.sleep(seconds / 4)
        if kill:
            workers.pop().kill()
            pipes.pop()
        time.sleep(seconds / 4)
        if stop is not None:
            stop.send_signal(signal.SIGCONT)
        told: list[Told] = [answers.recv() for answers, _ in pipes]
        for worker in workers:
            worker.join()
    return _judged(name, seconds, told)


def _judged(name: str, seconds: float, told: list[Told]) -> bool:
    """Print what a run sent, by process and in the worst second, and tell whether it holds."""
    shares = [len(sent) for sent, _, _ in told]
    moments = sorted(moment for sent, _, _ in told for moment in sent)
    worst = max(Counter(int(moment - moments[0]) for moment in moments).values())
    failed, warnings = sum(row[1] for row in told), sum(row[2] for row in told)
    over = len(moments) / (BURST + PER_MINUTE / 60 * seconds)
    mean = fmean(shares)
    uneven = max(abs(each - mean) for each in shares) / mean
    print(
        f"{name:28} {len(moments):6} {over:7.3f} {worst:7} {min(shares):5}-{max(shares):<5} "
        f"{failed:6} {warnings:8}",
        flush=True,
    )
    return not failed and (over <= 1.05 if warnings else over <= 1.03 and uneven <= 0.15)


@contextmanager
def _redis() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Yield a Redis server and how to name it to a worker."""
    with tempfile.TemporaryDirectory() as folder:
        socket = f"{folder}/redis"
        command = ["redis-server", "--port", "0", "--unixsocket", socket, "--save", ""]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=folder) as server:
            try:
                while not Path(socket).exists():  # the server tells nobody
                    time.sleep(0.01)
                yield f"redis:{socket}", server
            finally:
                server.kill()


def main() -> int:
    """Make every run; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--check", action="store_true", help="exit 1 when a bar is missed")
    options = parser.parse_args()
    seconds: float = options.seconds
    print(
        f"{'':28} {'sent':>6} {'x limit':>7} {'worst s':>7} {'shares':>11} {'failed':>6} warnings"
    )
    with tempfile.TemporaryDirectory() as folder:
        run("a limit of each's own", "", seconds)
        held = [
            run("shared by a file", f"{folder}/limits", seconds),
            run("the same, one killed", f"{folder}/limits2", seconds, kill=True),
        ]
    if shutil.which("redis-server"):
        with _redis() as (shared, _):
            held.append(run("shared by Redis", shared, seconds))
        with _redis() as (shared, server):
            held.append(run("the same, stopped half way", shared, seconds, stop=server))
    print(f"{sum(held)} of {len(held)} hold")
    return int(options.check and not all(held))


if __name__ == "__main__":
    sys.exit(main())
