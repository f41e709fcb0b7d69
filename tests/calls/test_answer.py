"""Error answers: how long each asks to wait, what it tells of a limit, how much of it is kept."""

import json
import time

import pytest
from multidict import CIMultiDict

from chatloom_async import ApiKey, APIStatusError
from chatloom_async.calls.answer import parse_limit, parse_retry_after, status_error
from chatloom_async.ratelimit.values import ToldLimit
from chatloom_async.testing import FakeClock
from chatloom_async.transport import Response

KEY = "clf_S3cr3t+Key/0123456789=abcdefXYZ"
SHORT = "clf_test"
NOW = "Thu, 01 Jan 2026 00:00:00 GMT"  # where a FakeClock begins


def waiting(retry_after: str, date: str | None = None) -> float | None:
    dated = {} if date is None else {"date": date}
    return parse_retry_after({"retry-after": retry_after} | dated, FakeClock())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *((text, float(text)) for text in ("5", " 7 ", "1.5", ".25", "86400")),
        *((text, 1.0) for text in ("0", " 0.0 ")),  # at least a second
    ],
)
def test_retry_after_in_seconds_is_understood(text: str, seconds: float) -> None:
    assert waiting(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "Thu, 01 Jan 2026 00:00:30 GMT",
        "Thursday, 01-Jan-26 00:00:30 GMT",
        "Thu Jan  1 00:00:30 2026",
        "Thu, 01 Jan 2026 01:00:30 +0100",
        "1767225630",
        "1767225630000",
    ],
)
@pytest.mark.parametrize("date", [NOW, None, "garbage"])
def test_retry_after_as_a_date_is_understood(text: str, date: str | None) -> None:
    assert waiting(text, date) == 30.0


def test_a_date_without_zone_is_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        waits = waiting("Thu, 01 Jan 2026 00:00:30 -0000", NOW)
    time.tzset()
    assert waits == 30.0


NUMBERS = "-1 -0.5 +5 nan inf Infinity 1e3 0x10 1,5 . soon ٣ 2026-01-01T00:00:30Z 1767225570"
NOTHING = [
    *NUMBERS.split(),
    *("", "5 s", "5, 6", "9" * 400),
    "Thu, 01 Jan 2026 00:00:00 GMT",
    "Wed, 31 Dec 2025 23:59:59 GMT",
    "Thu, 32 Jan 2026 00:00:30 GMT",
    "Thu, 01 Jan 99999 00:00:30 GMT",
]


@pytest.mark.parametrize("text", NOTHING)
def test_a_meaningless_retry_after_is_ignored(text: str) -> None:
    assert waiting(text) is None


EPOCH = 1_767_225_600  # NOW


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        ("7.25", 7.25),
        ("7s", 7.0),
        (f"{EPOCH + 7}.5", 7.5),
        (f"{EPOCH * 1000 + 7250}", 7.25),
        (f"{EPOCH - 3}", 0.0),
    ],
)
@pytest.mark.parametrize("prefix", ["x-ratelimit", "ratelimit", "x-rate-limit"])
def test_a_limit_in_three_headers_is_understood(reset: str, seconds: float, prefix: str) -> None:
    headers = {f"{prefix}-limit": "100", f"{prefix}-remaining": "5", f"{prefix}-reset": reset}
    told = parse_limit(headers, FakeClock())
    assert told is not None
    assert (told.header, told.remaining, told.limit) == (f"{prefix}-remaining", 5, 100)
    assert told.reset == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("field", "policy", "told"),
    [
        ("limit=100, remaining=5, reset=7", "100;w=60", (5, 7, 100, 60)),
        ('"default";r=5;t=7', '"default";q=100;w=60', (5, 7, 100, 60)),
        ('"day";r=900;t=7000, "second";r=0;t=1', "", (0, 1, None, None)),
        ('"second";r=0;t=1, "day";r=0;t=7000', "", (0, 7000, None, None)),
    ],
)
def test_a_limit_in_one_header_is_understood(
    field: str, policy: str, told: tuple[float | None, ...]
) -> None:
    headers = {"ratelimit": field, "ratelimit-policy": policy}
    found = parse_limit(headers, FakeClock())
    assert found is not None
    assert (found.remaining, found.reset, found.limit, found.window) == told


def test_a_limits_window_is_read_beside_it() -> None:
    headers = {"x-ratelimit-limit": "100, 100;w=60", "x-ratelimit-reset": "7"}
    told = parse_limit(headers | {"x-ratelimit-remaining": "5"}, FakeClock())
    assert told == ToldLimit("x-ratelimit-remaining", 5, 7, 100, 60)


