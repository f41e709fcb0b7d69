"""A loop that can be held up without waiting: its clock jumps while its sockets stand unread."""

import asyncio


class HeldUpLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop; ``hold_up`` is what somebody's blocking code does to it."""

    _held_up = 0.0

    def time(self) -> float:
        return super().time() + self._held_up

    def hold_up(self, seconds: float) -> None:
        self._held_up += seconds


def hold_up(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, HeldUpLoop)
    loop.hold_up(seconds)
