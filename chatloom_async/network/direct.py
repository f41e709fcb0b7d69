"""GETs on aiohttp's connections without its session: the same bytes at half the cost.

aiohttp's session makes some twenty objects for each request; a GET without a body needs none of
them. Here a request takes a connection from the same connector, writes its head, and reads the
answer through aiohttp's own protocol and parser.

aiohttp does not promise all of the names that this needs. ``Direct.of`` lets them be tried first
(``network.trial``), and where anything is out of the ordinary every request is the session's
(``network.exchange``). Here too: what both ways allow an answer, of time and of size.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from functools import lru_cache
from typing import Any, cast

import aiohttp
from attrs import define, field, frozen
from yarl import URL

from chatloom_async.auth import ApiKey
from chatloom_async.errors import APIConnectionError
from chatloom_async.network.connector import Connector
from chatloom_async.network.trial import doubt, session_methods, try_out
from chatloom_async.transport import MAX_ERROR_BODY, Request, Response

MAX_BODY = 10 * 1024 * 1024
MAX_FIELD = 64 * 1024  # of one header; a content security policy is longer than aiohttp's 8 KiB
_CONNECT_TIMEOUT = 5.0
_OK = range(200, 300)
_log = logging.getLogger("chatloom_async")
_aiohttp: Any = aiohttp  # with what it has and does not export
# Statuses of 1xx are interim answers, all but 101, which ends HTTP there (RFC 9110 §15.2).
_INTERIM, _FINAL, _SWITCHING = 100, 200, 101
_KEPT = 15.0  # seconds, as long as aiohttp keeps a connection


@frozen(eq=False, repr=False)
class _Origin:
    """What requests to one base URL have in common.

    Attributes:
        request: what the connector connects for: a ``ClientRequest``, in effect.
        path: the path of the base URL.
        head: what follows the path, up to the key's line.
        at_hand: connections that were given back in this turn of the loop or the one before.

    """

    request: Any
    path: str
    head: str
    at_hand: list[Any] = field(factory=list)


class _Template:
    """A request of aiohttp's to ask its connector for connections with.

    It keeps the two attributes that aiohttp works out anew at each access.
    """

    def __init__(self, request: aiohttp.ClientRequest) -> None:
        self._request, self.proxy = request, request.proxy
        self.connection_key = request.connection_key

    def __getattr__(self, name: str) -> Any:
        return getattr(self._request, name)


@define(eq=False, repr=False)
class Direct:
    """Sends what a session would send, on the session's connector."""

    session: aiohttp.ClientSession
    connector: Any  # the session's
    _methods: tuple[Any, Any]  # of aiohttp's session, to see whether somebody replaces one
    _origins: dict[str, _Origin] = field(factory=dict)
    _giving_back: bool = False
    _given_back_at: float = 0.0  # by the loop's time: the first of those at hand

    @classmethod
    def of(cls, session: aiohttp.ClientSession) -> Direct | None:
        """Return the direct way beside a session; None if it is not certain to work.

        A pool with a proxy, or with ``direct=False``, does not ask.
        """
        connector = session.connector
        if not isinstance(connector, Connector) or session.trace_configs or session.trust_env:
            return None
        direct = cls(session, connector, session_methods())
        try:
            problem = doubt() or try_out(direct)
        except Exception as error:  # noqa: BLE001 - whatever a changed aiohttp raises
            problem = f"{type(error).__name__}: {error}"
        if problem is None:
            return direct
        _log.info("requests go through aiohttp's session, for the direct way is off: %s", problem)
        return None

    def takes(self, request: Request) -> bool:
        """Tell whether a request can go this way: a GET without a body.

        No request can while a recorder or a fake has replaced a method of aiohttp's session.
        """
        return (
            request.method == "GET"
            and request.body is None
            and _aiohttp.ClientSession._request is self._methods[0]  # noqa: SLF001 - see trial
            and _aiohttp.ClientSession.request is self._methods[1]
        )

    async def send(self, request: Request, key: ApiKey, timeout: float) -> Response:
        """Make exactly one request and return its whole answer; raise as ``exchange.send`` does."""
        if self.connector.closed:
            raise RuntimeError("Session is closed")  # as aiohttp raises
        origin = self._origins.get(request.base_url) or self._learn(request.base_url)
        connection = self._at_hand(origin) if origin.at_hand else None
        if connection is None:
            connection = await self.connector.connect(origin.request, [], connecting(timeout))
        protocol, whole = connection.protocol, False
        try:
            protocol.set_response_params(
                read_until_eof=True, auto_decompress=True, max_field_size=MAX_FIELD
            )
            transport = protocol.transport
            if transport is None or transport.is_closing():
                raise aiohttp.ServerDisconnectedError
            transport.write(
                f"GET {origin.path}{request.target}{origin.head}{key.line()}\r\n".encode("ascii")
            )
            message, content = await protocol.read()
            while _INTERIM <= (status := message.code) < _FINAL and status != _SWITCHING:
                message, content = await protocol.read()
            if content.is_eof():  # all of it has arrived, as nearly always
                body, whole = arrived(status, content), True
            else:
                body, whole = await read_body(status, content)
        except _aiohttp.http_exceptions.HttpProcessingError as error:
            reason = cast("Any", error).message  # of a class that aiohttp does not export
            raise _aiohttp.ClientResponseError(None, (), message=reason) from error
        finally:
            if whole:
                self._give_back(origin, connection)
            else:
                connection.close()  # what else arrives there belongs to no other request
        return Response(status, message.headers, body)

    def _at_hand(self, origin: _Origin) -> Any:
        """Return a sound connection that was given back a moment ago, or None."""
        while origin.at_hand:
            connection = origin.at_hand.pop()
            if self.connector.is_sound(connection.protocol):
                return connection
            connection.close()
        return None

    def _give_back(self, origin: _Origin, connection: Any) -> None:
        """Keep a connection for the request that mostly follows at once; else it is released.

        A request that waits for a place in the pool goes on in the next turn of the loop. To hand a
        connection to aiohttp and to get it again costs a tenth of a request.
        """
        if not self._giving_back:
            self._giving_back = True
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self.release)  # after that turn
            self._given_back_at = loop.time()
        origin.at_hand.append(connection)

    def release(self) -> None:
        """Let go of the connections that no request followed on."""
        self._giving_back = False
        # If the loop stood still since (``run_until_complete``), aiohttp would take them for new.
        old = asyncio.get_running_loop().time() > self._given_back_at + _KEPT
        for origin in self._origins.values():
            for connection in origin.at_hand:
                if old:
                    connection.close()
                else:
                    connection.release()  # which closes it where the answer says so
            origin.at_hand.clear()

    def _learn(self, base_url: str) -> _Origin:
        """Let aiohttp make a request without a key; its head serves all that follow."""
        url = URL(base_url, encoded=True)
        template = aiohttp.ClientRequest(
            "GET", url, headers=self.session.headers, loop=asyncio.get_running_loop()
        )
        lines = "".join(f"{name}: {value}\r\n" for name, value in template.headers.items())
        origin = _Origin(_Template(template), url.raw_path.rstrip("/"), f" HTTP/1.1\r\n{lines}")
        self._origins[base_url] = origin
        return origin


