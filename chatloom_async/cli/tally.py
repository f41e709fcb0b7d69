"""A transport that counts: requests, refusals, and which failure each repeated request followed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from http import HTTPStatus

from attrs import define, field, frozen

from chatloom_async.audit.text import plural
from chatloom_async.auth import ApiKey
from chatloom_async.calls.retry import heals, status_heals
from chatloom_async.errors import APIConnectionError
from chatloom_async.transport import Request, Response, Shared, Transport

_OK = range(200, 300)
_WORDS = {
    "stale": "lost connection",
    "disconnected": "lost connection",
    "cut off": "cut answer",
    "connect": "no connection",
    "protocol": "no HTTP",
    "dns": "DNS",
    "tls": "TLS",
}
_TIMES = "\N{MULTIPLICATION SIGN}"


@frozen
class Incident:
    """A request that failed, or one that got its answer after failures.

    ``outcome`` is the failure (``"503"``, ``"cut off"``), or ``""`` for the answer; ``failures``
    how many of its requests have failed so far; ``key`` the fingerprint of the key that asked.
    ``last`` tells that no repetition can follow.
    """

    url: str
    key: str
    outcome: str
    failures: int
    last: bool


@define(eq=False)
class Tally:
    """Passes every request on to another transport and remembers how it ended.

    A request to the same address with the same key as a failed one counts as its retry, which an
    audit's requests allow: it asks each question once.
    """

    inner: Transport
    listener: Callable[[Incident], None] | None = None
    requests: int = 0
    refusals: int = 0
    retries: Counter[str] = field(factory=Counter[str])
    retried_by_key: Counter[str] = field(factory=Counter[str])
    shared: Shared = field(init=False)
    _failed: dict[tuple[str, str], tuple[str, int]] = field(
        factory=dict[tuple[str, str], tuple[str, int]]
    )

    def __attrs_post_init__(self) -> None:
        """Share what the other transport shares."""
        self.shared = self.inner.shared

    @property
    def closed(self) -> bool:
        """Whether the other transport is."""
        return self.inner.closed

    async def exchange(self, request: Request, key: ApiKey, timeout: float) -> Response:
        """Make the request, as the other transport does."""
        whose, url = key.fingerprint, request.url
        cause, failures = self._failed.pop((url, whose), ("", 0))
        if failures:
            self.retries[cause] += 1
            self.retried_by_key[whose] += 1
        self.requests += 1
        try:
            answer = await self.inner.exchange(request, key, timeout)
        except APIConnectionError as error:
            outcome = _WORDS.get(error.reason, error.reason)
            self._note(Incident(url, whose, outcome, failures + 1, not heals(error)))
            raise
        if answer.status not in _OK:
            self.refusals += answer.status == HTTPStatus.TOO_MANY_REQUESTS
            last = not status_heals(answer.status)
            self._note(Incident(url, whose, str(answer.status), failures + 1, last))
        elif failures and self.listener is not None:
            self.listener(Incident(url, whose, "", failures, last=True))
        return answer

    def _note(self, failed: Incident) -> None:
        self._failed[failed.url, failed.key] = failed.outcome, failed.failures
        if self.listener is not None:
            self.listener(failed)

    async def aclose(self) -> None:
        """Close the other transport."""
        await self.inner.aclose()

    def summary(self) -> str:
        """Return one sentence: how many requests, how many of them retries, and after what."""
        retried = self.retries.total()
        made = plural(self.requests, "request")
        if not retried:
            return f"{made}, none of them retried"
        what = "a retry" if retried == 1 else "retries"
        causes = [f"{cause} {_TIMES}{count}" for cause, count in self.retries.most_common()]
        return f"{made}, {retried:,} of them {what} after {', '.join(causes)}"
