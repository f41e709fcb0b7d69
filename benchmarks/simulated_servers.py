"""A server in virtual time: how long it takes, what its limit admits, what goes wrong behind it.

How limits count and what they tell is ``chatloom_async.testing.quota``. Not here: clients
(``simulated_clients``), jobs and what became of them (``simulated_jobs``).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from functools import cache
from random import Random

from attrs import define, field, frozen
from multidict import CIMultiDict

from chatloom_async.auth import ApiKey
from chatloom_async.errors import APIConnectionError, APITimeoutError
from chatloom_async.testing.clock import FakeClock
from chatloom_async.testing.quota import AppliedQuota, Quota
from chatloom_async.transport import Request, Response, Shared

Latency = Callable[[Random], tuple[float, float]]  # seconds: there, and back

_DOMAINS = b'{"domains":["example.com"]}'
_FAILURE = b'{"error":"Something went wrong on our side."}'
_ADDRESS = "192.0.2.1"


def wide(random: Random) -> tuple[float, float]:
    """Return half of 20 to 200 ms each way."""
    way = random.uniform(0.02, 0.2) / 2
    return way, way


def far(random: Random) -> tuple[float, float]:
    """Return about 150 ms each way."""
    return random.uniform(0.13, 0.17), random.uniform(0.13, 0.17)


def near(random: Random) -> tuple[float, float]:
    """Return about 20 ms each way."""
    way = math.log(0.02)
    return random.lognormvariate(way, 0.4), random.lognormvariate(way, 0.4)


@frozen
class Trouble:
    """From ``start`` to ``end``, requests for ``paths`` (None: all) fail with ``probability``."""

    start: float
    end: float
    kind: str  # "500", "503", "reset" or "hang"
    probability: float = 1.0
    paths: frozenset[str] | None = None

    def hits(self, now: float, path: str, random: Random) -> bool:
        """Tell whether this request fails."""
        return (
            self.start <= now < self.end
            and (self.paths is None or path in self.paths)
            and random.random() < self.probability
        )


@define(eq=False)
class Server:
    """Answers with domains after its latency and ``service`` seconds; hangs until the timeout."""

    clock: FakeClock
    random: Random
    quota: Quota | None = None
    latency: Latency = near
    service: float = 0.03
    phase: float = 0.0  # seconds: so far into its first window a job begins
    troubles: tuple[Trouble, ...] = ()
    pages: Mapping[str, bytes] = field(factory=dict[str, bytes])
    limited_first: bool = True  # what fails was counted by the limiter, too
    connecting: float = 0.0  # seconds before a request for which there is no connection yet
    arrivals: list[float] = field(factory=list[float], init=False)
    answers: list[float] = field(factory=list[float], init=False)
    failures: list[float] = field(factory=list[float], init=False)
    refused: int = field(default=0, init=False)
    _applied: AppliedQuota | None = field(default=None, init=False)
    _keys: set[str] = field(factory=set[str], init=False)

    def __attrs_post_init__(self) -> None:
        """Put the limit in place."""
        self._applied = None if self.quota is None else AppliedQuota(self.quota)

    def limit_to(self, limit: float) -> None:
        """Move the limit of every key."""
        for whose in self._keys:
            if self._applied is not None:
                self._applied.meter(whose).limit = limit

    async def answer(self, path: str, key: str, timeout: float = 15.0) -> Response:
        """Receive one request and return its answer, or raise as a transport does."""
        there, back = self.latency(self.random)
        await asyncio.sleep(there)
        now = self.clock.monotonic()
        self.arrivals.append(now)
        trouble = next((t for t in self.troubles if t.hits(now, path, self.random)), None)
        if trouble is not None and not self.limited_first:
            return await self._fail(trouble, back, timeout, {})
        applied, headers = self._applied, CIMultiDict[str]()
        whose = _ADDRESS if self.quota is not None and self.quota.address else key
        if applied is not None:
            self._keys.add(whose)
            standing = applied.admit(whose, now + self.phase, self.clock.wall())
            headers.update(applied.quota.headers(standing))
            if not standing.admitted:
                self.refused += 1
                refusal = applied.quota.refusal(standing)
                await asyncio.sleep(back)
                return Response(refusal.status, CIMultiDict(refusal.headers), refusal.body)
        try:
            if trouble is None:
                await asyncio.sleep(self.service)
        finally:
            if applied is not None:
                applied.done(whose)
        if trouble is not None:
            return await self._fail(trouble, back, timeout, headers)
        await asyncio.sleep(back)
        self.answers.append(self.clock.monotonic())
        return Response(200, headers, self.pages.get(path, _DOMAINS))

    async def _fail(
        self, trouble: Trouble, back: float, timeout: float, headers: Mapping[str, str]
    ) -> Response:
        await asyncio.sleep(timeout if trouble.kind == "hang" else back)
        self.failures.append(self.clock.monotonic())
        match trouble.kind:
            case "hang":
                raise APITimeoutError(f"no complete answer within {timeout:g} s")
            case "reset":
                raise APIConnectionError("the connection was reset", "disconnected")
            case status:
                return Response(int(status), headers, _FAILURE)


@define(eq=False)
class SimulatedTransport:
    """The way of one process to a server, instead of a ``ConnectionPool``."""

    server: Server
    shared: Shared = field(init=False)
    closed: bool = field(default=False, init=False)
    _kept: int = field(default=0, init=False)  # connections at hand

    def __attrs_post_init__(self) -> None:
        """Live in the server's time."""
        self.shared = Shared(self.server.clock)

    async def exchange(self, request: Request, key: ApiKey, timeout: float) -> Response:
        """Make one request, on a connection that is at hand or a new one."""
        if self._kept:
            self._kept -= 1
        else:
            await asyncio.sleep(self.server.connecting)
        try:
            return await self.server.answer(request.resource, key.fingerprint, timeout)
        finally:
            self._kept += 1

    async def aclose(self) -> None:
        """Hold nothing."""


@cache
def ideal(
    quota: Quota, calls: int, phase: float = 0.0, change: tuple[float, float] | None = None
) -> float:
    """Return the seconds of a client that knows everything and has no latency."""
    meter, now, done = quota.meter(), 0.0, 0
    while True:
        if change and now >= change[0]:
            meter.limit = change[1]
        wait = meter.admit(now + phase)
        if not wait:
            done += 1
            if done == calls:
                return now
            continue
        later = now + max(wait, 1e-6)
        now = min(later, change[0]) if change and now < change[0] else later
