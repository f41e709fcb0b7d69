"""How servers tell their limits: the headers of each dialect, made from a key's standing.

``Quota.telling`` takes a dialect by its name, or any function of this kind.
"""

import math
from collections.abc import Callable, Mapping
from email.utils import formatdate

from chatloom_async.testing.meters import TOLERANCE, Standing

Dialect = Callable[[Standing], Mapping[str, str]]
"""Makes the headers of one answer, an admitted one's or a refusal's."""


def _figures(standing: Standing) -> dict[str, object]:
    """Return what the headers below name; times are in seconds where nothing else is said."""
    end, wait = standing.wall + standing.reset, standing.wait
    return {
        "limit": f"{standing.limit:g}",
        "window": f"{standing.window:g}",
        "left": standing.remaining,
        "reset": math.ceil(standing.reset),
        "reset_floored": math.floor(standing.reset),
        "epoch": math.ceil(end),
        "epoch_ms": round(end * 1000),
        "wait": max(1, math.ceil(wait - TOLERANCE)),
        "wait_exact": f"{wait:.6f}",
        "wait_ms": math.ceil(wait * 1000),
        "wait_date": formatdate(math.ceil(standing.wall + wait), usegmt=True),
    }


def _dialect(always: Mapping[str, str], refused: Mapping[str, str] | None = None) -> Dialect:
    """Make a dialect of what every answer says and of what only a refusal does."""
    all_of_it = {**always, **(refused or {})}

    def tell(standing: Standing) -> Mapping[str, str]:
        headers = always if standing.admitted else all_of_it
        figures = _figures(standing) if headers else {}
        return {name: text.format_map(figures) for name, text in headers.items()}

    return tell


def _x_ratelimit(reset: str) -> dict[str, str]:
    limit, left = "X-RateLimit-Limit", "X-RateLimit-Remaining"
    return {limit: "{limit}", left: "{left}", "X-RateLimit-Reset": reset}


DIALECTS: Mapping[str, Dialect] = {
    "silent": _dialect({}),
    "retry-after": _dialect({}, {"Retry-After": "{wait}"}),
    "retry-after-date": _dialect({}, {"Retry-After": "{wait_date}"}),  # RFC 9110 §10.2.3
    "retry-after-ms": _dialect({}, {"retry-after-ms": "{wait_ms}"}),  # Azure
    "retry-after-floored": _dialect(_x_ratelimit("{epoch_ms}"), {"Retry-After": "{reset_floored}"}),
    # On errors of the service too: Flask-Limiter.
    "retry-after-always": _dialect({**_x_ratelimit("{epoch}"), "Retry-After": "{reset}"}),
    "x-retry-in": _dialect({}, {"X-Retry-In": "{wait_exact}s"}),  # Go, Traefik
    "x-ratelimit-seconds": _dialect(_x_ratelimit("{reset}")),
    "x-ratelimit-epoch": _dialect(_x_ratelimit("{epoch}"), {"Retry-After": "{reset}"}),  # GitHub
    "x-ratelimit-epoch-ms": _dialect(_x_ratelimit("{epoch_ms}")),  # Upstash's examples
    "draft-6": _dialect(  # draft-ietf-httpapi-ratelimit-headers-06: one header each
        {
            "RateLimit-Policy": "{limit};w={window}",
            "RateLimit-Limit": "{limit}",
            "RateLimit-Remaining": "{left}",
            "RateLimit-Reset": "{reset}",
        }
    ),
    "draft-7": _dialect(  # a dictionary
        {
            "RateLimit-Policy": "{limit};w={window}",
            "RateLimit": "limit={limit}, remaining={left}, reset={reset}",
        }
    ),
    "draft-8": _dialect(  # and later: a list of named policies
        {
            "RateLimit-Policy": '"default";q={limit};w={window}',
            "RateLimit": '"default";r={left};t={reset}',
        }
    ),
}
