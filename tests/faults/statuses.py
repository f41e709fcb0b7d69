"""Error statuses, and error bodies of every kind."""

from chatloom_async import (
    APIStatusError,
    AuthenticationError,
    InternalServerError,
    NotFoundError,
    RateLimitError,
)
from tests.faults.case import DOCUMENT, OK, TWICE, Case, Raises, answer, one, says
from tests.faults.server import Close, Flood, Reset, Step

_CLASSES: dict[int, type[APIStatusError]] = {
    404: NotFoundError,
    409: APIStatusError,
    429: RateLimitError,
    503: InternalServerError,
}


def _told(status: int) -> Case:
    error = says({"error": "It went wrong."}, "X-Request-Id: r-1", status=status)
    having = {"status": status, "message": "It went wrong.", "request_id": "r-1"}
    sees = Raises(_CLASSES[status], rf"^{status} It went wrong\. \(GET /api", having)
    return one(f"status {status}", sees, error)


def _failed(name: str, kind: type[APIStatusError], *steps: Step, **having: object) -> Case:
    return one(name, Raises(kind, having=having), *steps, memory=4_000_000)


def _waits(name: str, seconds: float, *headers: str, status: int = 503) -> Case:
    refused = says({"error": "later"}, *headers, status=status)
    return Case(
        f"Retry-After {name}",
        ((refused,), (answer(),)),
        OK,
        requests=2,
        retry=TWICE,
        after=seconds,
    )


_HUGE = answer(500, b"", length=200_000_000)
_DATE = "Date: Thu, 15 Jan 2026 09:00:00 GMT"

STATUSES: tuple[Case, ...] = (
    *(_told(status) for status in _CLASSES),
    _failed("500 with 200 MB", InternalServerError, _HUGE, Flood(b"<" * 100_000, 2_000)),
    one(
        "404 with a huge error text",
        Raises(NotFoundError, "^404 y+… \\(GET"),
        says({"error": "y" * 60_000}, status=404),
        memory=4_000_000,
    ),
    _failed(
        "404 cut off", NotFoundError, answer(404, b"{", length=500), Close(), message="Not Found"
    ),
    _failed("401 reset in its body", AuthenticationError, answer(401, b"<", length=500), Reset()),
    _failed(
        "404 with a broken gzip body", NotFoundError, answer(404, b"no", "Content-Encoding: gzip")
    ),
    _failed("a kept body", NotFoundError, answer(404, b'{"error": "x"}'), body=b'{"error": "x"}'),
    one("status 999", Raises(InternalServerError, "^999 "), answer(999, b"")),
    one("status 600", Raises(InternalServerError, "^600 "), answer(600, b"?")),
    one("status 101", Raises(APIStatusError, "^101 "), answer(101, b"", "Upgrade: websocket")),
    one("status 201 is fine", OK, answer(201)),
    one("status 206 is fine", OK, answer(206)),
    one("status 299 is fine", OK, answer(299, DOCUMENT)),
    _waits("in seconds", 2, "Retry-After:   2  "),
    _waits("in milliseconds beside seconds", 0.25, "Retry-After: 30", "Retry-After-MS: 250"),
    _waits("as a date", 3, _DATE, "Retry-After: Thu, 15 Jan 2026 09:00:03 GMT"),
    *(_waits(f"{value!r}", 0, f"Retry-After: {value}") for value in ("", "9" * 400, "\udcff")),
    _waits("of a 429", 5, "Retry-After: 5", status=429),
)
