"""What a client needs below it: one request and its whole answer, by ``pool`` or a test's stub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from attrs import define

from chatloom_async.auth import ApiKey
from chatloom_async.clock import Clock
from chatloom_async.gates import Gates
from chatloom_async.inflight import InFlight

MAX_ERROR_BODY = 64 * 1024


@define(eq=False, repr=False)
class Response:
    """A complete answer; header names are matched without regard to case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """What a client needs below it: ``ConnectionPool``, or a script of replies in tests."""

    clock: Clock
    gates: Gates
    in_flight: InFlight

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        ...

    async def exchange(self, method: str, url: str, key: ApiKey, timeout: float) -> Response:
        """Make exactly one request and return the whole answer, whatever its status.

        ``timeout`` is in seconds and bounds all of it, except queueing inside the transport.

        Raises:
            APIConnectionError: no complete answer arrived; its reason decides about another try.
            ChatloomError: none can, for the transport is closed, say. Any other exception passes
                through the call as it is.

        """
        ...

    async def aclose(self) -> None:
        """Release what it holds; idempotent."""
        ...
