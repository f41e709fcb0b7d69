"""One limit over several processes: what every store keeps, and what happens when one fails."""

import asyncio
import copy
import fcntl
import itertools
import logging
import math
import os
import pickle
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest
from attrs import define, evolve, field
from fakeredis import FakeAsyncRedis, FakeRedis
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff

from chatloom_async import (
    ApiKey,
    AsyncChatloom,
    ChatloomError,
    ConfigurationError,
    DeadlineExceededError,
    RateLimit,
    RateLimitError,
    RetryPolicy,
)
from chatloom_async.contrib.redis import SharedRedis
from chatloom_async.ratelimit import shared_file
from chatloom_async.ratelimit.limiter import RateLimiter
from chatloom_async.ratelimit.shared import SharedTurns
from chatloom_async.ratelimit.shared_file import Record, SharedFile
from chatloom_async.ratelimit.values import Grant, SharedStore
from chatloom_async.ratelimit.waiting import WaitLimits
from chatloom_async.testing import FakeClock, StubReply, StubTransport
from tests.virtual import now, virtual

# A real server wherever there is one; the scripts run everywhere.
STORES = ["file", "script", *(["redis"] if shutil.which("redis-server") else [])]
NAME = "a name that stands for a key"
LIMIT = RateLimit(per_minute=60, burst=3)
SLOW = RateLimit(per_minute=1, burst=3)
NAN, ENDLESS = Grant(0, math.nan), Grant(1, math.inf)  # answers that are none


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
            patient = Retry(ConstantBackoff(0.01), 1000)  # until it listens
            async with Redis(unix_socket_path=socket, retry=patient) as client:
                await client.ping()
                yield SharedRedis(client)
        finally:
            server.terminate()
            await server.wait()


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SharedStore]:
    async with opened(request.param, tmp_path) as one:
        yield one


async def test_a_burst_is_granted_once_for_all(store: SharedStore) -> None:
    first, second = await store.take(NAME, LIMIT, 2), await store.take(NAME, LIMIT, 2)
    assert (first.count, second.count) == (2, 1)
    assert first.wait == second.wait == 0
    assert await store.take("another", LIMIT, 3) == Grant(3)


async def test_beyond_the_burst_each_reserves_a_moment_of_its_own(store: SharedStore) -> None:
    await store.take(NAME, LIMIT, 3)
    waits = [(await store.take(NAME, LIMIT, 5)).wait for _ in range(3)]
    assert [math.ceil(wait - 0.001) for wait in waits] == [1, 2, 3]


async def test_without_a_ceiling_everything_is_granted(store: SharedStore) -> None:
    unlimited = RateLimit(per_minute=None)
    assert [(await store.take(NAME, unlimited, 50)).count for _ in range(3)] == [50] * 3


async def test_nothing_leaves_while_the_key_is_closed(store: SharedStore) -> None:
    await store.close(NAME, 30.0)
    await store.close(NAME, 1.0)
    for wanted in (0, 1):
        grant = await store.take(NAME, LIMIT, wanted)
        assert grant.count == 0
        assert 30.0 >= grant.wait > 25
    await store.open(NAME)
    assert (await store.take(NAME, LIMIT, 1)).count == 1


async def test_after_a_closing_one_probe_leaves_alone(store: SharedStore) -> None:
    await store.close(NAME, 0.0)
    probe, other = await store.take(NAME, LIMIT, 3), await store.take(NAME, LIMIT, 3)
    assert (probe.count, other.count) == (1, 0)
    assert 2.0 >= other.wait > 1
    await store.open(NAME)
    assert (await store.take(NAME, LIMIT, 3)).count == 2


async def test_a_reserved_departure_is_the_probe_when_closed(store: SharedStore) -> None:
    await store.take(NAME, LIMIT, 3)
    await store.close(NAME, 0.0)
    probe, other = await store.take(NAME, LIMIT, 0), await store.take(NAME, LIMIT, 0)
    assert (probe.count, probe.wait, probe.probe) == (0, 0, True)
    assert 2.0 >= other.wait > 1
    await store.open(NAME)
    assert await store.take(NAME, LIMIT, 0) == Grant(0)


