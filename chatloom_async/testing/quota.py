"""Quotas: how many requests a server lets a key send, whom that concerns, and how it is told.

How requests are counted is in ``meters``, the headers of an answer in ``dialects``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import attrs
from attrs import define, field, frozen
from attrs.validators import ge, lt

from chatloom_async.testing import api, meters
from chatloom_async.testing.api import Reply, matches
from chatloom_async.testing.dialects import DIALECTS, Dialect
from chatloom_async.testing.meters import InFlight, Meter, Standing

_TOLD = {True: DIALECTS["retry-after"], False: DIALECTS["silent"]}  # by ``retry_after``
_PAGE = b"<html><head><title>Too many requests</title></head><body></body></html>"


@frozen
class Quota:
    """A limit per API key; made by the constructors below, narrowed by the methods after them.

    >>> Quota.token_bucket(per_minute=300, burst=60)
    >>> Quota.sliding_counters(100, 10).telling("x-ratelimit-epoch-ms").cached()
    >>> Quota.in_flight(5).answering(503, html=True).on(path="/api/plugin/agents/*")

    A refusal is a 429 with Retry-After in whole seconds (RFC 9110 §10.2.3), rounded up.
    """

    meter: Callable[[], Meter]
    """Makes a meter with nothing used up."""
    headers: Dialect = field(default=_TOLD[True], kw_only=True)
    """Makes what an answer tells."""
    status: int = field(default=429, kw_only=True, validator=[ge(400), lt(600)])
    html: bool = field(default=False, kw_only=True)
    cache: bool = field(default=False, kw_only=True)
    address: bool = field(default=False, kw_only=True)
    path: str | None = field(default=None, kw_only=True)
    workspace: str | None = field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        self.meter()

    @classmethod
    def token_bucket(
        cls,
        per_minute: float,
        burst: float,
        *,
        retry_after: bool = True,
        count_refused: bool = False,
    ) -> Quota:
        """A bucket of ``burst`` tokens, full at first, refilled with ``per_minute`` a minute.

        ``count_refused`` lets refused requests use up the quota too; ``retry_after=False`` tells
        nothing, as ``telling("silent")`` does.
        """
        make = partial(meters.TokenBucket, per_minute, burst, count_refused)
        return cls(make, headers=_TOLD[retry_after])

    @classmethod
    def token_steps(cls, limit: float, seconds: float, burst: float) -> Quota:
        """A bucket of ``burst`` tokens that gets ``limit`` at once each ``seconds``."""
        if not seconds > 0:
            raise ValueError(f"seconds must be > 0, not {seconds!r}")
        return cls(partial(meters.TokenBucket, limit * 60 / seconds, burst, interval=seconds))

    @classmethod
    def gcra(
        cls,
        per_minute: float,
        burst: float,
        *,
        retry_after: bool = True,
        count_refused: bool = False,
    ) -> Quota:
        """The generic cell rate algorithm: one request each interval, ``burst`` of them early."""
        make = partial(meters.TokenBucket, per_minute, burst, count_refused, cells=True)
        return cls(make, headers=_TOLD[retry_after])

    @classmethod
    def fixed_window(
        cls,
        limit: float,
        seconds: float,
        *,
        retry_after: bool = True,
        count_refused: bool = False,
        aligned: bool = False,
    ) -> Quota:
        """``limit`` requests in a window of ``seconds`` that starts with its first request.

        ``aligned``: that starts at multiples of ``seconds`` on the clock.
        """
        del count_refused  # what is refused in one window cannot matter in the next
        return cls(partial(meters.FixedWindow, limit, seconds, aligned), headers=_TOLD[retry_after])

    @classmethod
    def sliding_window(
        cls, limit: float, seconds: float, *, retry_after: bool = True, count_refused: bool = False
    ) -> Quota:
        """``limit`` requests in any ``seconds``, kept as an exact log."""
        make = partial(meters.SlidingWindow, limit, seconds, count_refused)
        return cls(make, headers=_TOLD[retry_after])

    @classmethod
    def sliding_counters(cls, limit: float, seconds: float) -> Quota:
        """``limit`` requests in any ``seconds``, estimated from the counts of two windows."""
        return cls(partial(meters.TwoCounters, limit, seconds))

    @classmethod
    def in_flight(cls, limit: float) -> Quota:
        """``limit`` requests at a time; a refusal cannot know how long to wait: it says nothing."""
        return cls(partial(InFlight, limit), headers=_TOLD[False])

    def telling(self, dialect: str | Dialect) -> Quota:
        """The same quota with other headers, on every answer where the dialect has them.

        ValueError names the dialects there are.
        """
        known = dialect if callable(dialect) else DIALECTS.get(dialect)
        if known is None:
            raise ValueError(f"no dialect {dialect!r}; there are {', '.join(DIALECTS)}")
        return attrs.evolve(self, headers=known)

    def answering(self, status: int, *, html: bool = False) -> Quota:
        """The same quota, refusing with another status or with a proxy's page."""
        return attrs.evolve(self, status=status, html=html)

    def cached(self) -> Quota:
        """The same quota, refusing a refused key until the reset it told, uncounted: Upstash."""
        return attrs.evolve(self, cache=True)

    def per_address(self) -> Quota:
        """The same quota for all keys of one address together."""
        return attrs.evolve(self, address=True)

    def on(self, *, path: str | None = None, workspace: str | None = None) -> Quota:
        """The same quota for this path (or shell pattern) and workspace only."""
        return attrs.evolve(self, path=path or self.path, workspace=workspace or self.workspace)

    def refusal(self, standing: Standing) -> Reply:
        """The answer to a request that is refused."""
        told = self.headers(standing)
        if self.html:
            return Reply(self.status, _PAGE, {"Content-Type": "text/html", **told})
        return api.error(self.status, api.RATE_LIMITED, told)


@define(eq=False)
class AppliedQuota:
    """A quota at work in one server: a meter for each key, or each address."""

    quota: Quota
    _meters: dict[str, Meter] = field(factory=dict[str, Meter], init=False, repr=False)
    _blocked: dict[str, float] = field(factory=dict[str, float], init=False, repr=False)

    def concerns(self, path: str, workspace: str | None) -> bool:
        """Whether a request is counted at all."""
        quota = self.quota
        return quota.workspace in (None, workspace) and matches(path, quota.path)

    def meter(self, whose: str) -> Meter:
        """The meter of a key or an address."""
        return self._meters.get(whose) or self._meters.setdefault(whose, self.quota.meter())

    def admit(self, whose: str, now: float, wall: float) -> Standing:
        """Count one request; how the key stands afterwards."""
        meter, until = self.meter(whose), self._blocked.get(whose, now)
        wait = until - now if until > now else meter.admit(now)
        standing = attrs.evolve(meter.standing(now), wait=wait, wall=wall)
        if until > now:
            return attrs.evolve(standing, remaining=0, reset=wait)
        if not wait:
            return standing
        if self.quota.cache:
            self._blocked[whose] = now + standing.reset
        return attrs.evolve(standing, remaining=0)

    def done(self, whose: str) -> None:
        """Take note that an admitted request was answered."""
        meter = self.meter(whose)
        if isinstance(meter, InFlight):
            meter.done()
