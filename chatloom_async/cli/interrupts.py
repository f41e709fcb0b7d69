"""Ctrl-C, SIGTERM, SIGHUP: the first one ends the command in good order, the second the process.

Not here: what a command says when it was interrupted (each command's own module).
"""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

from attrs import define, field

INTERRUPTED = 130  # the exit status, 128 + SIGINT, as shells have it
# The last one says that the terminal is gone, where there is such a signal.
_SIGNALS = [each for each in signal.Signals if each.name in ("SIGINT", "SIGTERM", "SIGHUP")]
_SHOW_CURSOR = b"\x1b[?25h\r\n"  # a progress bar hides the terminal's cursor


@define(eq=False)
class Interrupts:
    """What the signals of a command lead to; ``handled`` makes it the process's handler."""

    _told: bool = field(default=False, init=False)
    _end: Callable[[], object] | None = field(default=None, init=False)  # of what runs in a loop

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handle signals while the block runs, if it does so in the main thread; no other may."""
        main = threading.current_thread() is threading.main_thread()
        before = {each: signal.getsignal(each) for each in _SIGNALS if main}
        # One that is ignored stays so: the command runs under nohup, or in the background.
        ours = {each: old for each, old in before.items() if old is not signal.SIG_IGN}
        for each in ours:
            signal.signal(each, self._handle)
        try:
            yield
        finally:
            for each, old in ours.items():
                signal.signal(each, old)

    def run(self, work: Coroutine[Any, Any, int]) -> int:
        """Run on a new event loop; the first signal cancels it, so that it can tidy up.

        Cancelled without a status of its own to return, it raises KeyboardInterrupt.
        """

        async def main() -> int:
            loop = asyncio.get_running_loop()
            task = loop.create_task(work)
            self._end = lambda: loop.call_soon_threadsafe(task.cancel)
            try:
                return await task
            finally:
                self._end = lambda: None  # the command has ended, and its loop is closing

        try:
            return asyncio.run(main())
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
        finally:
            self._end = None

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self._told:
            if sys.stderr is not None and sys.stderr.isatty():
                os.write(2, _SHOW_CURSOR)
            os._exit(INTERRUPTED)  # at once, whatever waits, and without a word
        self._told = True
        if self._end is None:
            raise KeyboardInterrupt
        self._end()


def leave(status: int) -> NoReturn:
    """End the process at once, which no signal disturbs; an interpreter's own end takes a while.

    Threads that wait for a name server would hold it up for longer still.
    """
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    os._exit(status)
