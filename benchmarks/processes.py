"""The processes of a benchmark: each on its core, servers that end with their block, fresh runs."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def pin(core: int) -> None:
    """Keep this process on one core, where the system can; and let it open what it may."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[core % len(cores)]})
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def printed_by(*command: str) -> str:
    """Return what ``python -m command`` prints; CalledProcessError when it fails."""
    done = subprocess.run(
        [sys.executable, "-m", *command], check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


@contextmanager
def serving(*command: str) -> Iterator[str]:
    """Yield the base URL that ``python -m command`` prints first; it ends with the block."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-m", *command], stdin=pipe, stdout=pipe, text=True
    ) as server:
        try:
            yield server.stdout.readline().strip() if server.stdout else ""
        finally:
            server.communicate()


async def serve(base_url: str) -> None:
    """Be such a server until its block ends."""
    print(base_url, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
