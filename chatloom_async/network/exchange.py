"""One HTTP exchange on an aiohttp session: the request, its whole answer, or what went wrong.

With ``connector``, ``pool`` and ``pool_options`` the only door of aiohttp's client. Not here:
sessions and how long they live (``pool``), which connections are sound (``connector``), what a
status means (``calls.answer``).
"""

from __future__ import annotations

import errno
import math
import re
import socket
from functools import lru_cache
from http import HTTPStatus

import aiohttp
from yarl import URL

from chatloom_async.auth import ApiKey
from chatloom_async.errors import (
    APIConnectionError,
    APITimeoutError,
    ChatloomError,
    ConfigurationError,
    ConnectionReason,
)
from chatloom_async.network.connector import Connector
from chatloom_async.transport import MAX_ERROR_BODY, Request, Response

MAX_BODY = 10 * 1024 * 1024
_CONNECT_TIMEOUT = 5.0
_OK = range(200, 300)
# What else goes wrong with DNS may be well in a second.
_NO_SUCH_HOST = {
    getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA") if hasattr(socket, name)
}
_NO_SUCH_HOST_OF_ARES = {1, 4}  # ARES_ENODATA and ARES_ENOTFOUND, which aiodns passes on
# What this machine lacks, not the server: descriptors, memory for a socket, ports.
_LACKING_HERE = {
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOBUFS,
    errno.ENOMEM,
    errno.EADDRNOTAVAIL,
}


async def send(
    session: aiohttp.ClientSession,
    request: Request,
    key: ApiKey,
    *,
    timeout: float,
    proxy: str | None,
) -> Response:
    """Make exactly one request and return its whole answer.

    ``timeout`` bounds connecting only; whoever calls bounds the whole.

    Raises:
        APIConnectionError: the connection ended before an answer, or the body is too large.
        aiohttp.ClientError, OSError, ValueError: anything else, for ``translate``.
        RuntimeError: the session is closed, maybe since this request began to wait for its slot.

    """
    headers, body = key.headers(), request.body
    if body is not None:
        headers = {**headers, "Content-Type": "application/json"}
    answer = await session.request(
        request.method,
        URL(request.url, encoded=True),
        data=body,
        headers=headers,
        allow_redirects=False,
        proxy=proxy,
        timeout=_client_timeout(timeout),
        middlewares=_GUARDS,
        raise_for_status=False,  # whatever a session that was brought would do
        auto_decompress=True,
    )
    try:
        body = await answer.content.readany()
        if not answer.content.at_eof():
            body = await _read_on(answer, body)
    except aiohttp.ClientPayloadError:
        answer.close()
        if answer.status in _OK:
            raise
        body = b""  # the status alone says what went wrong
    except BaseException:
        answer.close()
        raise
    return Response(answer.status, answer.headers, body)


