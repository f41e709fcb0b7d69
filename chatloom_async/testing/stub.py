"""A script of replies in place of the network, for tests of code that uses a client."""

import asyncio
import copy
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from attrs import define, field, frozen
from multidict import CIMultiDict

from chatloom_async.auth import ApiKey
from chatloom_async.errors import APITimeoutError, ChatloomError, ClientClosedError
from chatloom_async.events import Observer, guarded
from chatloom_async.transport import Clock, Request, Response, Shared, SystemClock


@frozen
class StubReply:
    """One answer: a JSON value (or ``body`` as it is), and after how many seconds it comes."""

    json: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(factory=dict)
    body: bytes | None = None
    after: float = 0.0


@frozen
class StubRequest:
    """One request that was made; the key only as its fingerprint."""

    method: str
    url: str
    fingerprint: str
    at: float
    body: bytes | None = None


@define(eq=False)
class StubTransport:
    """Answers from a script, in order; pass it as ``AsyncChatloom(key, pool=StubTransport([…]))``.

    A reply is a ``StubReply``, or a ``ChatloomError``, of which a copy is raised. The script is
    read as it is needed, so it may be endless (``itertools.repeat``); a request beyond its end
    raises AssertionError. With ``clock=FakeClock()`` and its ``run``, waits take no time.
    """

    script: Iterable[StubReply | ChatloomError]
    clock: Clock = field(factory=SystemClock, kw_only=True)
    requests: list[StubRequest] = field(factory=list, init=False)
    observer: Observer | None = field(default=None, kw_only=True, repr=False)
    shared: Shared = field(init=False, repr=False)
    closed: bool = field(default=False, init=False)
    _left: Iterator[StubReply | ChatloomError] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        notify = None if self.observer is None else guarded(self.observer)
        self._left, self.shared = iter(self.script), Shared(self.clock, notify)

    async def exchange(self, request: Request, key: ApiKey, timeout: float) -> Response:
        """Return or raise the next reply of the script.

        Raises:
            AssertionError: the script is at its end.
            TypeError: the reply is something else.
            APITimeoutError: the reply comes later than the timeout.
        """
        if self.closed:
            raise ClientClosedError("the transport is closed")
        method, url, now = request.method, request.url, asyncio.get_running_loop().time()
        self.requests.append(StubRequest(method, url, key.fingerprint, now, request.body))
        reply = next(self._left, None)
        if reply is None:
            raise AssertionError(f"the script has no reply for {method} {url}")
        if isinstance(reply, ChatloomError):
            raise copy.copy(reply)  # as each attempt's error is its own
        if not isinstance(reply, StubReply):
            raise TypeError(f"a reply is a StubReply or a ChatloomError, not {reply!r}")
        if reply.after:
            await asyncio.sleep(min(reply.after, timeout))
        if reply.after > timeout:
            raise APITimeoutError(f"no complete answer within {timeout:g} s")
        body = json.dumps(reply.json).encode() if reply.body is None else reply.body
        return Response(reply.status, CIMultiDict(reply.headers), body)

    async def aclose(self) -> None:
        """End the calls in flight; later ones raise ClientClosedError."""
        self.closed = True
        self.shared.in_flight.end()
