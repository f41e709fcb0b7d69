"""Those who call a simulated server: the shipped gate, and what users write today.

Not here: servers (``simulated_servers``), jobs and their figures (``politeness``).
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Iterator

from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential_jitter,
)

from benchmarks.simulated_servers import Refused, Server, Unavailable
from chatloom_async.calls.retry import RetryPolicy
from chatloom_async.ratelimit.limiter import RateLimiter
from chatloom_async.ratelimit.values import Cost, RateLimit, WaitLimits

POLICY = RetryPolicy()
FAILURES = (Refused, Unavailable)

Call = Callable[[str], Awaitable[None]]  # performs one call, for a path


def gate(server: Server, _limit: float) -> Call:
    """Return the shipped gate, without a ceiling."""
    limiter = RateLimiter(RateLimit(per_minute=None), name="simulated")

    async def call(path: str) -> None:
        failures, refused = 0, False
        while True:
            departure = limiter.try_acquire()
            if departure is None:
                departure = await limiter.wait(path, WaitLimits(), refused=refused)
            try:
                await server.request(path)
            except Refused as error:
                verdict = limiter.refused(departure, error, error.retry_after)
                if verdict is Cost.FINAL:
                    raise
                refused = True
                continue
            except Unavailable as error:
                verdict = limiter.failed(departure, path, error)
                failures += verdict is Cost.COUNTED
                if verdict is Cost.FINAL or failures == POLICY.attempts:
                    raise
                refused = False
            else:
                limiter.admitted(departure, path)
                return
            if verdict is Cost.COUNTED:
                await asyncio.sleep(POLICY.backoff(failures))

    return call


def five_attempts(server: Server, _limit: float) -> Call:
    """Return tenacity as its documentation shows it: five attempts, exponential backoff."""

    async def call(path: str) -> None:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(FAILURES),
            stop=stop_after_attempt(5),
            wait=wait_exponential_jitter(),
            reraise=True,
        ):
            with attempt:
                await server.request(path)

    return call


def full_jitter(server: Server, _limit: float) -> Call:
    """Return retries without end: U(0, min(60 s, 0.5 s * 2ⁿ)), Retry-After obeyed."""

    async def call(path: str) -> None:
        failures = 0
        while True:
            try:
                return await server.request(path)
            except FAILURES as error:
                failures += 1
                floor = getattr(error, "retry_after", None) or 0.0
            await asyncio.sleep(floor + random.uniform(0, min(60, 0.5 * 2 ** min(failures, 9))))

    return call


def static_limiter(server: Server, limit: float) -> Call:
    """Return a leaky bucket with the right rate, before retries without end."""
    slot = -math.inf
    retried = full_jitter(server, limit)

    async def call(path: str) -> None:
        nonlocal slot
        now = asyncio.get_running_loop().time()
        slot = max(slot, now - 60) + 60 / limit
        await asyncio.sleep(slot - now)
        await retried(path)

    return call


CLIENTS: dict[str, Callable[[Server, float], Call]] = {
    "this gate, knowing nothing": gate,
    "tenacity, five attempts": five_attempts,
    "unlimited full jitter": full_jitter,
    "static limiter, right rate": static_limiter,
}


def path_of(number: int) -> str:
    """Return what a call asks for: every agent's domains, again and again."""
    return f"/agents/{number % 2400}/allowed-domains"


async def work(calls: Iterator[int], call: Call, failed: list[str]) -> None:
    """Perform the calls that are left, as one of many tasks."""
    for number in calls:
        path = path_of(number)
        try:
            await call(path)
        except FAILURES:
            failed.append(path)