async def _guarded(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Send the request once, and let nobody on the way read its key.

    aiohttp, if it saw a disconnect, would silently send the request a second time.
    """
    if request.proxy is not None and not request.is_ssl():
        # A proxy would read the key. Plain http is for this very machine, where none is needed.
        request.update_proxy(None, None, None)
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
        pass
    connector = request.session.connector
    stale = isinstance(connector, Connector) and connector.lost_kept()
    raise APIConnectionError(
        "the connection ended before an answer", "stale" if stale else "disconnected"
    )


async def _read_on(answer: aiohttp.ClientResponse, body: bytes) -> bytes:
    """Read what did not come with the first piece, never more than the limit."""
    ok = answer.status in _OK
    limit = MAX_BODY if ok else MAX_ERROR_BODY
    pieces, size = [body], len(body)
    while size <= limit and not answer.content.at_eof():
        piece = await answer.content.readany()
        pieces.append(piece)
        size += len(piece)
    if size > limit:
        answer.close()
        if ok:
            raise APIConnectionError(f"the answer is larger than {limit} bytes", "too large")
    return b"".join(pieces)[:limit]


def translate(
    error: BaseException, url: str, timeout: float, *, trust_env: bool
) -> ChatloomError | None:
    """Return our error for one of aiohttp's, without keeping anything of it; None: it is not."""
    address = URL(url, encoded=True)
    host = address.host or url
    match error:
        case aiohttp.ClientPayloadError() | aiohttp.ClientResponseError() if coding := _undecodable(
            error
        ):
            return APIConnectionError(
                f"the answer of {host} is not what its Content-Encoding says ({coding})", "encoding"
            )
        case aiohttp.InvalidURL():  # the URL of the request was checked
            return ConfigurationError(
                "the proxy named in the environment, or by the session you bring, is not a URL "
                "with scheme and host, like http://proxy.example:3128"
            )
        case aiohttp.ConnectionTimeoutError():
            return APITimeoutError(f"connecting to {host} took longer than {_connect(timeout):g} s")
        case aiohttp.ClientConnectorError() | aiohttp.ServerFingerprintMismatch():
            return _unconnected(error, host, proxied=error.host != address.raw_host)
        case aiohttp.ClientHttpProxyError():
            refused = error.status < HTTPStatus.INTERNAL_SERVER_ERROR  # else it found no way today
            return APIConnectionError(
                f"the proxy answered {error.status}", "proxy" if refused else "connect"
            )
        case aiohttp.ClientPayloadError():
            return APIConnectionError("the connection ended inside the answer", "cut off")
        case aiohttp.ClientResponseError():
            # The rest of the message quotes the answer, and that may repeat the key.
            what = re.split("[\n'\"]|: b['\"]", error.message.strip(), maxsplit=1)[0]
            return APIConnectionError(
                f"what {host} answered is not HTTP: {what.rstrip(': ')}", "protocol"
            )
        case aiohttp.ClientError() | OSError():
            return APIConnectionError("the connection ended before an answer", "disconnected")
        case ValueError() if trust_env:
            return ConfigurationError(
                f"aiohttp refuses the request ({error}): does netrc hold credentials for {host}? "
                "They cannot go with an API key; use proxy= instead of trust_env=True"
            )
    return None


def _unconnected(
    error: aiohttp.ClientConnectorError | aiohttp.ServerFingerprintMismatch,
    host: str,
    *,
    proxied: bool,
) -> APIConnectionError:
    if isinstance(
        error, aiohttp.ServerFingerprintMismatch | aiohttp.ClientConnectorCertificateError
    ):
        return APIConnectionError(f"no trusted TLS connection to {host}: {error}", "tls")
    proxied = proxied or isinstance(error, aiohttp.ClientProxyConnectionError)
    party = f"the proxy {error.host}" if proxied else host
    if isinstance(error, aiohttp.ClientConnectorDNSError) and _is_unknown(error.os_error):
        reason: ConnectionReason = "proxy" if proxied else "dns"
        where = f"the proxy's host name {error.host}" if proxied else f"the host name {host}"
        return APIConnectionError(f"{where} does not exist", reason)
    # A TLS handshake that ends otherwise than by the certificate is a server in trouble, as a
    # refused connection is: behind a balancer the next one may meet another.
    why = error.strerror or type(error.os_error).__name__
    if error.os_error.errno in _LACKING_HERE:
        return APIConnectionError(f"this machine can open no further connection: {why}", "local")
    return APIConnectionError(f"cannot connect to {party}: {why}", "connect")


def _is_unknown(error: OSError) -> bool:
    """Tell whether a resolver says that a name does not exist; aiodns does so in the cause."""
    cause = error.__cause__
    if cause is not None and type(cause).__name__ == "DNSError":
        return cause.args[0] in _NO_SUCH_HOST_OF_ARES
    return error.errno in _NO_SUCH_HOST


def _undecodable(error: BaseException) -> str | None:
    """Return the coding that could not be undone, if that is what went wrong."""
    cause: BaseException | None = error
    while cause is not None:
        if type(cause).__name__ == "ContentEncodingError":
            return str(getattr(cause, "message", "")).rpartition("content-encoding: ")[2]
        cause = cause.__cause__
    return None


@lru_cache
def _client_timeout(timeout: float) -> aiohttp.ClientTimeout:
    # The whole attempt is timed by our own watch. aiohttp rounds timeouts above the threshold up.
    return aiohttp.ClientTimeout(connect=_connect(timeout), ceil_threshold=math.inf)


def _connect(timeout: float) -> float:
    return min(timeout, _CONNECT_TIMEOUT)


_GUARDS = (_guarded,)
