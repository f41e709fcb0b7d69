"""Many calls at once, their results as they finish."""

import asyncio
from collections import deque
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Sized,
)
from typing import Generic, Self, TypeVar

from attrs import define, field, frozen

from chatloom_async.errors import ConfigurationError, require_whole
from chatloom_async.models import shown

Item = TypeVar("Item")
Value = TypeVar("Value")


@frozen
class Success(Generic[Item, Value]):
    """What the call for one item returned."""

    item: Item
    value: Value

    __repr__ = shown


@frozen
class Failure(Generic[Item]):
    """What the call for one item raised; the other items go on.

    A call cancelled from inside, by a future it awaits, failed with a RuntimeError caused by that.
    """

    item: Item
    error: Exception

    __repr__ = shown


@define(eq=False, repr=False)
class FanOut(Generic[Item, Value]):
    """Calls a function for every item, a bounded number at once, and yields as they finish.

    ::

        async with FanOut(chatloom.get_allowed_domains, agent_ids, concurrency=100) as answers:
            async for answer in answers: ...

    Workers pull from the items, so that neither items nor results pile up: when more than
    ``concurrency`` results wait to be read, the workers wait too. Leaving the block cancels what is
    under way. An ``Exception`` becomes a ``Failure``; one of the items ends the iteration.

    Args:
        call: an asynchronous function of one item.
        items: an iterable or asynchronous iterable, read only as fast as calls finish.
        concurrency: calls in flight, a whole positive number; ConfigurationError for others.
    """

    call: Callable[[Item], Awaitable[Value]]
    items: Iterable[Item] | AsyncIterable[Item]
    concurrency: int = field(default=100, kw_only=True)
    _results: deque[Success[Item, Value] | Failure[Item]] = field(factory=deque, init=False)
    _workers: set[asyncio.Task[None]] = field(factory=set, init=False)
    _entered: bool = field(default=False, init=False)
    _left: bool = field(default=False, init=False)
    _reader: asyncio.Future[None] | None = field(default=None, init=False)
    _full: deque[asyncio.Future[None]] = field(factory=deque, init=False)
    _broken: BaseException | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        require_whole("FanOut's concurrency", self.concurrency)
        if not callable(self.call):
            raise ConfigurationError("FanOut takes an asynchronous function, and then its items")

    async def __aenter__(self) -> Self:
        if self._entered:
            raise ConfigurationError("a FanOut runs once; make another one")
        self._entered = True
        items = self.items
        if isinstance(items, AsyncIterable):
            turn = asyncio.Lock()  # an asynchronous generator must not be asked twice at once
            source = aiter(items)
            workers = [self._pull(source, turn) for _ in range(self.concurrency)]
        else:
            shared = iter(items)
            workers = [self._take(shared) for _ in range(_useful(self.concurrency, items))]
        for worker in workers:
            task = asyncio.create_task(worker)
            self._workers.add(task)
            task.add_done_callback(self._ended)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Cancel what is under way and wait until it is gone."""
        self._left = True  # a call may swallow its cancellation: nothing comes after it
        rest = [*self._workers]
        for worker in rest:
            worker.cancel()
        if rest:
            await asyncio.gather(*rest, return_exceptions=True)
        self._results.clear()

    def __aiter__(self) -> AsyncIterator[Success[Item, Value] | Failure[Item]]:
        return self

    async def __anext__(self) -> Success[Item, Value] | Failure[Item]:
        """Return the next result, in the order in which calls finish.

        Raises:
            ConfigurationError: it is read outside its block, or by two tasks at once.
        """
        while not self._results and self._entered and not self._left:
            if self._broken is not None:
                raise self._broken
            if not self._workers:
                raise StopAsyncIteration
            if self._reader is not None and not self._reader.done():
                raise ConfigurationError(
                    "a FanOut has one reader, which is waiting in another task"
                )
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        if self._left or not self._entered:  # else it would look like one without items
            raise ConfigurationError("read it inside its 'async with' block")
        result = self._results.popleft()
        if self._full:
            _wake(self._full.popleft())
        return result

    async def _take(self, items: Iterator[Item]) -> None:
        results, call = self._results, self.call
        for item in items:
            try:
                results.append(Success(item, await call(item)))
            except Exception as error:  # noqa: BLE001 - one item's trouble is its own result
                # Its traceback holds this frame: a local with the Failure would close a circle.
                results.append(Failure(item, error))
            except asyncio.CancelledError as cancellation:
                if _is_cancelled():
                    raise
                results.append(Failure(item, _from_inside(cancellation)))
            _wake(self._reader)
            while len(results) > self.concurrency and not self._left:
                room = asyncio.get_running_loop().create_future()
                self._full.append(room)
                await room
            if self._left:
                return

    async def _pull(self, items: AsyncIterator[Item], turn: asyncio.Lock) -> None:
        while not self._left:
            async with turn:
                try:
                    item = await anext(items)
                except StopAsyncIteration:
                    return
            if not self._left:
                await self._take(iter((item,)))

    def _ended(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        if worker.cancelled():
            self._broken = asyncio.CancelledError("a call of this FanOut was cancelled")
        elif worker.exception() is not None:
            self._broken = worker.exception()
        _wake(self._reader)


def _is_cancelled() -> bool:
    """Tell whether somebody cancelled the running task, without a local that closes a circle."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _from_inside(cancellation: asyncio.CancelledError) -> RuntimeError:
    """Return the error of a call whose task nobody cancelled; its reader must not be, either."""
    error = RuntimeError("the call was cancelled from inside")
    error.__cause__ = cancellation
    return error


def _useful(concurrency: int, items: Iterable[object]) -> int:
    """Return how many workers find something to do."""
    try:
        return max(1, min(concurrency, len(items))) if isinstance(items, Sized) else concurrency
    except (OverflowError, TypeError):  # more than a length can tell, or none after all
        return concurrency


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
