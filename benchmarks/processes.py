"""The processes of a benchmark: each fresh and on its core, servers that end with their block."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractAsyncContextManager, contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar, TypeVarTuple

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

_SPAWN = get_context("spawn")


def fresh(function: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
    """Return what a function returns in a process of its own; raise what it raises there."""
    with ProcessPoolExecutor(1, _SPAWN, initializer=_pin, initargs=(1,)) as process:
        return process.submit(function, *arguments).result()


@contextmanager
def serving(
    server: Callable[[*Arguments], AbstractAsyncContextManager[str]], *arguments: *Arguments
) -> Iterator[str]:
    """Yield the base URL of a server in a process of its own, which ends with the block."""
    told, tell = _SPAWN.Pipe(duplex=False)
    process = _SPAWN.Process(target=_serve, args=(tell, server, *arguments), daemon=True)
    process.start()
    tell.close()
    try:
        yield told.recv()
    finally:
        process.terminate()
        process.join()


def instructions(statement: str) -> int:
    """Return how many instructions a Python process takes for a statement, under valgrind."""
    with tempfile.NamedTemporaryFile() as counts:
        tool = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--quiet"]
        command = [*tool, f"--cachegrind-out-file={counts.name}", sys.executable, "-c", statement]
        kept = {name: value for name, value in os.environ.items() if "BYTECODE" not in name}
        environment, nowhere = {**kept, "PYTHONHASHSEED": "0"}, subprocess.DEVNULL
        subprocess.run(command, check=True, env=environment, stdout=nowhere, stderr=nowhere)
        summary = re.search(r"^summary: (\d+)", Path(counts.name).read_text("utf-8"), re.MULTILINE)
    if summary is None:
        raise RuntimeError("cachegrind wrote no summary")
    return int(summary[1])


def _pin(core: int) -> None:
    """Keep this process on one core, where the system can; and let it open what it may."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[core % len(cores)]})
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _serve(
    tell: Connection,
    server: Callable[[*Arguments], AbstractAsyncContextManager[str]],
    *arguments: *Arguments,
) -> None:
    async def forever() -> None:
        async with server(*arguments) as base_url:
            tell.send(base_url)
            await asyncio.get_running_loop().create_future()

    _pin(0)
    asyncio.run(forever())
