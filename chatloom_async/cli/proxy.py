"""The way to the server: through a proxy where --proxy or the environment names one.

Not here: what the proxy is used for (``network.pool``). The pool by itself reads no environment.
"""

from argparse import ArgumentParser
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from chatloom_async.calls.request import check_base_url
from chatloom_async.errors import ConfigurationError
from chatloom_async.events import Observer
from chatloom_async.network.options import proxy_problem
from chatloom_async.network.pool import ConnectionPool


def add_proxy(command: ArgumentParser) -> None:
    """Add --proxy to a command's options."""
    command.add_argument(
        "--proxy", metavar="URL", help="an HTTP proxy; default: what HTTPS_PROXY and NO_PROXY say"
    )


def proxy_for(base_url: str, given: str | None) -> str | None:
    """Return the URL of the proxy on the way to a server; None: there is none.

    ``given`` is what --proxy says. Else HTTPS_PROXY or ALL_PROXY names it, in either case of
    letters, unless NO_PROXY names the server; where the system has settings of its own, as macOS
    and Windows have, they count when the environment says nothing.

    ConfigurationError: it is none that speaks HTTP. The message leaves its password out.
    """
    server, source = urlsplit(base_url), "--proxy"
    if given is None:
        proxies, source = getproxies(), "the proxy of the environment"
        given = (proxies.get("https") or proxies.get("all") or "").strip()
        past = proxy_bypass(f"{server.hostname}:{server.port or 443}")
        if not given or past or server.scheme != "https":
            return None
    url = given if "://" in given else f"http://{given}"
    if proxy_problem(url):
        raise ConfigurationError(f"{source} is not an HTTP proxy: give one like http://host:3128")
    return url


def open_pool(
    given: str | None, base_url: str | None, observer: Observer | None = None
) -> ConnectionPool:
    """Return a pool whose requests to a server go through its proxy."""
    return ConnectionPool(proxy=proxy_for(check_base_url(base_url), given), observer=observer)
