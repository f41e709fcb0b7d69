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
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar, TypeVarTuple

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

_SPAWN = get_context("spawn")


def fresh(function: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
    """Return what a function returns in a process of its own; EOFError: it failed, as is shown."""
    with _started(_call, function, *arguments) as pipe:
        answer: T = pipe.recv()
    return answer


@contextmanager
def serving(
    server: Callable[[*Arguments], AbstractAsyncContextManager[str]], *arguments: *Arguments
) -> Iterator[str]:
    """Yield the base URL of a server in a process of its own, which ends with the block."""
    with _started(_serve, server, *arguments) as pipe:
        yield pipe.recv()


@contextmanager
def _started(target: Callable[..., None], *arguments: object) -> Iterator[Connection]:
    """Yield the pipe to a new process; it is closed, and the process waited for, at the end."""
    here, there = _SPAWN.Pipe()
    process = _SPAWN.Process(target=target, args=(there, *arguments))
    process.start()
    there.close()
    try:
        yield here
    finally:
        here.close()
        process.join()


def instructions(statement: str) -> int:
    """Return how many instructions a Python process takes for a statement, under valgrind."""
    kept = {name: value for name, value in os.environ.items() if "BYTECODE" not in name}
    run = partial(
        subprocess.run,
        check=True,
        env={**kept, "PYTHONHASHSEED": "0"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    command = [sys.executable, "-c", statement]
    run(command)  # writes the bytecode, which is not to be counted
    with tempfile.NamedTemporaryFile() as counts:
        tool = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--quiet"]
        run([*tool, f"--cachegrind-out-file={counts.name}", *command])
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


def _call(pipe: Connection, function: Callable[..., object], *arguments: object) -> None:
    _pin(1)
    pipe.send(function(*arguments))


def _serve(
    pipe: Connection, server: Callable[..., AbstractAsyncContextManager[str]], *arguments: object
) -> None:
    async def until_left() -> None:
        async with server(*arguments) as base_url:
            pipe.send(base_url)
            # Until the other end is closed, maybe because that process is gone.
            await asyncio.get_running_loop().run_in_executor(None, pipe.poll, None)

    _pin(0)
    asyncio.run(until_left())