def connect_seconds(timeout: float) -> float:
    """Return how long connecting may take of an attempt of so many seconds."""
    return min(timeout, _CONNECT_TIMEOUT)


@lru_cache
def connecting(timeout: float) -> aiohttp.ClientTimeout:
    """Return what aiohttp may time: connecting. The whole attempt is timed by our own watch."""
    # aiohttp rounds timeouts above the threshold up.
    return aiohttp.ClientTimeout(connect=connect_seconds(timeout), ceil_threshold=math.inf)


def arrived(status: int, content: aiohttp.StreamReader) -> bytes:
    """Take a body out that has arrived as a whole, as ``read_body`` does.

    ``read_nowait`` would have the parser look for more, which costs each answer some 3 %.
    """
    pieces = getattr(content, "_buffer", None)  # the reader of an empty body has none
    if type(pieces) is deque:
        body = b"".join(pieces)
        pieces.clear()
    else:
        body = content.read_nowait()
    return body if len(body) <= MAX_ERROR_BODY else within_limit(status, body)


async def read_body(status: int, content: aiohttp.StreamReader) -> tuple[bytes, bool]:
    """Return the body of an answer, never more than the limit, and whether that is all of it.

    Of an error answer the status says enough, so its body may be cut, or missing. All that has
    arrived is taken out, beyond the limit too: aiohttp would keep what is left with the connection,
    and that may repeat the key.

    Raises:
        APIConnectionError: the body of a success is larger than the limit.
        aiohttp.ClientPayloadError: that of a success is cut off or cannot be decoded.

    """
    limit = _limit(status)
    pieces, size = [], 0
    try:
        while size <= limit and (piece := await content.readany()):
            pieces.append(piece)
            size += len(piece)
    except aiohttp.ClientPayloadError:
        if status in _OK:
            raise
        return b"", False
    return within_limit(status, b"".join(pieces)), size <= limit


def within_limit(status: int, body: bytes) -> bytes:
    """Return the body, that of an error cut to the limit.

    Raises:
        APIConnectionError: the body of a success is larger than the limit.

    """
    limit = _limit(status)
    if len(body) > limit and status in _OK:
        raise APIConnectionError(f"the answer is larger than {limit} bytes", "too large")
    return body[:limit]


def _limit(status: int) -> int:
    return MAX_BODY if status in _OK else MAX_ERROR_BODY
