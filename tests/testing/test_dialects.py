"""Dialects: what the client reads in the headers about a key's standing."""

import pytest
from multidict import CIMultiDict

from chatloom_async.calls.answer import parse_limit, parse_retry_after
from chatloom_async.testing import FakeClock
from chatloom_async.testing.dialects import DIALECTS
from chatloom_async.testing.meters import Standing

CLOCK = FakeClock(epoch=1_800_000_000.0)
ADMITTED = Standing(100, 60, remaining=7, reset=5.5, wall=CLOCK.wall())
REFUSED = Standing(100, 60, remaining=0, reset=5.5, wait=3.25, wall=CLOCK.wall())
# Seconds to wait after a refusal, and to the reset; requests in a window of how many seconds.
READ: dict[str, tuple[float | None, ...]] = {
    "silent": (None, None),
    "retry-after": (4.0, None),
    "retry-after-date": (4.0, None),
    "retry-after-ms": (3.25, None),
    "retry-after-floored": (5.5, 5.5, 100.0, None),
    "retry-after-always": (6.0, 6.0, 100.0, None),
    "x-retry-in": (3.25, None),
    "x-ratelimit-seconds": (6.0, 6.0, 100.0, None),
    "x-ratelimit-epoch": (6.0, 6.0, 100.0, None),
    "x-ratelimit-epoch-ms": (5.5, 5.5, 100.0, None),
    **dict.fromkeys(("draft-6", "draft-7", "draft-8"), (6.0, 6.0, 100.0, 60.0)),
}


@pytest.mark.parametrize("name", DIALECTS)
def test_a_dialect_tells_the_standing(name: str) -> None:
    admitted, refused = (CIMultiDict(DIALECTS[name](each)) for each in (ADMITTED, REFUSED))
    before, told = parse_limit(admitted, CLOCK), parse_limit(refused, CLOCK)
    limit = (told.reset, told.limit, told.window) if told else (None,)
    assert (parse_retry_after(refused, CLOCK), *limit) == READ[name]
    assert [each.remaining for each in (before, told) if each] == ([7, 0] if told else [])
    assert ("Retry-After" in admitted) is (name == "retry-after-always")


@pytest.mark.parametrize(("wait", "header"), [(0.01, "1"), (1.0, "1"), (1.2, "2"), (59.5, "60")])
def test_retry_after_is_rounded_up_but_where_it_is_not(wait: float, header: str) -> None:
    refused = Standing(1, 9, 0, wait, wait=wait)
    assert DIALECTS["retry-after"](refused) == {"Retry-After": header}
    assert DIALECTS["retry-after-floored"](REFUSED)["Retry-After"] == "5"
