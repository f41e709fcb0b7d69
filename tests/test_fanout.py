"""Many calls at once: their results as they finish, a flat window, and nothing left behind."""

import asyncio
import weakref
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from chatloom_async import ConfigurationError, Failure, FanOut, Success
from chatloom_async.testing import FakeClock
from tests.garbage import no_collector
from tests.virtual import now

pytestmark = pytest.mark.virtual
Answer = Success[int, int] | Failure[int]


class Calls:
    """An asynchronous function of one item that counts: it takes ``item`` seconds by default."""

    def __init__(self, seconds: float | None = None) -> None:
        self.seconds = seconds
        self.started = self.in_flight = self.peak = 0

    async def __call__(self, item: int) -> int:
        self.started += 1
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            await asyncio.sleep(item if self.seconds is None else self.seconds)
        finally:
            self.in_flight -= 1
        return item * 10


async def double(item: int) -> int:
    return item * 2


async def refuse_odd(item: int) -> int:
    if item % 2:
        raise LookupError(item)
    return item


async def one_by_one(items: Iterable[int], pause: float = 0.0) -> AsyncIterator[int]:
    for item in items:
        await asyncio.sleep(pause)
        yield item


async def collect(answers: FanOut[int, int]) -> list[Answer]:
    async with answers:
        return [answer async for answer in answers]


def items_of(answers: Iterable[Answer]) -> list[int]:
    return [answer.item for answer in answers]


async def test_results_come_as_calls_finish() -> None:
    answers = await collect(FanOut(Calls(), [3, 1, 2]))
    assert answers == [Success(1, 10), Success(2, 20), Success(3, 30)]
    assert now() == 3  # all at the same time


@pytest.mark.parametrize("source", [list, iter, one_by_one])
@pytest.mark.parametrize("concurrency", [1, 7, 100, 2000])
async def test_every_item_is_called_exactly_once(source: Any, concurrency: int) -> None:
    items = [*range(1000), 999]  # and an item that comes twice is called twice
    calls = Calls(seconds=1)
    answers = await collect(FanOut(calls, source(items), concurrency=concurrency))
    assert sorted(items_of(answers)) == items
    assert calls.peak == min(concurrency, 1001)


def test_a_failure_needs_no_garbage_collection() -> None:
    class LookedUpError(Exception):
        pass

    async def refuse(_: int) -> int:
        raise LookedUpError

    async def main() -> list[weakref.ref[Exception]]:
        alive = []
        async with FanOut(refuse, range(3)) as answers:
            async for answer in answers:
                if isinstance(answer, Failure):
                    alive.append(weakref.ref(answer.error))
                del answer
        return alive

    with no_collector():
        assert [alive() for alive in FakeClock().run(main())] == [None] * 3


def broken_items() -> Iterator[int]:
    yield 1
    raise OSError("the file ended")


@pytest.mark.parametrize("source", [iter, one_by_one])
@pytest.mark.parametrize("concurrency", [1, 10])
async def test_an_error_of_the_items_comes_last(source: Any, concurrency: int) -> None:
    told: list[Answer] = []
    with pytest.raises(OSError, match="the file ended"):
        async with FanOut(double, source(broken_items()), concurrency=concurrency) as answers:
            async for answer in answers:
                told.append(answer)  # noqa: PERF401 - the point is what came before the error
    assert told == [Success(1, 2)]


async def test_a_failing_call_is_a_result() -> None:
    failed, succeeded = await collect(FanOut(refuse_odd, [1, 2], concurrency=1))
    assert isinstance(failed, Failure)
    assert (failed.item, type(failed.error), succeeded) == (1, LookupError, Success(2, 2))


@pytest.mark.parametrize("items", [[], [1, 2, 3]])
async def test_few_items_need_few_tasks(items: list[int]) -> None:
    async with FanOut(Calls(seconds=1), items, concurrency=100) as answers:
        tasks = len(asyncio.all_tasks()) - 1
        read = [answer.item async for answer in answers]
    assert (read, tasks) == (items, max(1, len(items)))


class Unmeasured(list[int]):
    length: Any = None

    def __len__(self) -> int:
        return self.length  # type: ignore[no-any-return]  # the point


@pytest.mark.parametrize("length", [2**70, None])  # as of a long range, and a wrapped generator
async def test_items_may_be_beyond_any_length(length: Any) -> None:
    items = Unmeasured([1, 2, 3])
    items.length = length
    assert items_of(await collect(FanOut(double, items))) == [1, 2, 3]


