"""A shared limit over several machines: a Redis or Valkey server keeps it (extra ``redis``).

::

    limits = SharedRedis(redis.asyncio.Redis(host="redis.internal"))
    AsyncChatloom(key, pool=pool, rate_limit=RateLimit(shared=limits))

One script, on the server's own clock, so that the clocks of the machines need not agree; one round
trip for each question. Redis 6 or later. Not here: what a limiter does with the answers, and while
the server is away (``ratelimit.shared``).
"""

from __future__ import annotations

import inspect
from importlib.resources import files
from typing import NoReturn, Self, cast

from attrs import define
from redis.asyncio import Redis

from chatloom_async.errors import ConfigurationError
from chatloom_async.ratelimit.shared import this_process
from chatloom_async.ratelimit.values import Grant, RateLimit

_SCRIPT = files("chatloom_async.contrib").joinpath("redis.lua").read_text("utf-8")


@define(eq=False)
class SharedRedis:
    """A ``SharedStore`` on a Redis server; the caller closes the client.

    Keys are written below ``prefix``, as hashes. Make one for each event loop, as redis-py wants.
    """

    client: Redis
    prefix: str = "chatloom:limits:"

    def __attrs_post_init__(self) -> None:
        """Refuse a client that would hold up the loop, and answer nothing that can be awaited."""
        if not inspect.iscoroutinefunction(getattr(self.client, "execute_command", None)):
            raise ConfigurationError("SharedRedis takes a client of redis.asyncio, not of redis")

    async def take(self, name: str, limit: RateLimit, wanted: int) -> Grant:
        """Use up to ``wanted`` departures; see ``SharedStore``."""
        arguments = repr(limit.interval), repr(limit.burst), str(wanted), str(this_process())
        answer = await self._run(name, "take", *arguments)
        count, wait, processes, probe = cast("tuple[int, bytes, int, int]", answer)
        return Grant(int(count), float(wait), bool(probe), int(processes))

    async def close(self, name: str, seconds: float) -> None:
        """Let nothing leave for so long."""
        await self._run(name, "close", repr(seconds))

    async def open(self, name: str) -> None:
        """Let requests leave again."""
        await self._run(name, "open")

    async def _run(self, name: str, *arguments: str) -> object:
        # In braces: both keys of a script must live on one node of a cluster.
        place = f"{self.prefix}{{{name}}}"
        return await self.client.eval(_SCRIPT, 2, place, f"{place}:members", *arguments)

    def __deepcopy__(self, _: object = None) -> Self:
        """Return itself: a connection cannot be doubled."""
        return self

    __copy__ = __deepcopy__

    def __reduce__(self) -> NoReturn:
        """Refuse: a connection does not travel."""
        raise TypeError("a SharedRedis is not pickled; make one in each process")
