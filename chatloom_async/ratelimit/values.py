"""The values around a rate limiter: its ceiling, what a failure costs, what it tells of itself.

Not here: how requests are paced (``ratelimit.schedule``).
"""

from __future__ import annotations

import os
from enum import Enum
from typing import Literal, Protocol, runtime_checkable

from attrs import frozen

from chatloom_async.errors import ConfigurationError, require_number
from chatloom_async.models import as_dict, served, shown


@frozen
class Grant:
    """What a store answers to a limiter that wants some requests to leave.

    Attributes:
        count: how many may leave, after ``wait``; 0: ask again after it.
        wait: seconds.
        probe: whether the key was closed, and this one is to find out whether it may open.
        processes: how many asked for this key within the last minute, the asking one included.

    """

    count: int
    wait: float = 0.0
    probe: bool = False
    processes: int = 1

    __repr__ = shown


@runtime_checkable
class SharedStore(Protocol):
    """What several processes share; a failure is any exception."""

    async def take(self, name: str, limit: RateLimit, wanted: int) -> Grant:
        """Use up to ``wanted`` departures; where none is free, reserve the next one.

        While the key is closed nothing is granted. After that one departure is, as a probe, until
        the key is opened or the probe is overdue. ``wanted=0`` uses none: a departure that was
        reserved is due, and ``wait`` and ``probe`` tell whether it has to wait or is the probe.
        """
        ...

    async def close(self, name: str, seconds: float) -> None:
        """Let nothing leave for so long: a server refused, or fails."""
        ...

    async def open(self, name: str) -> None:
        """Let requests leave again: one was answered well."""
        ...


@frozen
class RateLimit:
    """A ceiling: at most ``burst + per_minute / 60 * t`` requests of one key in any t seconds.

    The default stays within fair use ("a few hundred requests per minute per API key", API
    reference, Rate limits). Lower limits are learned from refusals, with or without a ceiling.
    It is kept where calls leave the gate: behind a full ConnectionPool they may bunch up.

    Attributes:
        per_minute: requests per minute in the long run; None lifts the ceiling.
        burst: requests that may leave ahead of that, 1 or more.
        shared: what several processes share the limit by: the path of a file on one machine, or a
            ``SharedStore`` such as ``contrib.redis.SharedRedis``; None: the limit is of this
            process alone. A file or store that fails is logged and ends no call: each process then
            keeps its share of the limit, or all of it where the store has never answered.

    Raises:
        ConfigurationError: not such a number, or no such store.

    """

    per_minute: float | None = 300
    burst: float = 300
    shared: str | os.PathLike[str] | SharedStore | None = None

    __repr__ = shown

    def __attrs_post_init__(self) -> None:
        """Refuse what would never let a request through."""
        if self.per_minute is not None:
            require_number("RateLimit.per_minute", self.per_minute, at_least=0.001)
        require_number("RateLimit.burst", self.burst, at_least=1)
        if not isinstance(self.shared, str | os.PathLike | SharedStore | None) or self.shared == "":
            raise ConfigurationError(
                'RateLimit.shared is the path of a file ("limits.db") or a store with take, close '
                "and open"
            )

    @property
    def interval(self) -> float:
        """Seconds of the limit that one request uses up; 0 without a ceiling."""
        return 60 / self.per_minute if self.per_minute else 0.0


@frozen(repr=False)
class ToldLimit:
    """What an answer told of the server's limit.

    Attributes:
        header: the name of the header that told it, in lower case.
        remaining: how many more requests the server lets through before ``reset``.
        reset: seconds from the answer until there are more.
        limit: requests per window, if told.
        window: seconds, if told.

    """

    header: str
    remaining: float
    reset: float
    limit: float | None = None
    window: float | None = None


class Cost(Enum):
    """What a failed attempt costs its call."""

    COUNTED = "an attempt"
    FREE = "time: the next attempt waits at the gate"
    FINAL = "its patience: the error is to be raised"


class Stage(Enum):
    """What the gate of all keys does (``ratelimit.common``)."""

    ALONE = "nothing: there is one key"
    COUNTING = "it keeps few attempts of all keys in flight together"
    RESTING = "it hears of refusals"
    LIMITING = "it goes by one limit of all keys"


@served
@frozen(repr=False)
class LimiterStatistics:
    """The gate of one key, at a base URL and in an event loop, at one moment.

    Attributes:
        sent: attempts that left, whatever became of them.
        refused: attempts that were refused: by a 429, or by what stands for one.
        waited: seconds spent at the gate, all calls together.
        waiting: calls at the gate.
        in_flight: attempts that left and did not come back.
        rate: requests per minute, learned from refusals or told by the server; None: not known.
        state: "refused" and "outage" are the two reasons for a closed gate.
        limited_by: what holds the next attempt back: "nothing", "ceiling" (the ``RateLimit``),
            "shared" (what other processes use of it, or a refusal that one of them met),
            "told by " and a header, "measured" (a rate or a window learned from refusals), "in
            flight" (as many as are tried, or as the server accepts), "address" (a limit that all
            keys of the base URL seem to have in common), "refused" or "outage".
        window: so many requests in so many seconds, if the server seems to count by windows.
        most_in_flight: so many at a time, if the server seems to count those.

    """

    sent: int
    refused: int
    waited: float
    waiting: int
    in_flight: int
    rate: float | None
    state: Literal["open", "refused", "outage"]
    limited_by: str = "nothing"
    window: tuple[int, float] | None = None
    most_in_flight: int | None = None

    to_dict = as_dict