@pytest.mark.parametrize("call", [double, Calls(seconds=1)])
@pytest.mark.parametrize("source", [iter, one_by_one])
async def test_items_are_read_as_fast_as_results(call: Any, source: Any) -> None:
    read = worst = 0

    def counting() -> Iterator[int]:
        nonlocal worst
        for item in range(500):
            worst = max(worst, item + 1 - read)
            yield item

    async with FanOut(call, source(counting()), concurrency=10) as answers:
        async for _ in answers:
            read += 1
            await asyncio.sleep(5)  # slower than the calls
    assert read == 500
    assert worst <= 2 * 10 + 1


@pytest.mark.parametrize("how", [None, KeyError, asyncio.CancelledError])
async def test_leaving_the_block_awaits_the_cancelled_rest(
    how: type[BaseException] | None,
) -> None:
    cleaned = []

    async def careful(item: int) -> int:
        try:
            await asyncio.sleep(item)
        finally:
            await asyncio.sleep(1)
            cleaned.append(item)
        return item

    with suppress(KeyError, asyncio.CancelledError):
        async with FanOut(careful, [0, 50, 60]) as answers:
            await anext(answers)
            if how is not None:
                raise how
    assert (sorted(cleaned), now()) == ([0, 50, 60], 2)


async def test_a_reader_whose_wait_timed_out_reads_on() -> None:
    read: list[int] = []
    async with FanOut(Calls(), [1, 2, 3, 4]) as answers:
        while len(read) < 4:
            try:
                async with asyncio.timeout(0.3):
                    read.append((await anext(answers)).item)
            except TimeoutError:
                continue
    assert read == [1, 2, 3, 4]


async def leave(answers: FanOut[int, int]) -> None:
    async with answers:
        await asyncio.sleep(1)


@pytest.mark.parametrize("at_once", [0, 1])
@pytest.mark.parametrize("pause", [None, 0.1], ids=["a range", "asynchronous items"])
async def test_leaving_calls_nothing_more_when_cancellation_is_swallowed(
    at_once: int, pause: float | None
) -> None:
    started = []

    async def stubborn(item: int) -> int:
        started.append(item)
        if len(started) > at_once:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
        return item

    items = range(100) if pause is None else one_by_one(range(100), pause)
    await leave(FanOut(stubborn, items, concurrency=1))
    assert (len(started), now()) == (at_once + 1, 1)


async def test_leaving_survives_items_that_swallow_their_cancellation() -> None:
    calls = Calls()

    async def items() -> AsyncIterator[int]:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        yield 1

    await leave(FanOut(calls, items(), concurrency=1))
    assert (calls.started, now()) == (0, 1)


async def test_a_call_cancelled_from_inside_is_a_failure() -> None:
    async def lose_odd(item: int) -> int:
        if item % 2:
            lost = asyncio.get_running_loop().create_future()
            lost.cancel()
            await lost
        return item

    answers = await collect(FanOut(lose_odd, range(4), concurrency=1))
    assert items_of(answers) == [0, 1, 2, 3]
    for answer in answers[1::2]:
        assert isinstance(answer, Failure)
        assert isinstance(answer.error, RuntimeError)
        assert isinstance(answer.error.__cause__, asyncio.CancelledError)


async def test_a_call_cancelling_its_task_ends_the_reading() -> None:
    async def give_up(item: int) -> int:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(1)
        return item

    with pytest.raises(asyncio.CancelledError):
        await collect(FanOut(give_up, [1], concurrency=1))


async def test_a_fan_out_runs_once() -> None:
    answers = FanOut(double, list[int]())
    await collect(answers)
    with pytest.raises(ConfigurationError, match="runs once"):
        await collect(answers)


async def test_a_second_reader_is_refused_meanwhile() -> None:
    async with FanOut(Calls(), [1, 2]) as answers:
        first = asyncio.ensure_future(anext(answers))
        await asyncio.sleep(0.5)
        with pytest.raises(ConfigurationError, match="one reader"):
            await anext(answers)
        assert [(await first).item, *[answer.item async for answer in answers]] == [1, 2]


async def test_reading_outside_the_block_is_refused() -> None:
    answers = FanOut(double, range(100))
    with pytest.raises(ConfigurationError, match="inside its 'async with' block"):
        await anext(answers)
    async with answers:
        await anext(answers)
    with pytest.raises(ConfigurationError, match="inside its 'async with' block"):
        await anext(answers)


@pytest.mark.parametrize(
    ("call", "concurrency", "problem"),
    [
        *((double, number, "is a whole number") for number in (0, 1.5, "10", None, True)),
        (range(3), 1, "an asynchronous function"),
    ],
)
def test_what_cannot_work_is_refused(call: Any, concurrency: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        FanOut(call, [1], concurrency=concurrency)
