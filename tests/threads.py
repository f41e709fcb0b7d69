"""The same work in several threads, which take turns as often as they can."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from threading import Thread


def in_threads(number: int, work: Callable[[], Coroutine[None, None, None]]) -> None:
    """Do the same work in so many threads, each with an event loop of its own."""
    threads = [Thread(target=lambda: asyncio.run(work())) for _ in range(number)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
