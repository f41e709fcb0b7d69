"""The pool under aioresponses: how aiohttp's own errors are translated, without a socket.

Middlewares, timeouts and TLS do not run here; the sandbox has those.
"""

import errno
import ssl
from collections.abc import Iterator
from socket import EAI_AGAIN, EAI_FAIL, EAI_NONAME, gaierror
from typing import Any
from unittest.mock import Mock

import aiohttp
import aioresponses.core
import pytest
from aiohttp.client_reqrep import ConnectionKey
from aioresponses.core import aioresponses as Mocked  # noqa: N812 - a class
from yarl import URL

from chatloom_async import (
    APIConnectionError,
    APITimeoutError,
    ConfigurationError,
    ConnectionPool,
)
from tests.clients import KEY, client_at

BASE_URL = "https://chatloom.app"
AGENTS = f"{BASE_URL}/api/plugin/agents"


class _Writer:
    """What aiohttp asks of the writer of a request that was never written."""

    output_size = 0


class _Answer(aiohttp.ClientResponse):
    """aiohttp requires a stream writer that aioresponses does not give."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        options.setdefault("stream_writer", _Writer())
        super().__init__(*arguments, **options)


@pytest.fixture
def mocked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mocked]:
    monkeypatch.setattr(aioresponses.core, "ClientResponse", _Answer)
    with Mocked() as answers:
        yield answers


async def test_the_key_travels_to_no_other_host(mocked: Mocked) -> None:
    mocked.get(AGENTS, payload={"agents": [], "count": 0})
    async with client_at(BASE_URL) as chatloom:
        assert len(await chatloom.list_agents()) == 0
    (call,) = mocked.requests["GET", URL(AGENTS)]
    assert call.kwargs["headers"]["Authorization"] == f"Bearer {KEY}"
    assert call.kwargs["allow_redirects"] is False


CANNOT = "cannot connect to chatloom.app"
NO_PROXY = "cannot connect to the proxy"
NO_HTTP = "what chatloom.app answered is not HTTP"
UNTRUSTED = "no trusted TLS connection to chatloom.app"
ENDED = "the connection ended before an answer"
NONE_LEFT = "this machine can open no further connection: none left"
WHERE = ConnectionKey("chatloom.app", 443, True, True, None, None, None)
PROXY = ConnectionKey("proxy.example", 3128, False, True, None, None, None)


class DNSError(Exception):
    """As aiodns raises it, which need not be installed."""


def of_ares(code: int, message: str) -> OSError:
    """What aiohttp makes of an error of aiodns."""
    error = OSError(None, message)
    error.__cause__ = DNSError(code, message)
    return error


INFO = Mock(spec=aiohttp.RequestInfo, real_url=URL(AGENTS))
REFUSED, SHAKEN = OSError(111, "refused"), ssl.SSLError(1, "handshake")
EXPIRED = ssl.SSLCertVerificationError("expired")
WANT = (errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.EBUSY)
SCARCE = [OSError(number, "none left") for number in WANT]


def unknown(error: OSError, at: ConnectionKey = WHERE) -> Exception:
    return aiohttp.ClientConnectorDNSError(at, error)


@pytest.mark.parametrize(
    ("problem", "reason", "message"),
    [
        (aiohttp.ClientConnectorError(WHERE, REFUSED), "connect", f"{CANNOT}: refused"),
        (unknown(gaierror(EAI_NONAME, "no")), "dns", "the host name chatloom.app does not exist"),
        (unknown(gaierror(EAI_AGAIN, "try again")), "connect", f"{CANNOT}: try again"),
        (unknown(gaierror(EAI_FAIL, "failure")), "connect", f"{CANNOT}: failure"),
        (unknown(OSError(None, "no answer")), "connect", f"{CANNOT}: no answer"),  # by aiodns
        (unknown(of_ares(4, "Not found")), "dns", "the host name chatloom.app does not exist"),
        (unknown(of_ares(12, "Timeout")), "connect", f"{CANNOT}: Timeout"),
        (
            unknown(gaierror(EAI_NONAME, "no"), PROXY),
            "proxy",
            "the proxy's host name proxy.example",
        ),
        (
            unknown(gaierror(EAI_AGAIN, "again"), PROXY),
            "connect",
            f"{NO_PROXY} proxy.example: again",
        ),
        *((aiohttp.ClientConnectorError(WHERE, each), "local", NONE_LEFT) for each in SCARCE),
        (aiohttp.ClientConnectorCertificateError(WHERE, EXPIRED), "tls", UNTRUSTED),
        (aiohttp.ServerFingerprintMismatch(b"a", b"b", "chatloom.app", 443), "tls", UNTRUSTED),
        (aiohttp.ClientConnectorSSLError(WHERE, SHAKEN), "connect", f"{CANNOT}: handshake"),
        (aiohttp.ClientProxyConnectionError(WHERE, REFUSED), "connect", f"{NO_PROXY} chatloom.app"),
        (aiohttp.ClientHttpProxyError(INFO, (), status=407), "proxy", "the proxy answered 407"),
        (aiohttp.ClientPayloadError("cut"), "cut off", "the connection ended inside the answer"),
        (aiohttp.ClientResponseError(INFO, (), message="bad"), "protocol", f"{NO_HTTP}: bad"),
        (aiohttp.ServerDisconnectedError(), "disconnected", ENDED),
        (aiohttp.ClientOSError(104, "reset by peer"), "disconnected", ENDED),
        (ConnectionResetError(104, "reset"), "disconnected", ENDED),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
async def test_an_error_of_aiohttp_is_translated(
    mocked: Mocked, problem: Exception, reason: str, message: str
) -> None:
    mocked.get(AGENTS, exception=problem)
    async with client_at(BASE_URL) as chatloom:
        with pytest.raises(APIConnectionError) as caught:
            await chatloom.list_agents()
    assert caught.value.reason == reason
    assert caught.value.message.startswith(message)


async def test_a_slow_connect_is_a_timeout(mocked: Mocked) -> None:
    mocked.get(AGENTS, exception=aiohttp.ConnectionTimeoutError("slow"))
    async with client_at(BASE_URL) as chatloom:
        with pytest.raises(APITimeoutError, match=r"to chatloom\.app took longer than 5 s"):
            await chatloom.list_agents()


async def test_aiohttps_refusal_to_send_is_a_configuration_error(mocked: Mocked) -> None:
    mocked.get(AGENTS, exception=ValueError("Cannot combine AUTHORIZATION header with AUTH"))
    async with ConnectionPool(trust_env=True) as pool:
        with pytest.raises(ConfigurationError, match="does netrc hold credentials"):
            await client_at(BASE_URL, pool).list_agents()
