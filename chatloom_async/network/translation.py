"""Errors of aiohttp as errors of ours: what happened, at whose end, and nothing of aiohttp's kept.

Not here: when an exchange raises which (``network.exchange``, ``network.direct``).
"""

from __future__ import annotations

import errno
import re
import socket
from http import HTTPStatus
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from chatloom_async.errors import (
    APIConnectionError,
    APITimeoutError,
    ChatloomError,
    ConfigurationError,
    ConnectionReason,
)

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
    errno.EBUSY,  # what a look-up of a name meets then
}

_NO_PROXY = (
    "the proxy named in the environment, by the session you bring or as proxy= is not a URL with a "
    "host and the scheme http, like http://proxy.example:3128"
)


def translate(
    error: BaseException, url: str, connecting: float, *, trust_env: bool
) -> ChatloomError | None:
    """Return our error for one of aiohttp's, without keeping anything of it; None: it is not.

    ``connecting`` is how many seconds that might take.
    """
    address = URL(url, encoded=True)
    host = address.raw_host or url
    match error:
        case aiohttp.ClientPayloadError() | aiohttp.ClientResponseError() if coding := _undecodable(
            error
        ):
            return APIConnectionError(
                f"the answer of {host} is not what its Content-Encoding says ({coding})", "encoding"
            )
        case aiohttp.InvalidURL() | UnicodeError():  # the URL of the request was checked
            return ConfigurationError(_NO_PROXY)
        case TimeoutError():
            return APITimeoutError(f"connecting to {host} took longer than {connecting:g} s")
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
            return _not_http(error, host)
        case aiohttp.ClientError() | OSError():
            return APIConnectionError("the connection ended before an answer", "disconnected")
        case ValueError() if trust_env:
            return ConfigurationError(
                f"aiohttp refuses the request ({error}): does netrc hold credentials for {host}? "
                "They cannot go with an API key; use proxy= instead of trust_env=True"
                if "AUTH" in str(error)
                else _NO_PROXY
            )
    return None


def by_way_of_proxy(
    error: APIConnectionError, url: str, proxy: str | None, *, trust_env: bool
) -> ChatloomError:
    """Return an error that speaks of the proxy too, if the request goes through one.

    aiohttp goes without a proxy of the environment that is to be spoken to by TLS, or has no host.
    """
    server = urlsplit(url)
    named = proxy
    if proxy is None and trust_env and not proxy_bypass(server.hostname or ""):
        named = getproxies().get("https", "").strip()
    if server.scheme != "https" or not named:
        return error
    way = urlsplit(named)
    if proxy is None and (way.scheme == "https" or not way.hostname):
        return ConfigurationError(_NO_PROXY)
    if "proxy" not in error.message:
        error.message += f", by way of the proxy {way.hostname}"
        error.args = (error.message,)
    return error


def untrace(error: BaseException) -> None:
    """Let an error of aiohttp forget where it has been.

    The protocol keeps what it raised, whose traceback would keep every frame up to the call.
    """
    for raised in (error, error.__cause__, error.__context__):
        if raised is not None:
            raised.__traceback__ = None


def _not_http(error: aiohttp.ClientResponseError, host: str) -> APIConnectionError:
    # The rest of the message quotes the answer, and that may repeat the key.
    what = re.split("[\n\"]|(?<!n)'|'(?!t )|: b['\"]", error.message.strip(), maxsplit=1)[0]
    asked = getattr(error.request_info, "method", "")
    party = f"the proxy on the way to {host}" if asked == "CONNECT" else host
    return APIConnectionError(f"what {party} answered is not HTTP: {what.rstrip(': ')}", "protocol")


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
