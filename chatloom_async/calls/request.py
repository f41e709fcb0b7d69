"""Requests, checked and encoded before any I/O: method, path, query and JSON body.

Not here: the ``Request`` value itself (``transport``) and its headers (``network.exchange``).
"""

from __future__ import annotations

import ipaddress
import json as json_module
import os
import re
from collections.abc import Mapping
from urllib.parse import quote, urlencode, urlsplit

from chatloom_async.auth import PREFIX
from chatloom_async.errors import ConfigurationError
from chatloom_async.transport import Request

DEFAULT_BASE_URL = "https://chatloom.app"

Query = Mapping[str, str | int | float | bool | None]

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
_IDEMPOTENT = _METHODS - {"POST", "PATCH"}  # RFC 9110 §9.2.2; PATCH is none (RFC 5789)
_NO_VALUES: Mapping[str, str] = {}

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_BASE_URL = re.compile(
    r"(?i:https?)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]+)(:\d{1,5})?(/[A-Za-z0-9._~%/-]*)?"
)
# What urlsplit takes for a host is more than that: [::1] in example.com[::1], say.
_LABEL = r"[A-Za-z0-9_~-]{1,63}"  # RFC 1035 §2.3.4
_AUTHORITY = re.compile(rf"(\[[0-9A-Fa-f:.]+\]|({_LABEL}\.)*{_LABEL}\.?)(:\d*)?", re.ASCII)
# As in a URL (RFC 3986 §3.3), a control character not even when it is encoded.
_STEP = r"[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%(?![01]|7[Ff])[0-9A-Fa-f]{2}"
_KEY = rf"{PREFIX}[A-Za-z0-9_-]{{16}}"  # and maybe more of it
_RAW_PATH = rf"/(?!/)({_STEP})*(\?({_STEP}|\?)*)?"


def check_base_url(base_url: str | None) -> str:
    """Return the base URL without a trailing slash; None: CHATLOOM_BASE_URL, or the API's own.

    Raises:
        ConfigurationError: it is not https (http is for loopback addresses), or it carries
            credentials, a query or a fragment.
    """
    url = base_url
    if url is None:  # set but empty, the variable counts as unset; an empty argument is a mistake
        url = os.environ.get("CHATLOOM_BASE_URL", "").strip() or DEFAULT_BASE_URL
    problem = _problem(url)
    if problem:
        del url, base_url  # it may hold a password, and a traceback shows locals
        raise ConfigurationError(f"the base URL {problem}; example: {DEFAULT_BASE_URL}")
    return url.rstrip("/")


def _problem(url: object) -> str | None:
    if not isinstance(url, str) or _CONTROL.search(url) or not url.isascii() or " " in url:
        return "is an ASCII URL without spaces"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
        if parts.scheme == "https" and (host or "").replace(".", "").isdecimal():  # an address
            ipaddress.IPv4Address(host)
    except ValueError:
        return "is not a URL; give scheme and host"
    if parts.scheme not in ("https", "http") or not host:
        return "starts with https:// and a host"
    if parts.username is not None or parts.password is not None:
        return "carries no credentials; the API key goes into api_key"
    if not _AUTHORITY.fullmatch(parts.netloc):
        return "is not a URL; give scheme and host"
    if "?" in url or "#" in url:
        return "has neither query nor fragment"
    if parts.scheme == "http" and not _is_loopback(host):
        return "is https; http would send the key in the clear and is for loopback only"
    if not _BASE_URL.fullmatch(url):
        return "is scheme, host, maybe a port and a path"
    return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def build_request(  # noqa: PLR0913 - what a request is
    method: str,
    base_url: str,
    route: str,
    values: Mapping[str, str] = _NO_VALUES,
    *,
    query: Query | None = None,
    json: object = None,
    repeatable: bool | None = None,
) -> Request:
    """Return the request for one endpoint.

    Args:
        method: the HTTP method.
        base_url: from ``check_base_url``.
        route: the path as the API reference writes it, ``/api/plugin/agents/{agent_id}``; or from
            ``check_raw_path``, encoded already and maybe with a query.
        values: of the names in braces; each becomes one encoded segment (RFC 3986 §2.1).
        query: names and values; None as a value leaves the name out.
        json: the body; None: no body.
        repeatable: whether it may be sent again when an earlier one may have arrived; None: GET,
            HEAD, PUT and DELETE may (RFC 9110 §9.2.2).

    Raises:
        ConfigurationError: the method is none, a value cannot be a segment or is missing, there are
            two queries, or the body is not JSON.
    """
    if method not in _METHODS:
        raise ConfigurationError(f"the method is one of {', '.join(sorted(_METHODS))}")
    if repeatable is None:
        repeatable = method in _IDEMPOTENT
    elif not isinstance(repeatable, bool):
        raise ConfigurationError("repeatable is True, False, or None to go by the method")
    inline = ""
    if "?" in route:
        route, _, inline = route.partition("?")
    if query:
        if inline:
            raise ConfigurationError("give the query once: in the path or as query=")
        inline = _encoded(query)
    resource = route
    for name, value in values.items():
        plain = type(value) is str and value.isidentifier() and value.isascii()
        # plain: nothing to encode
        segment = value if plain and PREFIX not in value else _segment(name, value)
        resource = resource.replace(f"{{{name}}}", segment)
    if "{" in resource:
        raise ConfigurationError(f"no value was given for a name in braces: {resource}")
    body = None if json is None else _json(json, "the body").encode()
    target = f"{resource}?{inline}" if inline else resource
    return Request(method, base_url, route, resource, target, body, repeatable)


