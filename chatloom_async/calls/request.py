"""Where a request goes: the base URL and the paths below it, checked before any I/O."""

from __future__ import annotations

import ipaddress
import os
import re
from urllib.parse import quote, urlsplit

from chatloom_async.errors import ConfigurationError

DEFAULT_BASE_URL = "https://chatloom.app"
AGENTS = "/api/plugin/agents"

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_BASE_URL = re.compile(
    r"https?://(\[[0-9a-f:.]+\]|[a-z0-9._~-]+)(:\d{1,5})?(/[a-z0-9._~%/-]*)?", re.IGNORECASE
)
# What urlsplit takes for a host is more than that: [::1] in example.com[::1], say.
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]+)(:\d*)?", re.ASCII)
_UNRESERVED = re.compile(r"[A-Za-z0-9_~-]+")
# As in a URL (RFC 3986 §3.3), a control character not even when it is encoded.
_STEP = r"[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%(?![01]|7[Ff])[0-9A-Fa-f]{2}"
_RAW_PATH = re.compile(rf"/(?!/)({_STEP})*(\?({_STEP}|\?)*)?")


def check_base_url(base_url: str | None) -> str:
    """Return the base URL without a trailing slash; None: CHATLOOM_BASE_URL, or the API's own.

    Raises:
        ConfigurationError: it is not https (http is for loopback addresses), or it carries
            credentials, a query or a fragment.

    """
    url = base_url
    if url is None:  # set but empty, the variable counts as unset; an empty argument is a mistake
        url = os.environ.get("CHATLOOM_BASE_URL") or DEFAULT_BASE_URL
    problem = _problem(url)
    if problem:
        del url, base_url  # it may hold a password, and a traceback shows locals
        raise ConfigurationError(f"the base URL {problem}, like {DEFAULT_BASE_URL}")
    return url.rstrip("/")


def _problem(url: object) -> str | None:
    if not isinstance(url, str) or _CONTROL.search(url) or not url.isascii() or " " in url:
        return "is an ASCII URL without spaces"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
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


def allowed_domains_path(agent_id: str) -> str:
    """Return the path of an agent's domains, the id percent-encoded as one segment (RFC 3986 §2.1).

    Raises:
        ConfigurationError: the id is empty, ``.`` or ``..``, or holds control characters.

    """
    if isinstance(agent_id, str) and _UNRESERVED.fullmatch(agent_id):
        return f"{AGENTS}/{agent_id}/allowed-domains"  # as almost all: nothing to encode
    if not isinstance(agent_id, str):
        raise ConfigurationError(f"an agent id is text, not {type(agent_id).__name__}")
    if agent_id in ("", ".", "..") or _CONTROL.search(agent_id):
        raise ConfigurationError(
            f"{agent_id!r} is no agent id; take one from list_agents() (agent.id)"
        )
    try:
        return f"{AGENTS}/{quote(agent_id, safe='')}/allowed-domains"
    except UnicodeEncodeError:
        raise ConfigurationError(f"{agent_id!r} is no agent id: it is not valid text") from None


def check_raw_path(path: str) -> str:
    """Return a path given by a caller, already encoded and maybe with a query.

    Raises:
        ConfigurationError: it does not start with one slash, is not encoded, climbs with dots, or
            holds control characters, encoded or not.

    """
    if not isinstance(path, str) or not _RAW_PATH.fullmatch(path):
        raise ConfigurationError(
            f"{path!r} is no path: it starts with one '/', other than ASCII is percent-encoded, "
            "and control characters have no place in it"
        )
    segments = path.partition("?")[0].lower().replace("%2e", ".").split("/")  # RFC 3986 §6.2.2
    if "." in segments or ".." in segments:
        raise ConfigurationError(f"{path!r} climbs with '.' or '..'; write the path itself")
    return path
