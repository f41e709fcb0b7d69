"""One limit over several processes: what every store keeps, and what happens when one fails."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from fakeredis import FakeAsyncRedis
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from chatloom_async import ConfigurationError, RateLimit
from chatloom_async.contrib.redis import SharedRedis
from chatloom_async.ratelimit.shared import Grant, SharedCeiling, SharedStore
from chatloom_async.ratelimit.shared_file import SharedFile

# A real server wherever there is one; the scripts run everywhere.
STORES = ["file", "script", *(["redis"] if shutil.which("redis-server") else [])]
NAME = "a name that stands for a key"
LIMIT = RateLimit(per_minute=60, burst=3)


@asynccontextmanager
async def opened(kind: str, folder: Path) -> AsyncIterator[SharedStore]:
    if kind == "file":
        yield SharedFile(folder / "limits")
    elif kind == "script":
        async with FakeAsyncRedis() as client:
            yield SharedRedis(client)
    else:
        socket = f"{folder}/redis.sock"
        command = ["redis-server", "--port", "0", "--unixsocket", socket, "--save", ""]
        server = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.DEVNULL, cwd=folder
        )
        try:
            async with Redis(unix_socket_path=socket) as client:
                await _answers(client)
                yield SharedRedis(client)
        finally:
            server.terminate()
            await server.wait()


async def _answers(client: Redis) -> None:
    for _ in range(10_000):
        try:
            await client.ping()
        except RedisConnectionError:
            await asyncio.sleep(0.001)
        else:
            return


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SharedStore]:
    async with opened(request.param, tmp_path) as one:
        yield one


async def test_a_burst_is_granted_once_for_all(store: SharedStore) -> None:
    first, second = await store.take(NAME, LIMIT, 2), await store.take(NAME, LIMIT, 2)
    assert (first.count, second.count) == (2, 1)
    assert first.wait == second.wait == 0


async def test_beyond_the_burst_each_reserves_a_moment_of_its_own(store: SharedStore) -> None:
    await store.take(NAME, LIMIT, 3)
    waits = [(await store.take(NAME, LIMIT, 5)).wait for _ in range(3)]
    assert waits == pytest.approx([1.0, 2.0, 3.0], abs=0.1)


async def test_names_do_not_meet(store: SharedStore) -> None:
    await store.take(NAME, LIMIT, 3)
    assert await store.take("another", LIMIT, 3) == Grant(3, 0.0, 1)


async def test_without_a_ceiling_everything_is_granted(store: SharedStore) -> None:
    unlimited = RateLimit(per_minute=None)
    assert [(await store.take(NAME, unlimited, 50)).count for _ in range(3)] == [50] * 3


async def test_nothing_leaves_while_the_key_is_closed(store: SharedStore) -> None:
    await store.close(NAME, 30.0)
    for wanted in (0, 1):
        grant = await store.take(NAME, LIMIT, wanted)
        assert grant.count == 0
        assert grant.wait == pytest.approx(30.0, abs=0.2)
    await store.open(NAME)
    assert (await store.take(NAME, LIMIT, 1)).count == 1


async def test_a_shorter_closing_does_not_end_a_longer(store: SharedStore) -> None:
    await store.close(NAME, 30.0)
    await store.close(NAME, 1.0)
    assert (await store.take(NAME, LIMIT, 1)).wait > 25


async def test_after_a_closing_one_probe_leaves_alone(store: SharedStore) -> None:
    await store.close(NAME, 0.0)
    probe, other = await store.take(NAME, LIMIT, 3), await store.take(NAME, LIMIT, 3)
    assert (probe.count, other.count) == (1, 0)
    assert other.wait == pytest.approx(2.0, abs=0.1)
    await store.open(NAME)
    assert (await store.take(NAME, LIMIT, 3)).count == 2


HOLD = """
import fcntl, sys
file = open(sys.argv[1], "r+b")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


async def test_a_lock_dies_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "limits"
    store = SharedFile(path)
    await store.take(NAME, LIMIT, 1)
    pipe = asyncio.subprocess.PIPE
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLD, path, stdin=pipe, stdout=pipe
    )
    assert holder.stdout is not None
    await holder.stdout.readline()
    with pytest.raises(TimeoutError, match="locked for more than"):
        await store.take(NAME, LIMIT, 1)
    holder.kill()
    await holder.communicate()
    assert (await store.take(NAME, LIMIT, 1)).count == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform makes no process by forking")
async def test_a_forked_process_takes_from_the_same_limit(tmp_path: Path) -> None:
    store = SharedFile(tmp_path / "limits")
    await store.take(NAME, LIMIT, 1)
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=_take, args=(store, there))
    child.start()
    assert await asyncio.to_thread(here.recv) == (2, 2)
    child.join()
    child.close()


def _take(store: SharedFile, parent: Connection) -> None:
    grant = asyncio.run(store.take(NAME, LIMIT, 5))
    parent.send((grant.count, grant.processes))


async def test_a_limit_is_forgotten_when_the_machine_was_restarted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, now = SharedFile(tmp_path / "limits"), time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 90_000.0)
    await store.close(NAME, 60.0)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    assert (await store.take(NAME, LIMIT, 1)).count == 1


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.write_bytes(b"my diary")])
async def test_what_is_no_file_of_limits_is_left_alone(tmp_path: Path, make: object) -> None:
    path = tmp_path / "taken"
    make(path)  # type: ignore[operator]  # one of the two above
    with pytest.raises(ConfigurationError, match="shared limit"):
        await SharedFile(path).take(NAME, LIMIT, 1)
    assert path.is_dir() or path.read_bytes() == b"my diary"


async def test_many_names_find_room(tmp_path: Path) -> None:
    store = SharedFile(tmp_path / "limits")
    for number in range(6_000):
        assert (await store.take(str(number), LIMIT, 3)).count == 3


class Failing:
    """A store that fails while it is told to."""

    def __init__(self) -> None:
        self.fails, self.asked = False, 0

    async def take(self, name: str, limit: RateLimit, wanted: int) -> Grant:
        del name, limit
        self.asked += 1
        if self.fails:
            raise OSError("gone")
        return Grant(wanted, 0.0, 4)

    async def close(self, name: str, seconds: float) -> None:
        raise OSError(name, seconds)

    async def open(self, name: str) -> None:
        raise OSError(name)


async def test_a_failing_store_leaves_each_process_its_share(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    store = Failing()
    ceiling = SharedCeiling(store, NAME, RateLimit(per_minute=240, burst=10))
    assert await ceiling.take(5, now=0.0) == Grant(5, 0.0, 4)
    store.fails = True
    waits = [(await ceiling.take(5, now=1.0)).wait for _ in range(4)]
    assert waits == [0.0, 1.0, 2.0, 3.0]  # 240 a minute, shared by four
    assert store.asked == 2
    await ceiling.close(3.0, now=1.5)
    await ceiling.open(now=1.6)
    store.fails = False
    assert (await ceiling.take(5, now=9.0)).count == 5
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.INFO]