def check_raw_path(path: str) -> str:
    """Return a path given by a caller, already encoded and maybe with a query.

    Raises:
        ConfigurationError: it does not start with one slash, is not encoded, climbs with dots, or
            holds control characters, encoded or not, or an API key.
    """
    if isinstance(path, str):
        _refuse_key(path)
    if not isinstance(path, str) or not re.fullmatch(_RAW_PATH, path):
        raise ConfigurationError(
            f"{path!r} is no path: it starts with one '/', other than ASCII is percent-encoded, "
            "and control characters have no place in it"
        )
    segments = path.partition("?")[0].lower().replace("%2e", ".").split("/")  # RFC 3986 §6.2.2
    if "." in segments or ".." in segments:
        raise ConfigurationError(f"{path!r} climbs with '.' or '..'; write the path itself")
    return path


def _segment(name: str, value: object) -> str:
    noun = name.replace("_", " ")
    if not isinstance(value, str):
        raise ConfigurationError(f"{_article(noun)} is text, not {type(value).__name__}", name)
    _refuse_key(value)
    if value in ("", ".", "..") or _CONTROL.search(value):
        raise ConfigurationError(
            f"{value!r} is no {noun}; take one that the API told, as list_agents() does (agent.id)",
            name,
        )
    try:
        return quote(value, safe="")
    except UnicodeEncodeError:
        raise ConfigurationError(f"{value!r} is no {noun}: it is not valid text", name) from None


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _encoded(query: Query) -> str:
    if not isinstance(query, Mapping):
        raise ConfigurationError(f"the query is names and values, not {type(query).__name__}")
    pairs: list[tuple[str, str]] = []
    for name, value in query.items():
        if isinstance(value, str):
            pairs.append((name, str.__str__(value)))  # of an enum its value
        elif isinstance(value, int | float):
            pairs.append((name, _json(value, f"the query's {name!r}")))
        elif value is not None:
            raise ConfigurationError(
                f"the query's {name!r} is text, a number or None, not {type(value).__name__}"
            )
    try:
        encoded = urlencode(pairs, quote_via=quote)
    except UnicodeEncodeError:
        raise ConfigurationError("the query is not valid text") from None
    _refuse_key(encoded)
    return encoded


def _refuse_key(text: str) -> None:
    if re.search(_KEY, text):
        raise ConfigurationError(
            "there is an API key in the path or the query, where logs show it; "
            "it goes into api_key, and is sent in a header"
        )


def _json(value: object, what: str) -> str:
    try:
        return json_module.dumps(value, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{what} is not JSON: {error}") from None
