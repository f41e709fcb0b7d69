"""A bounded number of places: first come, first served, keys in turn, and none is ever lost."""

import asyncio

import pytest

from chatloom_async.network.slots import Slots
from tests.virtual import now, virtual

KEY = "one"


async def use(slots: Slots, seconds: float = 1.0) -> None:
    if not slots.take(KEY):
        await slots.wait(KEY)
    try:
        await asyncio.sleep(seconds)
    finally:
        slots.release(KEY)


@pytest.mark.parametrize(("places", "seconds"), [(1, 12), (3, 4), (12, 2), (50, 1)])
@virtual
async def test_places_are_used_in_turns(places: int, seconds: int) -> None:
    slots = Slots(places)
    await asyncio.gather(*(use(slots) for _ in range(12)))
    assert now() == seconds


@virtual
async def test_who_came_first_is_served_first() -> None:
    order = []
    slots = Slots(1)

    async def numbered(number: int) -> None:
        if not slots.take(KEY):
            await slots.wait(KEY)
        order.append(number)
        await asyncio.sleep(1)
        slots.release(KEY)

    await asyncio.gather(*map(numbered, range(6)))
    assert order == list(range(6))


@virtual
async def test_a_place_given_back_goes_to_who_waits_and_not_to_a_latecomer() -> None:
    slots = Slots(1)
    slots.take(KEY)
    waiting = asyncio.create_task(slots.wait(KEY))
    await asyncio.sleep(0)
    slots.release(KEY)
    latecomer = slots.take(KEY)
    await waiting
    assert latecomer is False


@virtual
async def test_a_cancelled_waiter_is_passed_over() -> None:
    slots = Slots(1)
    slots.take(KEY)
    first, second = (asyncio.create_task(slots.wait(KEY)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    slots.release(KEY)
    await second


@virtual
async def test_no_place_is_lost_when_a_waiter_is_cancelled_in_the_tick_of_its_turn() -> None:
    slots = Slots(1)
    slots.take(KEY)
    waiting = asyncio.create_task(slots.wait(KEY))
    await asyncio.sleep(0)
    slots.release(KEY)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert slots.take(KEY) is True


@virtual
async def test_the_next_in_line_is_served_when_one_is_cancelled_in_the_tick_of_its_turn() -> None:
    slots = Slots(1)
    slots.take(KEY)
    first, second = (asyncio.create_task(slots.wait(KEY)) for _ in range(2))
    await asyncio.sleep(0)
    slots.release(KEY)
    first.cancel()
    await second
    assert not slots.take(KEY)


@pytest.mark.parametrize(("places", "kept_back"), [(1, 0), (3, 0), (4, 1), (10, 1), (100, 10)])
def test_the_last_tenth_is_not_for_one_key(places: int, kept_back: int) -> None:
    slots = Slots(places)
    taken = sum(slots.take(KEY) for _ in range(places + 1))
    others = [f"other{n}" for n in range(places)]
    assert taken == places - kept_back
    assert sum(map(slots.take, others)) == kept_back


def test_several_keys_that_hang_leave_a_place() -> None:
    slots = Slots(100)
    for key in "abcd":
        while slots.take(key):
            pass
    assert slots.take("e")


@virtual
async def test_keys_take_turns() -> None:
    order = []
    slots = Slots(1)
    slots.take("a")

    async def queued(key: str) -> None:
        await slots.wait(key)
        order.append(key)
        slots.release(key)

    async with asyncio.TaskGroup() as group:
        for key in "aaabbc":
            group.create_task(queued(key))
        await asyncio.sleep(1)
        slots.release("a")
    assert order == ["a", "b", "c", "a", "b", "a"]


@virtual
async def test_a_key_with_few_in_flight_passes_one_that_must_wait() -> None:
    slots = Slots(10)
    while slots.take("a"):
        pass
    waiting = asyncio.create_task(slots.wait("a"))
    await asyncio.sleep(0)
    passed = slots.take("b")
    slots.release("a")
    slots.release("b")
    await waiting
    assert passed


@virtual
async def test_a_key_whose_waiters_left_may_take_again() -> None:
    slots = Slots(1)
    slots.take("a")
    waiting = asyncio.create_task(slots.wait("b"))
    await asyncio.sleep(0)
    waiting.cancel()
    slots.release("a")
    await asyncio.sleep(0)
    assert slots.take("b")


@pytest.mark.parametrize(
    ("pause", "others", "places"), [(0.5, False, 10), (2.0, False, 9), (0.5, True, 9)]
)
@virtual
async def test_the_only_key_gets_all_while_its_requests_return(
    pause: float, places: int, *, others: bool
) -> None:
    slots = Slots(10)
    if others:
        slots.take("b")
        slots.release("b")
    while slots.take("a"):
        pass
    slots.release("a")
    await asyncio.sleep(pause)
    assert 8 + sum(slots.take("a") for _ in range(3)) == places
