"""What a pool of connections may be given: each check says what is amiss, or None.

No message shows a value: a proxy's URL may carry a password.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from urllib.parse import urlsplit

import aiohttp

CREDENTIALS = {"authorization", "x-api-key", "cookie", "proxy-authorization"}


def proxy_problem(proxy: object) -> str | None:
    """Tell what is wrong with a proxy's URL."""
    if proxy is None or (isinstance(proxy, str) and _is_http(proxy)):
        return None
    return "ConnectionPool.proxy is a URL with scheme and host, like http://proxy.example:3128"


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(host) and url.isprintable() and " " not in url


def tls_problem(context: object) -> str | None:
    """Tell what is wrong with a context for TLS."""
    if isinstance(context, ssl.SSLContext | None):
        return None
    return (
        "ConnectionPool.ssl is an ssl.SSLContext, like "
        "ssl.create_default_context(cafile='authority.pem')"
    )


def hooks_problem(trace_configs: object) -> str | None:
    """Tell what is wrong with aiohttp's hooks."""
    if isinstance(trace_configs, Sequence) and all(
        isinstance(each, aiohttp.TraceConfig) for each in trace_configs
    ):
        return None
    return "ConnectionPool.trace_configs is a list of aiohttp.TraceConfig"


def session_problem(session: object) -> str | None:
    """Tell what is wrong with a session that was brought along: many keys share it."""
    if session is None:
        return None
    if not isinstance(session, aiohttp.ClientSession):
        return "ConnectionPool.session is an aiohttp.ClientSession"
    if not isinstance(session.cookie_jar, aiohttp.DummyCookieJar):
        return (
            "the session you bring keeps cookies, and sends one key's with the next key's request: "
            "make it with cookie_jar=aiohttp.DummyCookieJar()"
        )
    if session.auth is not None:
        return "the session you bring has an auth of its own, which cannot go with an API key"
    if foreign := sorted(CREDENTIALS & {name.lower() for name in session.headers}):
        return (
            f"the session you bring sends {' and '.join(foreign)} with every request, whichever "
            "key that is made with: leave it out of the session's headers"
        )
    return None
