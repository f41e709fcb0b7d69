"""FakeClock: virtual time that only moves when everything waits."""

import asyncio
import gc

import pytest

from chatloom_async.testing.clock import FakeClock


def test_wall_is_the_epoch_plus_virtual_time() -> None:
    clock = FakeClock(epoch=1000.0)
    for ended in (0, 5, 15):  # a second run goes on where the first one ended
        clock.run(asyncio.sleep(ended - clock.monotonic()))
        assert clock.monotonic() == ended
        assert clock.wall() == 1000 + ended


def test_a_deadlock_is_an_error_and_no_hang() -> None:
    async def wait_for_nothing() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(RuntimeError, match="deadlock in virtual time"):
        FakeClock().run(wait_for_nothing())


def test_a_running_loop_is_told_and_nothing_left() -> None:
    clock = FakeClock()

    async def asynchronous_test() -> None:
        clock.run(clock.sleep(1))

    with pytest.raises(RuntimeError, match="call it in a plain function"):
        asyncio.run(asynchronous_test())
    gc.collect()  # neither a loop nor a coroutine is forgotten, which would be a warning


def test_a_thread_can_wake_the_loop() -> None:
    clock = FakeClock()

    async def main() -> str:
        loop = asyncio.get_running_loop()
        woken = asyncio.Event()
        loop.call_soon_threadsafe(woken.set)
        await asyncio.wait_for(woken.wait(), 5)
        return "woken"

    assert clock.run(main()) == "woken"
    assert clock.monotonic() == 0
