"""FakeClock: virtual time that only moves when everything waits."""

import asyncio
import time

import pytest

from chatloom_async.testing.clock import FakeClock


def test_an_hour_passes_without_waiting() -> None:
    clock = FakeClock()
    started = time.monotonic()
    clock.run(clock.sleep(3600))
    assert clock.monotonic() == pytest.approx(3600)
    assert time.monotonic() - started < 60


def test_wall_is_the_epoch_plus_virtual_time() -> None:
    clock = FakeClock(epoch=1000.0)
    assert clock.wall() == 1000
    clock.run(clock.sleep(5))
    assert clock.wall() == pytest.approx(1005)


def test_the_running_loop_tells_the_same_time() -> None:
    clock = FakeClock()

    async def both() -> tuple[float, float]:
        await asyncio.sleep(2.5)
        return asyncio.get_running_loop().time(), clock.monotonic()

    loop_time, clock_time = clock.run(both())
    assert loop_time == clock_time == pytest.approx(2.5)


def test_a_second_run_goes_on() -> None:
    clock = FakeClock()
    clock.run(clock.sleep(10))
    clock.run(clock.sleep(10))
    assert clock.monotonic() == pytest.approx(20)


def test_timers_fire_in_their_order() -> None:
    clock, order = FakeClock(), list[str]()

    async def note(name: str, after: float) -> None:
        await clock.sleep(after)
        order.append(f"{name} at {clock.monotonic():.1f}")

    async def main() -> None:
        await asyncio.gather(note("late", 3), note("early", 1), note("middle", 2))

    clock.run(main())
    assert order == ["early at 1.0", "middle at 2.0", "late at 3.0"]


def test_asyncio_timeout_works_in_virtual_time() -> None:
    clock = FakeClock()

    async def main() -> None:
        async with asyncio.timeout(7):
            await clock.sleep(100)

    with pytest.raises(TimeoutError):
        clock.run(main())
    assert clock.monotonic() == pytest.approx(7)


def test_run_returns_results_and_raises_errors() -> None:
    clock = FakeClock()

    async def answer() -> int:
        return 42

    async def fail() -> None:
        raise LookupError("gone")

    assert clock.run(answer()) == 42
    with pytest.raises(LookupError, match="gone"):
        clock.run(fail())


def test_tasks_left_over_are_cancelled() -> None:
    clock, cancelled = FakeClock(), list[bool]()

    async def forever() -> None:
        try:
            await clock.sleep(1e9)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def main() -> asyncio.Task[None]:
        task = asyncio.create_task(forever())
        await clock.sleep(1)
        return task

    assert clock.run(main()).cancelled()
    assert cancelled == [True]
    assert clock.monotonic() == pytest.approx(1)


def test_a_deadlock_is_an_error_and_no_hang() -> None:
    async def wait_for_nothing() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(RuntimeError, match="deadlock in virtual time"):
        FakeClock().run(wait_for_nothing())


def test_a_deadlock_after_a_timer_is_one_too() -> None:
    async def sleep_then_hang() -> None:
        await asyncio.sleep(5)
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="no timer is set"):
        FakeClock().run(sleep_then_hang())


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
