"""The way to the server, step by step: its name, a connection, TLS; through a proxy if need be.

And what the ``doctor`` says of each thing that it looks at, a ``Check``. Not here: requests
(``cli.doctor``). Nothing but TLS and CONNECT is spoken, and no key is sent.
"""

import asyncio
import base64
import os
import socket
import ssl
import time
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

from attrs import frozen

from chatloom_async.audit.text import plural

PATIENCE = 5.0  # seconds for each step
_DAY = 86_400
_EXPIRES_SOON = 14 * _DAY
_PORTS = {"http": 80, "https": 443}
_OK = 200
_WANTS_CREDENTIALS = 407
_CLOCK = "look at this machine's date and time; if they are right, tell support@chatloom.app"
# What OpenSSL calls the reasons (X509_V_ERR_…), and what helps.
_CERTIFICATES = {
    9: ("is not valid yet", _CLOCK),
    10: ("has expired", _CLOCK),
    62: ("is for another host", "CHATLOOM_BASE_URL names a host that is not the API's: mend it"),
    64: ("is for another host", "CHATLOOM_BASE_URL names a host that is not the API's: mend it"),
}
_OPENED = (
    "somebody on the way opens TLS, as proxies of companies do: ask for their authority's "
    "certificate and set SSL_CERT_FILE to it"
)
_UNKNOWN_AUTHORITY = ("comes from an authority that is not trusted here", _OPENED)


@frozen
class Check:
    """One line of the doctor's report: what was looked at, and what was found."""

    name: str
    verdict: Literal["ok", "note", "problem"]  # "note": worth knowing, and stops nothing
    message: str
    advice: str = ""  # what to do about it


async def way(server: SplitResult, proxy: str | None) -> list[Check]:
    """Return a check for each step, up to the first one that fails."""
    peer = server if proxy is None else urlsplit(proxy)
    name = "name" if proxy is None else "name of the proxy"
    resolved = await _resolved(name, peer)
    if resolved.verdict == "problem":
        return [resolved]
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(*_address(peer))
    except OSError as error:
        return [resolved, _unconnected(peer, proxy, error)]
    try:
        checks = [resolved, Check("connection", "ok", f"{_host_and_port(peer)} answers")]
        if proxy is not None:
            tunnel = await _tunnel(server, urlsplit(proxy), reader, writer)
            checks.append(tunnel)
            if tunnel.verdict == "problem":
                return checks
        return [*checks, await _secured(server, writer)]
    finally:
        writer.transport.abort()


async def _resolved(name: str, peer: SplitResult) -> Check:
    host, port = _address(peer)
    try:
        async with asyncio.timeout(PATIENCE):
            found = await asyncio.get_running_loop().getaddrinfo(
                host, port, type=socket.SOCK_STREAM
            )
    except TimeoutError:
        advice = "no name server answers: is there a network, and is its DNS right?"
        return Check(name, "problem", f"{host} is not found within {PATIENCE:g} s", advice)
    except (OSError, UnicodeError):
        advice = "look at its spelling, and whether other names are found in this network"
        return Check(name, "problem", f"{host} is not known", advice)
    return Check(name, "ok", f"{host} has {plural(len({each[4] for each in found}), 'address')}")


def _unconnected(peer: SplitResult, proxy: str | None, error: OSError) -> Check:
    slow = isinstance(error, TimeoutError)
    told = os.strerror(error.errno) if error.errno else type(error).__name__
    why = f"no answer within {PATIENCE:g} s" if slow else told
    if proxy is not None:
        advice = "look at HTTPS_PROXY or --proxy, or ask who runs the proxy"
    elif slow:
        advice = "a firewall may swallow it: networks of companies need HTTPS_PROXY or --proxy"
    else:
        advice = "nothing listens there: look at CHATLOOM_BASE_URL, or start the sandbox"
    return Check("connection", "problem", f"{_host_and_port(peer)}: {why}", advice)


async def _tunnel(
    server: SplitResult,
    proxy: SplitResult,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> Check:
    host, peer = server.hostname, _host_and_port(server)
    head = f"CONNECT {peer} HTTP/1.1\r\nHost: {peer}\r\n"
    if proxy.username:
        pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        head += f"Proxy-Authorization: Basic {base64.b64encode(pair.encode()).decode()}\r\n"
    try:
        async with asyncio.timeout(PATIENCE):
            if proxy.scheme == "https":
                await writer.start_tls(ssl.create_default_context(), server_hostname=proxy.hostname)
            writer.write(f"{head}\r\n".encode())
            answer = await reader.readuntil(b"\r\n\r\n")
        status = int(answer.split(maxsplit=2)[1])
    except (OSError, ValueError, IndexError, EOFError, asyncio.LimitOverrunError):
        advice = "look at HTTPS_PROXY or --proxy: is it an HTTP proxy?"
        return Check("proxy", "problem", "it does not answer as a proxy does", advice)
    if status == _OK:
        return Check("proxy", "ok", f"it connects to {host}")
    if status == _WANTS_CREDENTIALS:
        advice = "put them into its URL: http://user:password@host:port"
        return Check("proxy", "problem", "it wants a user name and a password (407)", advice)
    advice = f"ask who runs the proxy to let connections to {host} pass"
    return Check("proxy", "problem", f"it does not connect to {host} ({status})", advice)


async def _secured(server: SplitResult, writer: asyncio.StreamWriter) -> Check:
    if server.scheme == "http":
        return Check("TLS", "ok", "none, for the server is this very machine")
    try:
        async with asyncio.timeout(PATIENCE):
            context = ssl.create_default_context()
            await writer.start_tls(context, server_hostname=server.hostname)
    except ssl.SSLCertVerificationError as error:
        what, advice = _CERTIFICATES.get(error.verify_code, _UNKNOWN_AUTHORITY)
        own = os.environ.get("SSL_CERT_FILE")
        if own and advice == _OPENED:
            advice = f"it is none of those in SSL_CERT_FILE, {own!r}: does that file exist?"
        return Check("TLS", "problem", f"the certificate {what}", advice)
    except OSError as error:
        advice = "something on the way does not let TLS pass, or the server speaks none"
        why = getattr(error, "reason", None) or type(error).__name__
        return Check("TLS", "problem", f"no encrypted connection: {why}", advice)
    tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
    certificate = tls.getpeercert() or {}
    left = ssl.cert_time_to_seconds(str(certificate["notAfter"])) - time.time()
    told = f"{tls.version()}, certificate good for {left / _DAY:.0f} days"
    if left < _EXPIRES_SOON:
        return Check("TLS", "note", f"{told} only", "if it is not renewed, requests will fail")
    return Check("TLS", "ok", told)


def _address(url: SplitResult) -> tuple[str, int]:
    return url.hostname or "", url.port or _PORTS[url.scheme]


def _host_and_port(url: SplitResult) -> str:
    """Return host and port; a URL may hold a password."""
    host, port = _address(url)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
