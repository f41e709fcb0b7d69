"""Which calls are under way, so that closing a client ends them instead of leaving them behind."""

from __future__ import annotations

import asyncio

from attrs import define, field


@define(eq=False, repr=False)
class InFlight:
    """The calls of one pool, each with its task and the client that makes it.

    Only the loop that runs a call touches its entry, so that loops in several threads may share it.
    """

    _calls: dict[object, tuple[asyncio.Task[object], object, int]] = field(factory=dict)
    _ended: set[object] = field(factory=set)

    def __len__(self) -> int:
        """Return how many calls are under way."""
        return len(self._calls)

    def enter(self, call: object, owner: object) -> None:
        """Note a call; the caller leaves it in a ``finally``."""
        task = asyncio.current_task()
        if task is not None:
            self._calls[call] = task, owner, task.cancelling()

    def leave(self, call: object) -> None:
        """Forget a call."""
        self._calls.pop(call, None)
        self._ended.discard(call)

    def end(self, owner: object | None = None) -> None:
        """Cancel the calls of one client, or all; ``was_ended`` tells them why."""
        for call, (task, whose, _) in list(self._calls.items()):
            loop = task.get_loop()
            if (owner is None or whose is owner) and not loop.is_closed():
                loop.call_soon_threadsafe(self._cancel, call, task)

    def _cancel(self, call: object, task: asyncio.Task[object]) -> None:
        # Only if the call still is under way: its task has other things to do afterwards.
        if call in self._calls and call not in self._ended:
            self._ended.add(call)
            task.cancel()

    def was_ended(self, call: object) -> bool:
        """Tell a cancelled call whether closing was the one reason, and take that back if so."""
        if call not in self._ended:
            return False
        task, _, cancelling = self._calls[call]
        return task.uncancel() <= cancelling
