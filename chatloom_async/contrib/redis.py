"""A shared limit over several machines: a Redis or Valkey server keeps it (extra ``redis``).

::

    limits = SharedRedis(redis.asyncio.Redis(host="redis.internal"))
    AsyncChatloom(key, pool=pool, rate_limit=RateLimit(shared=limits))

One script, on the server's own clock, so that the clocks of the machines need not agree; one round
trip for each question. Redis 6 or later. Not here: what a limiter does with the answers, and while
the server is away (``ratelimit.shared``).
"""

import os
import secrets
from typing import NoReturn, Self, cast

from attrs import define, field
from redis.asyncio import Redis

from chatloom_async.ratelimit.values import Grant, RateLimit

# KEYS: the limit, its members. ARGV: seconds a departure uses (0: no ceiling), burst, wanted,
# member. Answers are texts: a script's numbers lose their fraction.
_TAKE = """
local t = redis.call('TIME')
local now = tonumber(t[1]) + tonumber(t[2]) / 1e6
local interval, burst, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local state = redis.call('HMGET', KEYS[1], 'used', 'closed')
local used, closed = tonumber(state[1]) or 0, tonumber(state[2])
redis.call('ZADD', KEYS[2], now, ARGV[4])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - 60)
redis.call('EXPIRE', KEYS[2], 120)
local members = redis.call('ZCARD', KEYS[2])
if closed and now < closed then return {0, tostring(closed - now), members, 0} end
if wanted == 0 then return {0, '0', members, 0} end
if closed then wanted = 1 end
local count, wait = wanted, 0
if interval > 0 then
  local begin = math.max(used, now)
  count = math.min(wanted, math.floor((now - begin) / interval + burst + 1e-9))
  if count < 1 then
    count = 1
    wait = begin + interval - burst * interval - now
  end
  used = begin + count * interval
  redis.call('HSET', KEYS[1], 'used', string.format('%.6f', used))
end
if closed then redis.call('HSET', KEYS[1], 'closed', string.format('%.6f', now + wait + 2)) end
redis.call('EXPIRE', KEYS[1], math.ceil(math.max(used - now, 0)) + 300)
return {count, tostring(wait), members, closed and 1 or 0}
"""

# KEYS: the limit. ARGV: seconds; negative: open.
_MARK = """
local seconds = tonumber(ARGV[1])
if seconds < 0 then return redis.call('HDEL', KEYS[1], 'closed') end
local t = redis.call('TIME')
local till = tonumber(t[1]) + tonumber(t[2]) / 1e6 + seconds
local before = tonumber(redis.call('HGET', KEYS[1], 'closed')) or 0
redis.call('HSET', KEYS[1], 'closed', string.format('%.6f', math.max(till, before)))
redis.call('EXPIRE', KEYS[1], math.ceil(seconds) + 300)
return 1
"""


@define(eq=False)
class SharedRedis:
    """A ``SharedStore`` on a Redis server; the caller closes the client.

    Keys are written below ``prefix``, as hashes. The client belongs to one event loop, as redis-py
    wants it: make one for each.
    """

    client: Redis
    prefix: str = "chatloom:limits:"
    _member: str = field(factory=lambda: secrets.token_hex(4), init=False)

    async def take(self, name: str, limit: RateLimit, wanted: int) -> Grant:
        """Use up to ``wanted`` departures; see ``SharedStore``."""
        interval = 60 / limit.per_minute if limit.per_minute else 0.0
        # A forked process is a member of its own.
        place, member = self._place(name), f"{os.getpid()}-{self._member}"
        arguments = [repr(interval), repr(limit.burst), str(wanted), member]
        answer = await self.client.eval(_TAKE, 2, place, f"{place}:members", *arguments)
        count, wait, processes, probe = cast("tuple[int, bytes, int, int]", answer)
        return Grant(int(count), float(wait), bool(probe), int(processes))

    async def close(self, name: str, seconds: float) -> None:
        """Let nothing leave for so long."""
        await self.client.eval(_MARK, 1, self._place(name), repr(max(0.0, seconds)))

    async def open(self, name: str) -> None:
        """Let requests leave again."""
        await self.client.eval(_MARK, 1, self._place(name), "-1")

    def __deepcopy__(self, _: object = None) -> Self:
        """Return itself: a connection cannot be doubled."""
        return self

    __copy__ = __deepcopy__

    def __reduce__(self) -> NoReturn:
        """Refuse: a connection does not travel."""
        raise TypeError("a SharedRedis is not pickled; make one in each process")

    def _place(self, name: str) -> str:
        # In braces: both keys of a script must live on one node of a cluster.
        return f"{self.prefix}{{{name}}}"
