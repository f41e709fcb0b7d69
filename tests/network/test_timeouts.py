"""Timeouts of one length on one timer: each ends its own block at its own time, and only that."""

import asyncio
import gc
from collections.abc import Callable

import pytest

from chatloom_async import AsyncChatloom
from chatloom_async.network.timeouts import Timeouts
from tests.faults.case import answer
from tests.faults.server import Server
from tests.virtual import now, virtual


async def guarded(timeouts: Timeouts, seconds: float) -> str:
    """Sleep under a timeout and tell how that ended."""
    watch = timeouts.start()
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        if not watch.expired():
            raise
        return "expired"
    finally:
        timeouts.end(watch)
    return "done"


@virtual
async def test_a_block_ends_when_its_time_is_over() -> None:
    assert (await guarded(Timeouts(2), 60)) == "expired"
    assert now() == 2


@virtual
async def test_a_block_that_is_quicker_is_left_alone() -> None:
    ended = await guarded(Timeouts(2), 1.9)
    await asyncio.sleep(60)
    assert ended == "done"


@virtual
async def test_blocks_begun_apart_end_apart() -> None:
    timeouts = Timeouts(5)

    async def later(begin: float) -> float:
        await asyncio.sleep(begin)
        assert await guarded(timeouts, 60) == "expired"
        return now()

    assert (await asyncio.gather(*(later(begin) for begin in (0, 1, 1, 3.5, 20)))) == [
        5,
        6,
        6,
        8.5,
        25,
    ]


@virtual
async def test_a_block_after_an_idle_time_has_its_full_time() -> None:
    timeouts = Timeouts(2)
    await guarded(timeouts, 1)
    await asyncio.sleep(0.9)
    assert await guarded(timeouts, 60) == "expired"
    assert now() == pytest.approx(3.9)


@virtual
async def test_an_expired_block_leaves_its_task_uncancelled() -> None:
    await guarded(Timeouts(1), 60)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@virtual
async def test_a_cancellation_from_outside_is_not_taken_for_the_timeout() -> None:
    task = asyncio.create_task(guarded(Timeouts(10), 60))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("first", ["timeout", "cancellation"])
@virtual
async def test_a_cancellation_in_the_tick_of_the_timeout_wins(first: str) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(guarded(Timeouts(1), 60))
    if first == "timeout":
        await asyncio.sleep(0)
    loop.call_at(1.0, task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task


@virtual
async def test_a_shorter_timeout_of_the_caller_comes_first() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await guarded(Timeouts(2), 60)
    assert now() == 1


@virtual
async def test_one_timer_serves_any_number_of_blocks() -> None:
    timers = 0
    loop = asyncio.get_running_loop()
    call_at: Callable[..., asyncio.TimerHandle] = loop.call_at

    def counting(when: float, *arguments: object) -> asyncio.TimerHandle:
        nonlocal timers
        timers += 1
        return call_at(when, *arguments)

    timeouts = Timeouts(5)
    loop.call_at = counting  # type: ignore[method-assign, assignment]
    watches = [timeouts.start() for _ in range(1000)]
    for watch in watches:
        timeouts.end(watch)
    assert timers == 1


def alive() -> int:
    gc.collect()
    return sum(isinstance(each, Timeouts) for each in gc.get_objects())


@pytest.mark.looptime
async def test_a_timeout_of_its_own_for_each_call_leaves_none_but_the_latest() -> None:
    before = alive()
    async with Server([(answer(),)]) as server:
        base_url = server.url
        async with AsyncChatloom("clf_timeouts", base_url=base_url, rate_limit=None) as chatloom:
            for extra in range(20):
                await chatloom.with_options(timeout=2 + extra / 100).get_allowed_domains("agt_1")
            await asyncio.sleep(3)
            assert alive() <= before + 1  # the latest


@virtual
async def test_a_timeout_outside_a_task_is_refused() -> None:
    problems = []
    loop = asyncio.get_running_loop()
    timeouts = Timeouts(1)

    def start() -> None:
        try:
            timeouts.start()
        except RuntimeError as error:
            problems.append(str(error))

    loop.call_soon(start)
    await asyncio.sleep(0)
    assert problems == ["a request is made inside a task"]
