"""Retry-After in every form (RFC 9110 §10.2.3), and what is not one."""

from __future__ import annotations

from attrs import evolve

from chatloom_async import RateLimitError, RetryPolicy
from tests.faults.case import OK, TWICE, Case, Raises, answer, says

_DATE = "Date: Thu, 15 Jan 2026 09:00:00 GMT"


def _after(name: str, least: float, most: float, *headers: str) -> Case:
    refused = says({"error": "later"}, *headers, status=503)
    return Case(
        f"Retry-After {name}",
        ((refused,), (answer(),)),
        OK,
        requests=2,
        retry=TWICE,
        elapsed=(least, most),
    )


def _waits(name: str, seconds: float, *headers: str) -> Case:
    return _after(name, seconds, 1.1 * seconds + 0.2, *headers)


def _ignored(value: str) -> Case:
    return _after(f"{value!r} is ignored", 0.0, 0.1, f"Retry-After: {value}")


_REFUSED = says({"error": "later"}, "Retry-After: 3600", status=429)

RETRY_AFTER: tuple[Case, ...] = (
    _waits("in seconds", 2, "Retry-After: 2"),
    _waits("in parts of a second", 1.5, "Retry-After: 1.5"),
    _waits("with spaces around", 2, "Retry-After:   2  "),
    _waits("with a leading point", 0.5, "Retry-After: .5"),
    _waits("in milliseconds", 0.25, "retry-after-ms: 250"),
    _waits("in milliseconds beside seconds", 0.25, "Retry-After: 30", "Retry-After-MS: 250"),
    _waits("as a date", 3, _DATE, "Retry-After: Thu, 15 Jan 2026 09:00:03 GMT"),
    _waits("as a date of RFC 850", 3, _DATE, "Retry-After: Thursday, 15-Jan-26 09:00:03 GMT"),
    _waits("as a date of asctime", 3, _DATE, "Retry-After: Thu Jan 15 09:00:03 2026"),
    _after(
        "as a date gone by is ignored", 0, 0.1, _DATE, "Retry-After: Thu, 15 Jan 2026 08:00:00 GMT"
    ),
    *(
        _ignored(value)
        for value in (
            *("", "-1", "+3", "nan", "inf", "-inf", "1e9", "0x10", "1_000", "2, 3"),
            *("soon", "9" * 400, "Thu, 99 Jan 2026 09:00:00 GMT", "1 second", "\udcff", "٣"),
        )
    ),
    Case(
        "Retry-After beyond the most is raised at once",
        ((_REFUSED,),),
        Raises(RateLimitError, having={"status": 429, "retry_after": 3600.0}),
        retry=TWICE,
    ),
    Case(
        "Retry-After beyond the deadline is raised at once",
        ((says({"error": "later"}, "Retry-After: 5", status=429),),),
        Raises(RateLimitError, having={"retry_after": 5.0}),
        retry=RetryPolicy(deadline=3.0),
    ),
    Case(
        "429 with Retry-After is waited for",
        ((says({"error": "later"}, "Retry-After: 5", status=429),), (answer(),)),
        OK,
        requests=2,
        retry=TWICE,
        elapsed=(5.0, 5.7),
    ),
    evolve(
        _waits("on a 429 without attempts left", 1, "Retry-After: 1"),
        scripts=((says({"error": "later"}, "Retry-After: 1", status=429),), (answer(),)),
        retry=RetryPolicy(attempts=1),
        requests=1,
        elapsed=(0.0, 0.1),
        sees=Raises(RateLimitError, having={"retry_after": 1.0}),
    ),
    Case(
        "429 without Retry-After is waited out",
        ((says({"error": "later"}, status=429),), (answer(),)),
        OK,
        requests=2,
        retry=TWICE,
        elapsed=(0.25, 0.5),
    ),
)