@pytest.mark.skipif(sys.platform == "win32", reason="this platform locks otherwise")
async def test_a_file_that_stays_locked_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_file, "_PATIENCE", 0.01)
    store = SharedFile(tmp_path / "limits")
    await store.take(NAME, LIMIT, 1)
    with (tmp_path / "limits").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(TimeoutError, match="locked for more than"):
            await store.take(NAME, LIMIT, 1)
    assert (await store.take(NAME, LIMIT, 1)).count == 1


async def test_a_forked_process_counts_by_itself(
    store: SharedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.take(NAME, LIMIT, 1)
    monkeypatch.setattr(os, "getpid", lambda: 4711)
    assert (await store.take(NAME, LIMIT, 1)).processes == 2


async def test_copies_of_a_store_share_its_limit(store: SharedStore) -> None:
    await store.take(NAME, LIMIT, 1)
    copies = [copy.copy(store), copy.deepcopy(store)]
    if isinstance(store, SharedFile):
        copies[0] = pickle.loads(pickle.dumps(store))  # noqa: S301 - our own
    for copied in copies:
        assert (await copied.take(NAME, LIMIT, 1)).count == 1
    assert (await store.take(NAME, LIMIT, 1)).wait > 0


@pytest.fixture(params=STORES[1:])
async def redis(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SharedRedis]:
    async with opened(request.param, tmp_path) as one:
        assert isinstance(one, SharedRedis)
        yield one


async def test_a_clock_set_back_closes_no_key(redis: SharedRedis) -> None:
    await redis.take(NAME, LIMIT, 3)
    await redis.close(NAME, 10.0)
    place = f"{redis.prefix}{{{NAME}}}"
    for name, value in (await redis.client.hgetall(place)).items():
        await redis.client.hset(place, name, float(value) + 3600)
    await redis.close(NAME, 0.0)
    assert (await redis.take(NAME, LIMIT, 3)).wait == 0


async def test_a_closing_keeps_what_is_used(redis: SharedRedis) -> None:
    for _ in range(33):
        await redis.take(NAME, SLOW, 1)
    await redis.close(NAME, 1.0)
    assert await redis.client.ttl(f"{redis.prefix}{{{NAME}}}") > 30 * 60


def test_a_client_that_blocks_is_refused() -> None:
    for client in (FakeRedis(), "redis://localhost"):  # who overlooks "asyncio"; who gives a URL
        with pytest.raises(ConfigurationError, match=r"a client of redis\.asyncio"):
            SharedRedis(client)  # type: ignore[arg-type]  # said above


def test_a_connection_does_not_travel() -> None:
    with pytest.raises(TypeError, match="make one in each process"):
        pickle.dumps(SharedRedis(FakeAsyncRedis()))


@pytest.mark.parametrize("end", [Path.unlink, lambda path: path.write_bytes(b"")])
async def test_a_file_that_was_emptied_is_made_anew(tmp_path: Path, end: object) -> None:
    path = tmp_path / "limits"
    store = SharedFile(path)
    await store.take(NAME, LIMIT, 3)
    end(path)  # type: ignore[operator]  # one of the two above
    assert await store.take(NAME, LIMIT, 2) == Grant(2)
    assert (await SharedFile(path).take(NAME, LIMIT, 3)).count == 1


@pytest.mark.parametrize(("before", "after", "ago"), [(90_000.0, 20.0, 0), (10.0, 20.0, 1000)])
async def test_a_restart_forgets_a_limit(
    before: float, after: float, ago: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SharedFile(tmp_path / "limits")
    monkeypatch.setattr(time, "monotonic", lambda: before)
    await store.close(NAME, 60.0)
    monkeypatch.setattr(time, "monotonic", lambda: after)
    written = time.time() - ago
    os.utime(store.path, (written, written))
    await store.take("another", LIMIT, 1)
    assert (await store.take(NAME, LIMIT, 1)).count == 1


async def test_records_of_before_a_restart_yield_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, now = SharedFile(tmp_path / "limits"), time.monotonic()
    monkeypatch.setattr("chatloom_async.ratelimit.shared_file._GROUPS", 1)
    monkeypatch.setattr(time, "monotonic", lambda: now + 90_000.0)
    for number in range(8):
        await store.take(str(number), LIMIT, 1)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for name in (NAME, "another"):
        await store.take(name, LIMIT, 3)
    assert (await store.take(NAME, LIMIT, 1)).wait > 0


@pytest.mark.parametrize(
    "make",
    [
        Path.mkdir,
        lambda path: path.write_bytes(b"my diary"),
        lambda path: path.symlink_to("/dev/null"),
        os.mkfifo,
    ],
)
async def test_what_is_no_file_of_limits_is_left_alone(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    path, descriptors = tmp_path / "taken", Path("/dev/fd")
    make(path)
    store, before = SharedFile(path), len([*descriptors.iterdir()])
    for _ in range(3):
        with pytest.raises(ConfigurationError, match="shared limit"):
            await store.take(NAME, LIMIT, 1)
    assert len([*descriptors.iterdir()]) == before
    assert not path.is_file() or path.read_bytes() == b"my diary"


async def test_many_names_find_room(tmp_path: Path) -> None:
    store = SharedFile(tmp_path / "limits")
    for number in range(2_000):
        assert (await store.take(str(number), LIMIT, 3)).count == 3


@define(eq=False)
class Memory:
    """A store in virtual time, that can be made to fail."""

    record: Record = field(factory=Record)
    fails: bool = False

    def _now(self) -> float:
        if self.fails:
            raise OSError("gone")
        return asyncio.get_running_loop().time()

    async def take(self, _: str, limit: RateLimit, wanted: int) -> Grant:
        return evolve(self.record.take(limit, wanted, 1, self._now()), processes=4)

    async def close(self, _: str, seconds: float) -> None:
        self.record.close(self._now() + seconds)

    async def open(self, _: str) -> None:
        self._now()
        self.record.open()


def processes(
    store: Memory,
    calls: int,
    replies: Callable[[int], StubReply] | None = None,
    *,
    late: float = 0.0,
    **limit: float,
) -> list[list[float]]:
    """Let four processes make calls on one key; return when each process sent its requests.

    Three of them begin a moment ``late``.
    """
    clock = FakeClock()
    reply = replies or (lambda _: StubReply({"domains": []}, after=0.01))
    sent = itertools.count()
    scripts = [map(reply, sent) for _ in range(4)]
    transports = [StubTransport(script, clock=clock) for script in scripts]
    shared = RateLimit(**limit, shared=store)

    async def work(transport: StubTransport) -> None:
        await asyncio.sleep(late if transport is not transports[0] else 0.0)
        async with AsyncChatloom("clf_shared", pool=transport, rate_limit=shared) as chatloom:
            await asyncio.gather(*(chatloom.get_allowed_domains("a") for _ in range(calls)))

    async def together() -> None:
        await asyncio.gather(*map(work, transports))

    clock.run(together())
    return [[request.at for request in transport.requests] for transport in transports]


def test_four_processes_keep_one_ceiling_and_share_it_evenly() -> None:
    sent = processes(Memory(), 30, per_minute=600, burst=20)
    moments = sorted(itertools.chain(*sent))
    for count, moment in enumerate(moments):
        assert count <= 20 + 10 * moment
    assert moments[-1] == pytest.approx((120 - 20) / 10, rel=0.03)
    shares = [sum(moment <= 6 for moment in each) for each in sent]
    assert min(shares) >= 0.8 * max(shares)


def test_who_took_the_burst_waits_until_others_are_even() -> None:
    sent = processes(Memory(), 60, per_minute=600, burst=20, late=0.1)
    assert sum(moment < 0.1 for moment in sent[0]) == 20
    shares = [sum(moment <= 10 for moment in each) for each in sent]
    assert sum(shares) == pytest.approx(120, abs=1)
    assert min(shares) >= 0.85 * max(shares)


def test_a_refusal_of_one_process_closes_all() -> None:
    refusal = StubReply(status=429, headers={"Retry-After": "5"}, after=0.01)

    def reply(number: int) -> StubReply:
        return refusal if number == 40 else StubReply({"domains": []}, after=0.01)

    moments = sorted(itertools.chain(*processes(Memory(), 30, reply, per_minute=600, burst=20)))
    refused = moments[40] + 0.01
    first, second, *_ = [moment for moment in moments if moment > refused + 0.01]
    assert first >= refused + 5
    assert second >= first + 0.01  # it waited for the answer of the first
    assert len(moments) == 121


def test_a_failing_store_leaves_each_process_its_share(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    store = Memory()

    def reply(number: int) -> StubReply:
        store.fails = 30 < number < 80
        return StubReply({"domains": []}, after=0.01)

    moments = sorted(itertools.chain(*processes(store, 30, reply, per_minute=600, burst=20)))
    assert len(moments) == 120
    assert moments[-1] == pytest.approx((120 - 20) / 10, rel=0.3)
    told = [record for record in caplog.records if "shared rate limit" in record.message]
    levels = [record.levelno for record in told]
    assert levels.count(logging.WARNING) == 4  # one a process
    assert set(levels[4:]) == {logging.INFO}


def strange(take: Callable[..., object]) -> AsyncMock:
    """Return a store whose ``take`` ends as it is told, and which cannot be told anything."""
    store = AsyncMock(SharedStore)
    store.take.side_effect = take
    store.close.side_effect = store.open.side_effect = OSError("gone")
    return store


async def send(limit: RateLimit, *first: StubReply, calls: int = 1) -> list[float]:
    """Make calls at once under this limit; return when their requests were made."""
    transport = StubTransport([*first, *[StubReply({"domains": []})] * calls])
    async with AsyncChatloom("clf_shared", pool=transport, rate_limit=limit) as chatloom:
        await asyncio.gather(*(chatloom.get_allowed_domains("a") for _ in range(calls)))
    return [request.at for request in transport.requests]


async def hang(*_: object) -> Grant:
    await asyncio.sleep(99)
    return Grant(1)


@pytest.mark.parametrize(
    "take", [asyncio.CancelledError, hang, *([one] * 99 for one in (None, Grant(-1), NAN, ENDLESS))]
)
@virtual
async def test_no_store_holds_a_call_up(take: Any) -> None:
    limit = RateLimit(per_minute=600, shared=strange(take))
    refused = StubReply(status=429, headers={"Retry-After": "1"})
    sent = await send(limit, refused, calls=41)
    assert sent[-1] < 20  # half of the time a store that hangs is waited for


@virtual
async def test_a_store_that_grants_nothing_is_asked_seldom() -> None:
    asked = list[float]()

    def take(*_: object) -> Grant:
        asked.append(now())
        return Grant(0)

    gate = RateLimiter(LIMIT, "k")
    gate.share(strange(take), NAME)
    with suppress(TimeoutError):
        async with asyncio.timeout(1):
            await gate.wait("/a", WaitLimits())
    assert len(asked) <= 101
    await gate.aclose()


@virtual
async def test_a_store_hears_last_what_is_latest() -> None:
    async def close(*_: object) -> None:
        await asyncio.sleep(0.9)
        told.append("close")

    gate, store, told = RateLimiter(LIMIT, "k"), strange(lambda *_: Grant(1)), list[str]()
    store.close.side_effect = close
    store.open.side_effect = lambda _: told.append("open")
    gate.share(store, NAME)
    gate.refused(await gate.wait("/a", WaitLimits()), OSError("429"), 0.2)
    gate.admitted(await gate.wait("/a", WaitLimits()), "/a")
    await gate.aclose()
    assert told == ["close", "open"]


@pytest.mark.parametrize(
    ("grant", "policy", "error"),
    [
        (Grant(0, 3600.0), RetryPolicy(max_retry_after=10), RateLimitError),
        (Grant(0, 3600.0), RetryPolicy(deadline=5), RateLimitError),
        (Grant(1, 60.0), RetryPolicy(deadline=5), DeadlineExceededError),
    ],
)
@virtual
async def test_what_a_store_lets_wait_too_long_ends(
    grant: Grant, policy: RetryPolicy, error: type[ChatloomError]
) -> None:
    limit = RateLimit(shared=strange(lambda *_: grant))
    async with AsyncChatloom(
        "clf_a", pool=StubTransport([]), rate_limit=limit, retry=policy
    ) as one:
        for _ in range(2):
            with pytest.raises(error) as caught:
                await one.get_allowed_domains("a")
            assert caught.value.retry_after == pytest.approx(grant.wait, abs=0.1)
        told = one.stats().limiter
        assert told is not None
        assert told.limited_by == "shared"
    assert now() < 0.1


@virtual
async def test_a_key_closed_for_long_tries_patience() -> None:
    gate = RateLimiter(LIMIT, "k")
    gate.share(strange(lambda *_: Grant(0, 5.0)), NAME)
    with pytest.raises(RateLimitError):
        await gate.wait("/a", WaitLimits(patience=30.0))
    assert 30 <= now() <= 40
    await gate.aclose()


@virtual
async def test_a_slow_limit_serves_who_asks_again_later() -> None:
    slow = RateLimit(per_minute=1, burst=1)
    gate = RateLimiter(slow, "k")
    gate.share(Memory(Record(used_until=60.0)), NAME)
    for _ in range(8):
        with suppress(DeadlineExceededError):
            assert 60 <= await gate.wait("/a", WaitLimits(give_up_at=now() + 3)) <= 80
            break
        await asyncio.sleep(11)
    else:
        pytest.fail("never served")


@virtual
async def test_a_grant_that_nobody_used_is_dropped() -> None:
    store = Memory()
    turns = SharedTurns(store, NAME, LIMIT, lambda: None)
    assert not turns.take(3)
    await asyncio.sleep(0.5)
    assert turns.take(3)
    await asyncio.sleep(2)
    await store.close(NAME, 60.0)
    assert not turns.take(3)
    await turns.aclose()


@virtual
async def test_an_answer_before_the_probes_opens_nothing() -> None:
    store = Memory()
    gate = RateLimiter(LIMIT, "k")
    gate.share(store, NAME)
    early = await gate.wait("/a", WaitLimits())
    await store.close(NAME, 0.3)
    probe = await gate.wait("/a", WaitLimits())
    gate.admitted(early, "/a")
    await asyncio.sleep(0.1)
    assert store.record.closed_until
    gate.admitted(probe, "/a")
    await asyncio.sleep(0.1)
    assert not store.record.closed_until


def test_a_probe_waits_for_its_turn_and_no_longer() -> None:
    closing = StubReply(status=429, headers={"Retry-After": "1"}, after=0.01)

    def reply(number: int) -> StubReply:
        return StubReply({"domains": []}) if number else closing

    moments = sorted(itertools.chain(*processes(Memory(), 2, reply, per_minute=20, burst=1)))
    assert moments[-1] == pytest.approx(3.0 * (len(moments) - 1), abs=0.2)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks are lazy in this Python")
def test_a_store_is_asked_by_eager_tasks(tmp_path: Path) -> None:
    limit = RateLimit(per_minute=600, shared=tmp_path / "limits")

    async def work() -> list[float]:
        eager: Any = vars(asyncio)["eager_task_factory"]
        asyncio.get_running_loop().set_task_factory(eager)
        return await send(limit, calls=9)

    assert len(asyncio.run(asyncio.wait_for(work(), 30))) == 9


async def test_an_impossible_file_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await send(RateLimit(shared=tmp_path / "missing" / "limits"))
    assert "missing" in caplog.text


def test_a_limit_in_a_file_is_shared_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "limits.db"
    limit = RateLimit(per_minute=60, burst=2, shared=path)
    assert [len(asyncio.run(send(limit))) for _ in range(2)] == [1, 1]
    assert b"clf_shared" not in path.read_bytes()
    name = ApiKey("clf_shared").name_for("https://chatloom.app")
    assert asyncio.run(SharedFile(path).take(name, limit, 5)).wait > 0


@pytest.mark.parametrize("shared", ["", 5, object()])
def test_what_is_no_store_is_refused(shared: object) -> None:
    with pytest.raises(ConfigurationError, match=r"RateLimit\.shared is the path"):
        RateLimit(shared=shared)  # type: ignore[arg-type]  # the point of it
