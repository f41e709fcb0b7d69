"""One HTTP exchange on an aiohttp session: the request, and its whole answer.

Not here: the same without aiohttp's session, and how a body is read (``network.direct``), sessions
and how long they live (``network.pool``), which connections are sound (``network.connector``), what
aiohttp's errors mean (``network.translation``).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from io import BytesIO
from typing import Any

import aiohttp
from yarl import URL

from chatloom_async.auth import ApiKey
from chatloom_async.errors import ConfigurationError
from chatloom_async.network.direct import arrived, connecting, read_body
from chatloom_async.network.options import CREDENTIALS
from chatloom_async.transport import Request, Response


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
        APIConnectionError: the body is too large.
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
    answer = await make(
        request.method,
        _url(request),
        headers=headers,
        allow_redirects=False,
        timeout=connecting(timeout),
    )
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
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientConnectionError from error  # after which aiohttp sends nothing again


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
