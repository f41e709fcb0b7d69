"""What bounds requests: places, none of which is ever lost, and timeouts that end one block."""

import asyncio
from unittest.mock import patch

import pytest

from chatloom_async.network.bounds import Slots, Timeouts
from tests.virtual import now

pytestmark = pytest.mark.virtual
KEY = "one"


async def use(slots: Slots, seconds: float = 1.0) -> None:
    if not slots.take(KEY):
        await slots.wait(KEY)
    try:
        await asyncio.sleep(seconds)
    finally:
        slots.release(KEY)


@pytest.mark.parametrize(("places", "seconds"), [(1, 12), (3, 4), (12, 2), (50, 1)])
async def test_places_are_used_in_turns(places: int, seconds: int) -> None:
    slots = Slots(places)
    await asyncio.gather(*(use(slots) for _ in range(12)))
    assert now() == seconds


async def queue(waiters: int) -> tuple[Slots, list[asyncio.Task[None]]]:
    """The only place, which is taken, and those who wait for it."""
    slots = Slots(1)
    slots.take(KEY)
    waiting = [asyncio.create_task(slots.wait(KEY)) for _ in range(waiters)]
    await asyncio.sleep(0)
    return slots, waiting


async def test_a_cancelled_waiter_is_passed_over() -> None:
    slots, [first, second] = await queue(2)
    first.cancel()
    await asyncio.sleep(0)
    slots.release(KEY)
    await second


async def test_cancelling_a_turn_loses_no_place() -> None:
    slots, [waiting] = await queue(1)
    slots.release(KEY)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert slots.take(KEY)


@pytest.mark.parametrize(("places", "kept_back"), [(1, 0), (3, 0), (4, 1), (10, 1), (100, 10)])
def test_the_last_tenth_is_not_for_one_key(places: int, kept_back: int) -> None:
    slots = Slots(places)
    taken = sum(slots.take(KEY) for _ in range(places + 1))
    others = [f"other{n}" for n in range(places)]
    assert taken == places - kept_back
    assert sum(map(slots.take, others)) == kept_back


async def test_keys_take_turns_each_in_its_order() -> None:
    order = []
    slots = Slots(1)
    slots.take("a")

    async def queued(name: str) -> None:
        await slots.wait(name[0])
        order.append(name)
        slots.release(name[0])

    async with asyncio.TaskGroup() as group:
        for name in ("a1", "a2", "a3", "b1", "b2", "c1"):
            group.create_task(queued(name))
        await asyncio.sleep(1)
        slots.release("a")
    assert order == ["a1", "b1", "c1", "a2", "b2", "a3"]


async def test_a_key_whose_waiters_left_may_take_again() -> None:
    slots = Slots(1)
    slots.take("a")
    waiting = asyncio.create_task(slots.wait("b"))
    await asyncio.sleep(0)
    waiting.cancel()
    slots.release("a")
    await asyncio.sleep(0)
    assert slots.take("b")


@pytest.mark.parametrize(("places", "others", "held"), [(10, 0, 10), (10, 1, 9), (100, 0, 92)])
def test_the_only_key_gets_more_in_time(places: int, others: int, held: int) -> None:
    slots = Slots(places)
    for _ in range(others):
        slots.take("b")
        slots.release("b")
    taken = sum(slots.take("a") for _ in range(places))
    slots.release("a")
    assert taken - 1 + sum(slots.take("a") for _ in range(places)) == held


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


async def test_a_block_that_is_quicker_is_left_alone() -> None:
    ended = await guarded(Timeouts(2), 1.9)
    await asyncio.sleep(60)
    assert ended == "done"


async def test_blocks_begun_apart_end_apart() -> None:
    timeouts = Timeouts(5)

    async def later(begin: float) -> float:
        await asyncio.sleep(begin)
        assert await guarded(timeouts, 60) == "expired"
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        return now()

    ended = await asyncio.gather(*(later(begin) for begin in (0, 1, 1, 3.5, 20)))
    assert ended == [5, 6, 6, 8.5, 25]


async def test_one_timer_serves_any_number_of_blocks() -> None:
    timeouts, loop = Timeouts(5), asyncio.get_running_loop()
    with patch.object(loop, "call_at", wraps=loop.call_at) as begun:
        watches = [timeouts.start() for _ in range(1000)]
        for watch in watches:
            timeouts.end(watch)
    assert begun.call_count == 1
