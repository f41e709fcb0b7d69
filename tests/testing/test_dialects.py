"""Dialects: what the headers of an answer say about a key's standing."""

from collections.abc import Mapping

import pytest

from chatloom_async.testing.dialects import DIALECTS
from chatloom_async.testing.meters import Standing
from chatloom_async.testing.quota import Quota

Told = tuple[dict[str, str], dict[str, str]]
EMPTY: Mapping[str, str] = {}


def counts(
    reset: str, refused: Mapping[str, str] = EMPTY, always: Mapping[str, str] = EMPTY
) -> Told:
    """What three headers tell of an admitted request and of a refused one."""
    told = {"X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "7", "X-RateLimit-Reset": reset}
    return {**told, **always}, {**told, "X-RateLimit-Remaining": "0", **refused, **always}


DRAFT_6 = {"RateLimit-Policy": "100;w=60", "RateLimit-Limit": "100", "RateLimit-Reset": "6"}
DRAFT_7 = {"RateLimit-Policy": "100;w=60"}
DRAFT_8 = {"RateLimit-Policy": '"default";q=100;w=60'}
TOLD: dict[str, Told] = {
    "silent": ({}, {}),
    "retry-after": ({}, {"Retry-After": "4"}),
    "retry-after-date": ({}, {"Retry-After": "Thu, 01 Jan 1970 00:01:04 GMT"}),
    "retry-after-ms": ({}, {"retry-after-ms": "3250"}),
    "retry-after-floored": counts("65500", {"Retry-After": "5"}),
    "retry-after-always": counts("66", always={"Retry-After": "6"}),
    "x-retry-in": ({}, {"X-Retry-In": "3.250000s"}),
    "x-ratelimit-seconds": counts("6"),
    "x-ratelimit-epoch": counts("66", {"Retry-After": "6"}),
    "x-ratelimit-epoch-ms": counts("65500"),
    "draft-6": (DRAFT_6 | {"RateLimit-Remaining": "7"}, DRAFT_6 | {"RateLimit-Remaining": "0"}),
    "draft-7": (
        DRAFT_7 | {"RateLimit": "limit=100, remaining=7, reset=6"},
        DRAFT_7 | {"RateLimit": "limit=100, remaining=0, reset=6"},
    ),
    "draft-8": (
        DRAFT_8 | {"RateLimit": '"default";r=7;t=6'},
        DRAFT_8 | {"RateLimit": '"default";r=0;t=6'},
    ),
}


@pytest.mark.parametrize("name", DIALECTS)
def test_a_dialect_tells_the_standing(name: str) -> None:
    admitted = Standing(100, 60, remaining=7, reset=5.5, wall=60)
    refused = Standing(100, 60, remaining=0, reset=5.5, wait=3.25, wall=60)
    spoken = DIALECTS[name]
    assert (spoken(admitted), spoken(refused)) == TOLD[name]


@pytest.mark.parametrize(("wait", "header"), [(0.01, "1"), (1.0, "1"), (1.2, "2"), (59.5, "60")])
def test_retry_after_is_rounded_up(wait: float, header: str) -> None:
    told = Quota.fixed_window(1, 9).headers(Standing(1, 9, 0, wait, wait=wait))
    assert told == {"Retry-After": header}
