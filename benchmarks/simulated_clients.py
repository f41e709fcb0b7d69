"""Those who call a simulated server: this package's client, and what users write today.

Not here: servers (``simulated_servers``), jobs and their figures (``simulated_jobs``).
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from attrs import frozen
from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential_jitter,
)

from benchmarks.simulated_servers import Server, SimulatedTransport
from chatloom_async import ApiKey, AsyncChatloom, ChatloomError, RateLimit
from chatloom_async.testing.api import domains_path

Call = Callable[[str], Awaitable[object]]  # looks up one agent

NO_CEILING = RateLimit(per_minute=None)
AGENTS = 2400  # looked up again and again


class Failed(Exception):  # noqa: N818 - a refusal is no error of the server
    """What a peer's call ends with: a refusal for the rate, a 5xx, a reset or a timeout."""

    def __init__(self, retry_after: float = 0.0) -> None:
        """``retry_after`` in seconds; 0: the server does not say."""
        super().__init__(retry_after)
        self.retry_after = retry_after


@frozen
class Crew:
    """The clients of one job: so many processes with so many keys each, and their ceiling."""

    processes: int = 1
    keys: int = 1
    ceiling: RateLimit | None = NO_CEILING


ALONE = Crew()


def chatloom(server: Server, crew: Crew, _rate: float) -> list[Call]:
    """Return the look-up of each client of this package; a process has one transport."""
    return [
        AsyncChatloom(key_of(key), pool=transport, rate_limit=crew.ceiling).get_allowed_domains
        for transport in [SimulatedTransport(server) for _ in range(crew.processes)]
        for key in range(crew.keys)
    ]


async def request(server: Server, agent: str) -> None:
    """Make one request as peers do."""
    try:
        answer = await server.answer(domains_path(agent), "peer")
    except ChatloomError as error:
        raise Failed from error
    if answer.status != HTTPStatus.OK:
        refused = answer.status == HTTPStatus.TOO_MANY_REQUESTS
        raise Failed(float(answer.headers.get("Retry-After", 0)) if refused else 0)


def five_attempts(server: Server, _crew: Crew, _rate: float) -> list[Call]:
    """Return tenacity as its documentation shows it: five attempts, exponential backoff."""

    async def call(agent: str) -> None:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(Failed),
            stop=stop_after_attempt(5),
            wait=wait_exponential_jitter(),
            reraise=True,
        ):
            with attempt:
                await request(server, agent)

    return [call]


def full_jitter(server: Server, _crew: Crew, _rate: float) -> list[Call]:
    """Return retries without end: U(0, min(60 s, 0.5 s * 2ⁿ)), Retry-After obeyed."""

    async def call(agent: str) -> None:
        failures = 0
        while True:
            try:
                return await request(server, agent)
            except Failed as failure:
                failures += 1
                floor = failure.retry_after
            await asyncio.sleep(floor + random.uniform(0, min(60, 0.5 * 2 ** min(failures, 9))))

    return [call]


def static_limiter(server: Server, crew: Crew, rate: float) -> list[Call]:
    """Return a leaky bucket with the right rate, before retries without end."""
    slot = -math.inf
    [retried] = full_jitter(server, crew, rate)

    async def call(agent: str) -> None:
        nonlocal slot
        now = asyncio.get_running_loop().time()
        slot = max(slot, now - 60) + 60 / rate
        await asyncio.sleep(slot - now)
        await retried(agent)

    return [call]


CLIENTS: dict[str, Callable[[Server, Crew, float], list[Call]]] = {
    "chatloom_async": chatloom,
    "tenacity, five attempts": five_attempts,
    "unlimited full jitter": full_jitter,
    "static limiter, right rate": static_limiter,
}


def key_of(number: int) -> ApiKey:
    """Return one of the keys of a job."""
    return ApiKey(f"clf_simulated_{number:04}")


def agent_of(number: int) -> str:
    """Return whom a call asks for."""
    return f"agt_{number % AGENTS}"
