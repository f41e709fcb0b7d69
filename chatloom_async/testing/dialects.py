"""How servers tell their limits: the headers of each dialect, made from a key's standing.

``Quota.telling`` takes a dialect by its name, or any function of this kind.
"""

import math
from collections.abc import Callable, Mapping
from email.utils import formatdate

from chatloom_async.testing.meters import TOLERANCE, Standing

Dialect = Callable[[Standing], Mapping[str, str]]
"""Makes the headers of one answer, an admitted one's or a refusal's."""


def silent(_: Standing) -> Mapping[str, str]:
    """Tell nothing: the status is all there is."""
    return {}


def _on_refusals(header: str, value: Callable[[Standing], str]) -> Dialect:
    return lambda standing: {} if standing.admitted else {header: value(standing)}


def _x_ratelimit(
    reset: Callable[[Standing], str], wait: Callable[[Standing], str] | None = None
) -> Dialect:
    """Make the dialect of three headers on every answer, and of a Retry-After on refusals."""

    def tell(standing: Standing) -> Mapping[str, str]:
        told = {
            "X-RateLimit-Limit": f"{standing.limit:g}",
            "X-RateLimit-Remaining": str(standing.remaining),
            "X-RateLimit-Reset": reset(standing),
        }
        return (
            told if wait is None or standing.admitted else {**told, "Retry-After": wait(standing)}
        )

    return tell


def _seconds(standing: Standing) -> str:
    return str(math.ceil(standing.reset))


def _epoch(standing: Standing) -> str:
    return str(math.ceil(standing.wall + standing.reset))


def _epoch_ms(standing: Standing) -> str:
    return str(round((standing.wall + standing.reset) * 1000))


def retry_after_always(standing: Standing) -> Mapping[str, str]:
    """Tell the time to the reset on every answer, errors of the service too: Flask-Limiter."""
    return {**_x_ratelimit(_epoch)(standing), "Retry-After": _seconds(standing)}


def draft_6(standing: Standing) -> Mapping[str, str]:
    """Tell one header each (draft-ietf-httpapi-ratelimit-headers-06)."""
    return {
        "RateLimit-Policy": f"{standing.limit:g};w={standing.window:g}",
        "RateLimit-Limit": f"{standing.limit:g}",
        "RateLimit-Remaining": str(standing.remaining),
        "RateLimit-Reset": _seconds(standing),
    }


def draft_7(standing: Standing) -> Mapping[str, str]:
    """Tell a dictionary (draft 07)."""
    limit, left, reset = standing.limit, standing.remaining, _seconds(standing)
    return {
        "RateLimit-Policy": f"{limit:g};w={standing.window:g}",
        "RateLimit": f"limit={limit:g}, remaining={left}, reset={reset}",
    }


def draft_8(standing: Standing) -> Mapping[str, str]:
    """Tell a list of named policies (draft 08 and later)."""
    return {
        "RateLimit-Policy": f'"default";q={standing.limit:g};w={standing.window:g}',
        "RateLimit": f'"default";r={standing.remaining};t={_seconds(standing)}',
    }


DIALECTS: Mapping[str, Dialect] = {
    "silent": silent,
    "retry-after": _on_refusals(
        "Retry-After", lambda told: str(max(1, math.ceil(told.wait - TOLERANCE)))
    ),
    "retry-after-date": _on_refusals(  # RFC 9110 §10.2.3
        "Retry-After", lambda told: formatdate(math.ceil(told.wall + told.wait), usegmt=True)
    ),
    "retry-after-ms": _on_refusals(  # Azure
        "retry-after-ms", lambda told: str(math.ceil(told.wait * 1000))
    ),
    "retry-after-floored": _x_ratelimit(_epoch_ms, lambda told: str(math.floor(told.reset))),
    "retry-after-always": retry_after_always,
    "x-retry-in": _on_refusals("X-Retry-In", lambda told: f"{told.wait:.6f}s"),  # Go, Traefik
    "x-ratelimit-seconds": _x_ratelimit(_seconds),
    "x-ratelimit-epoch": _x_ratelimit(_epoch, _seconds),  # GitHub
    "x-ratelimit-epoch-ms": _x_ratelimit(_epoch_ms),  # Upstash's examples
    "draft-6": draft_6,
    "draft-7": draft_7,
    "draft-8": draft_8,
}
