"""Dialects: what the headers of an answer say about a key's standing."""

import pytest

from chatloom_async.testing.dialects import DIALECTS
from chatloom_async.testing.meters import Standing
from chatloom_async.testing.quota import Quota

COUNTS = {"X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "7"}
REFUSED_COUNTS = {**COUNTS, "X-RateLimit-Remaining": "0"}
TOLD: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "silent": ({}, {}),
    "retry-after": ({}, {"Retry-After": "4"}),
    "retry-after-date": ({}, {"Retry-After": "Thu, 01 Jan 1970 00:01:04 GMT"}),
    "retry-after-ms": ({}, {"retry-after-ms": "3250"}),
    "retry-after-floored": (
        {**COUNTS, "X-RateLimit-Reset": "65500"},
        {**REFUSED_COUNTS, "X-RateLimit-Reset": "65500", "Retry-After": "5"},
    ),
    "retry-after-always": (
        {**COUNTS, "X-RateLimit-Reset": "66", "Retry-After": "6"},
        {**REFUSED_COUNTS, "X-RateLimit-Reset": "66", "Retry-After": "6"},
    ),
    "x-retry-in": ({}, {"X-Retry-In": "3.250000s"}),
    "x-ratelimit-seconds": (
        {**COUNTS, "X-RateLimit-Reset": "6"},
        {**REFUSED_COUNTS, "X-RateLimit-Reset": "6"},
    ),
    "x-ratelimit-epoch": (
        {**COUNTS, "X-RateLimit-Reset": "66"},
        {**REFUSED_COUNTS, "X-RateLimit-Reset": "66", "Retry-After": "6"},
    ),
    "x-ratelimit-epoch-ms": (
        {**COUNTS, "X-RateLimit-Reset": "65500"},
        {**REFUSED_COUNTS, "X-RateLimit-Reset": "65500"},
    ),
    "draft-6": (
        {
            "RateLimit-Policy": "100;w=60",
            "RateLimit-Limit": "100",
            "RateLimit-Remaining": "7",
            "RateLimit-Reset": "6",
        },
        {
            "RateLimit-Policy": "100;w=60",
            "RateLimit-Limit": "100",
            "RateLimit-Remaining": "0",
            "RateLimit-Reset": "6",
        },
    ),
    "draft-7": (
        {"RateLimit-Policy": "100;w=60", "RateLimit": "limit=100, remaining=7, reset=6"},
        {"RateLimit-Policy": "100;w=60", "RateLimit": "limit=100, remaining=0, reset=6"},
    ),
    "draft-8": (
        {"RateLimit-Policy": '"default";q=100;w=60', "RateLimit": '"default";r=7;t=6'},
        {"RateLimit-Policy": '"default";q=100;w=60', "RateLimit": '"default";r=0;t=6'},
    ),
}


@pytest.mark.parametrize("name", DIALECTS)
def test_a_dialect_tells_the_standing(name: str) -> None:
    admitted = Standing(100, 60, remaining=7, reset=5.5, wall=60)
    refused = Standing(100, 60, remaining=0, reset=5.5, wait=3.25, wall=60)
    spoken = DIALECTS[name]
    assert (spoken(admitted), spoken(refused)) == TOLD[name]


@pytest.mark.parametrize(
    ("wait", "precision", "header"),
    [
        (0.01, 1.0, "1"),
        (1.0, 1.0, "1"),
        (1.2, 1.0, "2"),
        (59.5, 1.0, "60"),
        (0.21, 0.05, "0.25"),
        (0.3, 0.1, "0.3"),
    ],
)
def test_retry_after_is_rounded_up(wait: float, precision: float, header: str) -> None:
    quota = Quota.fixed_window(1, 9, precision=precision)
    assert quota.headers(Standing(1, 9, 0, wait, wait=wait)) == {"Retry-After": header}
