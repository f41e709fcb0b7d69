"""One HTTP exchange on an aiohttp session: the request, and its whole answer.

Not here: the same without aiohttp's session (``network.direct``), sessions and how long they live
(``network.pool``), which connections are sound (``network.connector``), what aiohttp's errors mean
(``network.translation``).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from functools import lru_cache, partial
from io import BytesIO
from typing import Any

import aiohttp
from yarl import URL

from chatloom_async.auth import ApiKey
from chatloom_async.errors import APIConnectionError, ConfigurationError
from chatloom_async.network.connector import Connector
from chatloom_async.network.options import CREDENTIALS
from chatloom_async.transport import MAX_ERROR_BODY, Request, Response

MAX_BODY = 10 * 1024 * 1024
MAX_FIELD = 64 * 1024  # of one header; a content security policy is longer than aiohttp's 8 KiB
_CONNECT_TIMEOUT = 5.0
_OK = range(200, 300)


def options_for(
    session: aiohttp.ClientSession, proxy: str | None, *, plain: bool
) -> Mapping[str, Any]:
    """Return what each request of a session is made with; a ``plain`` one is ours, without proxy.

    Two things must not happen. aiohttp would send a request again, unasked, if the connection is
    lost, and a proxy would read the key of plain http. Of a plain session a flag, set once, forbids
    the first, and the second cannot happen. Other requests pass ``_guarded``, at 1 % of their cost.
    """
    if plain and hasattr(session, "_retry_connection"):
        session._retry_connection = False  # noqa: SLF001 - aiohttp's own test kit does so
        return {}
    # All four, for a session that was brought may have other defaults.
    return {
        "proxy": proxy,
        "middlewares": (_guarded,),
        "raise_for_status": False,
        "auto_decompress": True,
    }


async def send(
    session: aiohttp.ClientSession,
    request: Request,
    key: ApiKey,
    timeout: float,
    options: Mapping[str, Any],
) -> Response:
    """Make exactly one request and return its whole answer.

    ``timeout`` bounds connecting only; whoever calls bounds the whole. ``options``: what
    ``options_for`` returned for this session.

    Raises:
        APIConnectionError: the connection ended before an answer, or the body is too large.
        aiohttp.ClientError, OSError, ValueError: anything else, for ``translate``.
        RuntimeError: the session is closed, maybe since this request began to wait for its slot.

    """
    headers: Mapping[str, str] = key.headers()
    make: Any = session.request
    if request.body is not None:
        headers = {**headers, "Content-Type": "application/json"}
        # Of bytes aiohttp warns beyond 1 MiB.
        options = {**options, "data": BytesIO(request.body)}
    if options:
        make = partial(make, **options)
    answer: aiohttp.ClientResponse | None = None
    try:
        answer = await make(
            request.method,
            _url(request),
            headers=headers,
            allow_redirects=False,
            timeout=connecting(timeout),
        )
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
        pass  # as in ``_guarded``, which a plain session's request does not pass
    if answer is None:
        raise unanswered(session.connector)
    whole = False
    try:
        content = answer.content
        if content.is_eof():  # all of it has arrived, as nearly always
            body, whole = arrived(answer.status, content), True
        else:
            body, whole = await read_body(answer.status, content)
    finally:
        if not whole or not answer.closed:  # aiohttp takes no connection of a 101 back
            answer.close()
    return Response(answer.status, answer.headers, body)


async def _guarded(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Send the request once, with no credentials but its key, and let nobody on the way read it."""
    if sum(name in request.headers for name in CREDENTIALS) > 1:
        raise ConfigurationError(
            "the session you bring, or netrc, has credentials of its own, which cannot go with an "
            "API key: leave them out of headers, auth and cookies; use proxy= instead of "
            "trust_env=True"
        )
    if request.proxy is not None and not request.is_ssl():
        # A proxy would read the key. Plain http is for this very machine, which needs no proxy.
        request.update_proxy(None, None, None)
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
        pass
    raise unanswered(request.session.connector)


def unanswered(connector: aiohttp.BaseConnector | None) -> APIConnectionError:
    """Return the error of the running request, whose connection ended before an answer.

    If the connection was a kept one, the reason is "stale", and no other that is as old is used
    any more.
    """
    stale = isinstance(connector, Connector) and connector.lost_kept()
    return APIConnectionError(
        "the connection ended before an answer", "stale" if stale else "disconnected"
    )


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


def connect_seconds(timeout: float) -> float:
    """Return how long connecting may take of an attempt of so many seconds."""
    return min(timeout, _CONNECT_TIMEOUT)


@lru_cache
def connecting(timeout: float) -> aiohttp.ClientTimeout:
    """Return what aiohttp may time: connecting. The whole attempt is timed by our own watch."""
    # aiohttp rounds timeouts above the threshold up.
    return aiohttp.ClientTimeout(connect=connect_seconds(timeout), ceil_threshold=math.inf)


def _url(request: Request) -> URL:
    """Return the URL; to parse the base of it each time would cost four times as much."""
    if request.target != request.resource:
        return URL(request.url, encoded=True)
    base, path = _base(request.base_url)
    return base.with_path(path + request.resource, encoded=True)


@lru_cache
def _base(text: str) -> tuple[URL, str]:
    url = URL(text, encoded=True)
    return url, url.raw_path.rstrip("/")
