"""The sandbox's memory of what it was asked: the last requests one by one, and counters of all.

Keys never get in here: credentials are redacted before a request is kept.
"""

from collections import Counter, deque
from collections.abc import Mapping
from contextlib import suppress

import attrs
from attrs import define, field, frozen
from multidict import CIMultiDict, CIMultiDictProxy

from chatloom_async.testing.api import matches

NO_ANSWER = 0
"""The status of a request that was reset, dropped, left hanging or given up by its client."""

KEPT = 10_000  # requests that are kept one by one, unless told otherwise
_SECRET = ("Authorization", "Proxy-Authorization", "X-API-Key", "Cookie")
_SCHEMES = ("bearer", "basic", "digest")


@frozen
class RecordedRequest:
    """One request as it came in, and what it got.

    ``path`` is the target as on the wire, still percent-encoded and with its query; ``status`` is 0
    when it never got an answer; ``at`` is seconds on the sandbox's clock; ``workspace`` is None for
    a request without a valid key. Of credentials in ``headers`` only the scheme is left.
    """

    method: str
    path: str
    status: int
    at: float
    workspace: str | None
    headers: Mapping[str, str] = field(hash=False, repr=False)


@define(eq=False)
class Ledger:
    """Counts every request, keeps the last ones."""

    _counts: Counter[tuple[str | None, str, int]] = field(factory=Counter)
    _kept: deque[RecordedRequest] = field(factory=lambda: deque(maxlen=KEPT))

    def keep(self, last: int | None) -> None:
        """Keep the ``last`` requests one by one from now on; 0 for none, None for all."""
        self._kept = deque(self._kept, maxlen=last)

    @property
    def keeps(self) -> bool:
        """Whether requests are kept at all."""
        return self._kept.maxlen != 0

    def record(self, request: RecordedRequest) -> None:
        """Count one request, and keep it."""
        self._counts[request.workspace, request.path, request.status] += 1
        self._kept.append(request)

    def given_up(self, request: RecordedRequest) -> None:
        """Take note that the client of a recorded request did not wait for its answer."""
        late = attrs.evolve(request, status=NO_ANSWER)
        self._counts[request.workspace, request.path, request.status] -= 1
        self._counts[late.workspace, late.path, late.status] += 1
        with suppress(ValueError):  # it is not kept, or not any more
            self._kept[self._kept.index(request)] = late

    def requests(self) -> list[RecordedRequest]:
        """The kept requests, oldest first."""
        return list(self._kept)

    def count(self, path: str | None, status: int | None, workspace: str | None) -> int:
        """How many requests match; ``path`` may be a shell pattern, None matches everything."""
        return sum(
            n
            for (name, target, answered), n in self._counts.items()
            if matches(target, path) and status in (None, answered) and workspace in (None, name)
        )


def redacted(headers: Mapping[str, str]) -> Mapping[str, str]:
    """A copy with credentials cut to their scheme; names match in any case."""
    copy = CIMultiDict(headers)
    for name in _SECRET:
        if name in copy:
            scheme = copy[name].partition(" ")[0]
            # Without a known scheme the first word may be the key itself.
            copy[name] = scheme if scheme.lower() in _SCHEMES else "(redacted)"
    return CIMultiDictProxy(copy)
