"""Options that several commands have, and what they ask for.

Not here: what a proxy is used for (``network.pool``). The pool by itself reads no environment.
"""

from argparse import ArgumentParser
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from chatloom_async.audit.results import SEVERITIES
from chatloom_async.calls.request import check_base_url
from chatloom_async.errors import ConfigurationError
from chatloom_async.events import Observer
from chatloom_async.network.options import proxy_problem
from chatloom_async.network.pool import ConnectionPool

# How many severities count at each level of --fail-on, the gravest first.
_COUNTING = {"gap": 0, "high": 1, "medium": 2, "low": 3, "new-finding": 3}


def add_fail_on(command: ArgumentParser, levels: Iterable[str], told: str) -> None:
    """Add --fail-on to a command's options."""
    command.add_argument("--fail-on", action="append", default=[], choices=levels, help=told)


def reached(levels: Iterable[str], found: Iterable[str], *, gap: bool) -> bool:
    """Tell whether what --fail-on names was found; a gap always counts, for it may hide that."""
    counting = {each for level in levels for each in SEVERITIES[: _COUNTING[level]]}
    return gap or not counting.isdisjoint(found)


def add_force(command: ArgumentParser) -> None:
    """Add --force to a command's options."""
    command.add_argument("--force", action="store_true", help="write over files that exist")


def check_free(path: str, *, force: bool) -> None:
    """Refuse (ConfigurationError) to write over a file that holds something, unless wanted."""
    if path == "-":
        raise ConfigurationError("'-' is standard output after --out only: name a file")
    file = Path(path)
    if not force and file.is_file() and file.stat().st_size:
        raise ConfigurationError(f"{path} exists; write to another file, or replace it: --force")


def add_format(command: ArgumentParser) -> None:
    """Add --format to a command's options."""
    command.add_argument(
        "--format",
        choices=("table", "jsonl", "csv"),
        default="table",
        help="what to print (default: table)",
    )


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
