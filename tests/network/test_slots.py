"""A bounded number of places: first come, first served, and none is ever lost."""

from __future__ import annotations

import asyncio

import pytest

from chatloom_async.network.slots import Slots
from chatloom_async.testing import FakeClock


async def use(slots: Slots, seconds: float = 1.0) -> None:
    if not slots.take():
        await slots.wait()
    try:
        await asyncio.sleep(seconds)
    finally:
        slots.release()


def test_a_free_place_is_taken_at_once() -> None:
    slots = Slots(2)
    assert (slots.take(), slots.take(), slots.take()) == (True, True, False)


def test_a_place_given_back_is_free_again() -> None:
    slots = Slots(1)
    slots.take()
    slots.release()
    assert slots.take()


@pytest.mark.parametrize(("places", "seconds"), [(1, 12), (3, 4), (12, 1), (50, 1)])
def test_places_are_used_in_turns(places: int, seconds: int) -> None:
    clock = FakeClock()

    async def main() -> None:
        slots = Slots(places)
        await asyncio.gather(*(use(slots) for _ in range(12)))

    clock.run(main())
    assert clock.monotonic() == seconds


def test_who_came_first_is_served_first() -> None:
    order = []

    async def main() -> None:
        slots = Slots(1)

        async def numbered(number: int) -> None:
            if not slots.take():
                await slots.wait()
            order.append(number)
            await asyncio.sleep(1)
            slots.release()

        await asyncio.gather(*map(numbered, range(6)))

    FakeClock().run(main())
    assert order == list(range(6))


def test_a_place_given_back_goes_to_who_waits_and_not_to_a_latecomer() -> None:
    async def main() -> bool:
        slots = Slots(1)
        slots.take()
        waiting = asyncio.create_task(slots.wait())
        await asyncio.sleep(0)
        slots.release()
        latecomer = slots.take()
        await waiting
        return latecomer

    assert FakeClock().run(main()) is False


def test_a_cancelled_waiter_is_passed_over() -> None:
    async def main() -> None:
        slots = Slots(1)
        slots.take()
        first, second = (asyncio.create_task(slots.wait()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        slots.release()
        await second

    FakeClock().run(main())


def test_no_place_is_lost_when_a_waiter_is_cancelled_in_the_tick_of_its_turn() -> None:
    async def main() -> bool:
        slots = Slots(1)
        slots.take()
        waiting = asyncio.create_task(slots.wait())
        await asyncio.sleep(0)
        slots.release()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return slots.take()

    assert FakeClock().run(main()) is True


def test_the_next_in_line_is_served_when_one_is_cancelled_in_the_tick_of_its_turn() -> None:
    async def main() -> None:
        slots = Slots(1)
        slots.take()
        first, second = (asyncio.create_task(slots.wait()) for _ in range(2))
        await asyncio.sleep(0)
        slots.release()
        first.cancel()
        await second
        assert not slots.take()

    FakeClock().run(main())
