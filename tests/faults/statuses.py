"""Error statuses, and error bodies of every kind."""

import json

from chatloom_async import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
)
from tests.faults.case import DOCUMENT, OK, Case, Raises, Returns, answer, one, says
from tests.faults.server import Close, Flood, Reset

_CLASSES: dict[int, type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    429: RateLimitError,
}
_FINAL = (400, 401, 402, 403, 404, 405, 406, 409, 410, 413, 418, 422, 451, 499, 501, 505)
_RETRIED = (408, 500, 502, 503, 504, 507, 520, 529, 599)


def _class(status: int) -> type[APIStatusError]:
    return _CLASSES.get(status, InternalServerError if status >= 500 else APIStatusError)


def _told(status: int) -> Case:
    error = says({"error": "It went wrong."}, "X-Request-Id: r-1", status=status)
    having = {"status": status, "message": "It went wrong.", "request_id": "r-1"}
    sees = Raises(_class(status), rf"^{status} It went wrong\. \(GET /api", having)
    return one(f"status {status}", sees, error)


_HUGE = answer(500, b"", length=200_000_000)
_HUGE_ERROR = Raises(
    InternalServerError, having={"status": 500, "message": "Internal Server Error"}
)

STATUSES: tuple[Case, ...] = (
    *(_told(status) for status in (*_FINAL, *_RETRIED, 429)),
    one("500 with 200 MB", _HUGE_ERROR, _HUGE, Flood(b"<" * 100_000, 2_000), memory=4_000_000),
    one(
        "404 with a huge error text",
        Raises(NotFoundError, "^404 y+… \\(GET"),
        says({"error": "y" * 60_000}, status=404),
        memory=4_000_000,
    ),
    one(
        "404 cut off in its body",
        Raises(NotFoundError, having={"status": 404, "message": "Not Found"}),
        answer(404, b'{"error"', length=500),
        Close(),
    ),
    one(
        "401 reset in its body",
        Raises(AuthenticationError, having={"status": 401}),
        answer(401, b"<", length=500),
        Reset(),
    ),
    one(
        "404 with a broken gzip body",
        Raises(NotFoundError, having={"status": 404}),
        answer(404, b"not gzip at all", "Content-Encoding: gzip"),
    ),
    one("status 999", Raises(InternalServerError, "^999 "), answer(999, b"")),
    one("status 600", Raises(InternalServerError, "^600 "), answer(600, b"?")),
    one("status 101", Raises(APIStatusError, "^101 "), answer(101, b"", "Upgrade: websocket")),
    one("status 201 is fine", OK, answer(201)),
    one("status 206 is fine", OK, answer(206)),
    one("status 299 is fine", OK, answer(299, DOCUMENT)),
    one("status 200 for raw", Returns({"a": [1, None]}), says({"a": [1, None]}), call="raw"),
    one(
        "an error body is kept",
        Raises(NotFoundError, having={"body": json.dumps({"error": "x"}).encode()}),
        says({"error": "x"}, status=404),
    ),
)
