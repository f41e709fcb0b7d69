"""Retry-After in every form (RFC 9110 §10.2.3), and what is not one."""

from tests.faults.case import OK, TWICE, Case, answer, says

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


RETRY_AFTER: tuple[Case, ...] = (
    _waits("in seconds", 2, "Retry-After: 2"),
    _waits("with spaces around", 2, "Retry-After:   2  "),
    _waits("in milliseconds beside seconds", 0.25, "Retry-After: 30", "Retry-After-MS: 250"),
    _waits("as a date", 3, _DATE, "Retry-After: Thu, 15 Jan 2026 09:00:03 GMT"),
    *(_ignored(value) for value in ("", "9" * 400, "\udcff")),
    Case(
        "429 with Retry-After is waited for",
        ((says({"error": "later"}, "Retry-After: 5", status=429),), (answer(),)),
        OK,
        requests=2,
        retry=TWICE,
        elapsed=(5.0, 5.7),
    ),
)
