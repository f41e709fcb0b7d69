"""Tests in virtual time: their waits cost nothing, and sockets have no place in them."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec

from chatloom_async.testing import FakeClock

P = ParamSpec("P")


def virtual(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an asynchronous test on the loop of a ``FakeClock``; one that waits for ever fails."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        FakeClock().run(test(*args, **kwargs))

    return run


def now() -> float:
    """Return the seconds that have passed in the test."""
    return asyncio.get_running_loop().time()
