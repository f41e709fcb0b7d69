"""What a pool of connections tells of itself."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from chatloom_async.cache import CacheStatistics
from chatloom_async.models import as_dict, served
from chatloom_async.ratelimit.values import LimiterStatistics


@served
@frozen(repr=False)
class PoolStatistics:
    """A pool at one moment, all its event loops together.

    Attributes:
        connections: open; of a session that was brought, those in use.
        idle: those of them that carry no request.
        requests: in flight.
        queued: requests that wait for a free place of ``limit``.
        calls: under way, those that wait at a rate limiter among them.
        limiters: by the fingerprint of each key in use, what is known of its rate limit; of several
            limits for one key the latest.
        cache: what all caches have done so far.

    """

    connections: int
    idle: int
    requests: int
    queued: int
    calls: int
    limiters: Mapping[str, LimiterStatistics]
    cache: CacheStatistics

    to_dict = as_dict
