"""GETs on aiohttp's connections without its session: the same bytes at half the cost.

aiohttp's session makes some twenty objects for each request; a GET without a body needs none of
them. Here a request takes a connection from the same connector, writes its head, and reads the
answer through aiohttp's own protocol and parser.

aiohttp does not promise all of the names that this needs. ``Direct.of`` lets them be tried first
(``network.trial``), and where anything is out of the ordinary every request is the session's
(``network.exchange``).
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

import aiohttp
from attrs import define, field, frozen
from yarl import URL

from chatloom_async.auth import ApiKey
from chatloom_async.network.connector import Connector
from chatloom_async.network.exchange import (
    MAX_FIELD,
    connecting,
    read_body,
    unanswered,
    within_limit,
)
from chatloom_async.network.trial import doubt, session_methods, try_out
from chatloom_async.transport import MAX_ERROR_BODY, Request, Response

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

    async def send(  # noqa: C901, PLR0912 - calls cost each request more than branches do
        self, request: Request, key: ApiKey, timeout: float
    ) -> Response:
        """Make exactly one request and return its whole answer; raise as ``exchange.send`` does."""
        if self.connector.closed:
            raise RuntimeError("Session is closed")  # as aiohttp raises
        origin = self._origins.get(request.base_url) or self._learn(request.base_url)
        connection = self._at_hand(origin) if origin.at_hand else None
        if connection is None:
            try:
                connection = await self.connector.connect(origin.request, [], connecting(timeout))
            except TimeoutError as error:
                raise aiohttp.ConnectionTimeoutError from error
        protocol = connection.protocol
        try:
            protocol.set_response_params(
                read_until_eof=True, auto_decompress=True, max_field_size=MAX_FIELD
            )
            transport = protocol.transport
            if transport is None or transport.is_closing():
                raise aiohttp.ServerDisconnectedError  # noqa: TRY301 - as if a read had raised it
            transport.write(
                f"GET {origin.path}{request.target}{origin.head}{key.line()}\r\n".encode("ascii")
            )
            message, content = await protocol.read()
            while _INTERIM <= (status := message.code) < _FINAL and status != _SWITCHING:
                message, content = await protocol.read()
            if content.is_eof():  # all of it has arrived, as nearly always
                pieces = getattr(content, "_buffer", None)  # as ``exchange.arrived`` does
                body, whole = b"".join(pieces or ()), True
                if pieces:
                    pieces.clear()
                if len(body) > MAX_ERROR_BODY:  # the smallest of the limits
                    body = within_limit(status, body)
            else:
                body, whole = await read_body(status, content)
        except BaseException as error:
            connection.close()  # what else arrives there belongs to no other request
            if isinstance(error, _aiohttp.http_exceptions.HttpProcessingError):
                reason = cast("Any", error).message  # of a class that aiohttp does not export
                raise _aiohttp.ClientResponseError(None, (), message=reason) from error
            if not isinstance(error, aiohttp.ClientOSError | aiohttp.ServerDisconnectedError):
                raise
        else:
            if whole:
                self._give_back(origin, connection)
            else:
                connection.close()
            return Response(status, message.headers, body)
        raise unanswered(self.connector)

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