@pytest.mark.parametrize(
    "headers",
    [
        {"x-ratelimit-remaining": "5"},
        {"x-ratelimit-remaining": "many", "x-ratelimit-reset": "7"},
        {"x-ratelimit-remaining": "-1", "x-ratelimit-reset": "7"},
        {"x-ratelimit-remaining": "5", "x-ratelimit-reset": "99999999"},
        {"x-ratelimit-remaining": "5", "x-ratelimit-reset": "7", "x-ratelimit-limit": "4"},
        {"ratelimit": "nonsense"},
        {"ratelimit": "r=5"},
    ],
)
def test_a_limit_that_makes_no_sense_is_ignored(headers: dict[str, str]) -> None:
    assert parse_limit(headers, FakeClock()) is None


def reset(seconds: str, retry_after: str | None = None) -> dict[str, str]:
    told = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": seconds}
    return told if retry_after is None else told | {"retry-after": retry_after}


DATE = {"date": "Thu, 01 Jan 2026 01:00:00 GMT"}  # wrong by an hour
DURATIONS = {"1.5s": 1.5, "250ms": 0.25, "1m2.5s": 62.5, "1h0m1s": 3601.0, "900us": 9e-4}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "9", "retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "9", "retry-after-ms": "soon"}, 9.0),
        ({}, None),
        ({"retry-after": "Thu, 01 Jan 2026 01:00:12 GMT"} | DATE, 12.0),
        *(({"x-retry-in": text}, seconds) for text, seconds in DURATIONS.items()),
        ({"x-retry-in": "50ms", "retry-after": "0"}, 0.05),
        ({"x-retry-in": "50ms", "retry-after": "1"}, 0.05),  # which is rounded
        ({"x-retry-in": "50ms", "retry-after": "9"}, 9.0),
        ({"x-ratelimit-remaining": "1", "x-ratelimit-reset": "7"}, None),
        (reset(f"{EPOCH + 3607}") | DATE, 7.0),
        (reset("7", "0"), 7.0),
        (reset("30", "3"), 3.0),  # they speak of different things
        (reset(f"{EPOCH * 1000 + 7800}", "7"), 7.8),  # the same moment, rounded down
        (reset(f"{EPOCH * 1000 + 7200}", "8"), 7.2),  # and up
    ],
)
def test_whatever_asks_to_wait_is_understood(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert parse_retry_after(headers, FakeClock()) == pytest.approx(seconds, abs=1e-4)


def error(body: bytes, headers: dict[str, str] | None = None) -> APIStatusError:
    return status_error(Response(400, headers or {}, body), ApiKey(KEY), FakeClock())


@pytest.mark.parametrize("limit", range(180, 230, 3))
def test_no_excerpt_ends_in_a_keys_piece(limit: int) -> None:
    assert KEY[:12] not in error(b"x " * (limit // 2 - 4) + KEY.encode()).message


@pytest.mark.parametrize("room", range(1, len(SHORT)))
def test_no_message_is_cut_within_a_key(room: int) -> None:
    body = json.dumps({"error": f"{'x' * (2_000 - room)}{SHORT}"}).encode()
    message = status_error(Response(400, {}, body), ApiKey(SHORT), FakeClock()).message
    assert message == f"{'x' * (2_000 - room)}{'clf_[redacted]'[:room]}…"


def test_a_limit_in_two_lines_is_read_whole() -> None:
    lines = [("RateLimit", '"a";r=90;t=60'), ("RateLimit", '"b";r=0;t=30')]
    headers, clock = CIMultiDict([*lines, ("RateLimit-Policy", '"a";q=9'), lines[0]]), FakeClock()
    for given in (headers, CIMultiDict([*lines[::-1], lines[0]])):
        told = parse_limit(given, clock)
        refusal = status_error(Response(429, given, b""), ApiKey(KEY), clock)
        assert told == parse_limit(refusal.headers, clock)
        assert (refusal.retry_after, told and told.reset) == (30, 30)


def test_of_endless_headers_the_first_are_kept() -> None:
    headers = {"Retry-After": "7"} | {f"X-{number}": "v" * 8_000 for number in range(100)}
    failure = error(b"", headers)
    assert failure.retry_after == 7
    assert 50_000 < sum(map(len, failure.headers.values())) < 64 * 1024
