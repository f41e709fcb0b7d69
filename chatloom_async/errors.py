"""The one tree of errors; nothing of aiohttp, tenacity or cattrs escapes it.

::

    ChatloomError
    ├── ConfigurationError (ValueError)       bad key, URL, agent id, option: before any I/O
    ├── ClientClosedError (RuntimeError)      used after, or while, it was closed
    ├── APIConnectionError                    no complete answer arrived
    │   └── APITimeoutError (TimeoutError)    one attempt ran out of time
    ├── DeadlineExceededError (TimeoutError)  the whole call ran out of time
    ├── ResponseDecodeError                   a 2xx that is not what is documented
    └── APIStatusError                        an answer with an error status
        ├── RedirectError           3xx
        ├── BadRequestError         400
        ├── AuthenticationError     401
        ├── PermissionDeniedError   403
        ├── NotFoundError           404
        ├── RateLimitError          429
        └── InternalServerError     500 and above

Not here: which of them are retried (``calls.retry``), how an answer becomes one
(``calls.answer``).
"""

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Literal, Self, TypeGuard, cast

from attrs import frozen

from chatloom_async.models import shown

ConnectionReason = Literal[
    "connect",  # refused, unreachable, cut while connecting, temporary DNS failure
    "disconnected",  # the connection ended before the answer began
    "stale",  # the same, on a connection kept alive from an earlier request
    "cut off",  # the connection ended inside the body
    "protocol",  # what arrived is not HTTP
    "too large",  # the body is larger than the client accepts
    "timeout",
    "queued",  # the deadline came while the request waited for a free connection: never sent
    "local",  # this machine can open no connection: no file descriptor or port is left
    "encoding",  # the answer has a Content-Encoding that cannot be undone
    "dns",  # the host name does not exist
    "tls",  # the server's certificate cannot be trusted
    "proxy",  # the proxy does not exist, or refused: it wants a password, say
]


@frozen
class Attempt:
    """One request of a call, as its error remembers it.

    ``outcome`` is the status (``"503"``) or the reason (``"timeout"``, ``"malformed"``),
    ``elapsed`` how many seconds the request took, ``wait`` how many passed before the next one.
    """

    outcome: str
    elapsed: float
    wait: float = 0.0

    __repr__ = shown


class ChatloomError(Exception):
    """Base of everything this package raises on purpose.

    Attributes:
        message: what happened, without the request it happened to.
        method: the HTTP method, or ``""`` when no request was made.
        path: path and query below the base URL, or ``""``.
        attempts: the requests that were made for the call, oldest first.
        retry_after: after how many seconds another try is worth it, if anybody said.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        """Make the error; the client adds method, path and attempts when it leaves a call."""
        super().__init__(message)
        self.message = message
        self.method = ""
        self.path = ""
        self.attempts: tuple[Attempt, ...] = ()
        self.retry_after = retry_after

    @property
    def http_status(self) -> int:
        """The status with which a backend answers its own visitor.

        502: the API cannot be reached, makes no sense or refuses the workspace's key; 503: try
        again later; 504: time ran out; 404: no such thing; 500: our own configuration.
        """
        match self:
            case ConfigurationError():
                return 404 if self.path_value else 500
            case ClientClosedError():  # this process ends, another one may answer
                return 503
            case APIConnectionError(reason="timeout" | "queued"):
                return 504
            case DeadlineExceededError(retry_after=None, last_failure=last):
                limited = last is not None and last.http_status == HTTPStatus.SERVICE_UNAVAILABLE
                return 503 if limited else 504
            case DeadlineExceededError():  # ``RateLimit`` held it up until then
                return 503
            case APIStatusError(status=403) if self.retry_after is not None:
                return 503  # a rate limit (GitHub's "secondary" one)
            case APIStatusError():  # a refused key is a 502 too
                return {404: 404, 408: 504, 429: 503, 503: 503, 504: 504}.get(self.status, 502)
        return 502

    def to_problem(self) -> dict[str, Any]:
        """Return what to tell a visitor, as a problem document (RFC 9457).

        Serve it as ``application/problem+json`` with the status ``http_status``, and its
        ``retry_after``, which every 503 has, as ``Retry-After`` too. No request or answer is in it.
        """
        status = HTTPStatus(self.http_status)
        problem: dict[str, Any] = {"type": "about:blank", "title": status.phrase, "status": +status}
        detail = _DETAILS.get(status, status.phrase)  # an application's own error
        problem["detail"] = _REFUSED if isinstance(self, AuthenticationError) else detail
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            last = getattr(self, "last_failure", None)
            asked = self.retry_after or (last and last.retry_after) or _SOON
            problem["retry_after"] = max(1, math.ceil(asked))
        return problem

    def __str__(self) -> str:
        return f"{self.message} ({self.method} {self.path})" if self.path else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep every field through pickle and copy, whatever the constructor takes."""
        return _restore, (type(self), self.args, self.__dict__)

    def __copy__(self) -> Self:
        """Copy as above also where another library has taken over the pickling of errors."""
        return cast("Self", _restore(type(self), self.args, self.__dict__))


def _restore(
    kind: type[ChatloomError], args: tuple[object, ...], state: dict[str, object]
) -> ChatloomError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    notes = state.get("__notes__")
    if isinstance(notes, list):
        error.__notes__ = [*notes]  # shared, a note on the copy would show on the original too
    return error


class ConfigurationError(ChatloomError, ValueError):
    """A key, URL, agent id or option that cannot work; raised before any request.

    Attributes:
        path_value: the name of what cannot be in a path, ``"agent_id"``; "" for anything else. A
            visitor may have given that, so it is a 404 for them, and anything else a 500.
    """

    def __init__(self, message: str, path_value: str = "") -> None:
        super().__init__(message)
        self.path_value = path_value


class ClientClosedError(ChatloomError, RuntimeError):
    """The client or its pool was closed before the call could finish."""


class APIConnectionError(ChatloomError):
    """No complete answer arrived.

    Attributes:
        reason: what ended the exchange, one of ``ConnectionReason``.
    """

    def __init__(self, message: str, reason: ConnectionReason) -> None:
        super().__init__(message)
        self.reason: ConnectionReason = reason


class APITimeoutError(APIConnectionError, TimeoutError):
    """One attempt took longer than ``timeout``, or connecting longer than 5 s."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "timeout")


class DeadlineExceededError(ChatloomError, TimeoutError):
    """The whole call took longer than ``RetryPolicy.deadline``, or certainly would have.

    Attributes:
        last_failure: the last real failure of the call, or of its closed gate, if there was any.
        retry_after: seconds until the client's own ``RateLimit`` has room, if that was the reason.
    """

    def __init__(
        self,
        message: str,
        last_failure: ChatloomError | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, retry_after)
        self.last_failure = last_failure


class ResponseDecodeError(ChatloomError):
    """A successful answer that is not what the API reference describes.

    The message names the place: ``$.agents[0].primaryColor: expected str, got NoneType``.
    """


class APIStatusError(ChatloomError):
    """An answer with an error status (API reference, Errors).

    Attributes:
        status: the HTTP status.
        message: the ``error`` field of the answer; its text or the status' name if it has none.
        body: the answer's body, at most 64 KiB of it.
        headers: the answer's headers, names in lower case.
        retry_after: seconds the server asked to wait, or None.
    """

    def __init__(
        self,
        status: int,
        message: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, retry_after)
        self.status = status
        self.body = body
        self.headers: Mapping[str, str] = dict(headers or {})

    def __str__(self) -> str:
        return f"{self.status} {super().__str__()}"

    @property
    def request_id(self) -> str | None:
        """The answer's request id if it has one; none is documented."""
        return self.headers.get("x-request-id") or self.headers.get("request-id")


class RedirectError(APIStatusError):
    """3xx: redirects are never followed, for the key would travel with them."""


class BadRequestError(APIStatusError):
    """400: the parameters were malformed."""


class AuthenticationError(APIStatusError):
    """401: the key is missing, invalid, expired or malformed."""


class PermissionDeniedError(APIStatusError):
    """403: not documented; the key may not do this."""


class NotFoundError(APIStatusError):
    """404: the agent does not exist or belongs to another workspace."""


class RateLimitError(APIStatusError):
    """429: a rate limit was hit, and the policy's bounds or the deadline ended the waiting."""


class InternalServerError(APIStatusError):
    """500 and above: something went wrong on the server's side."""


_SOON = 5.0  # seconds, where nobody said when
_REFUSED = "Chatloom refuses the API key of this workspace."
_DETAILS: Mapping[int, str] = {
    404: "There is nothing by that name in this workspace.",
    500: "The server is not set up well enough to ask Chatloom.",
    502: "Chatloom gave no usable answer.",
    503: "Chatloom cannot be asked right now; try again in a while.",
    504: "Chatloom did not answer in time.",
}

_BY_STATUS: Mapping[int, type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    429: RateLimitError,
}


def status_error_class(status: int) -> type[APIStatusError]:
    """Return the class for an error status."""
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return InternalServerError
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return RedirectError
    return _BY_STATUS.get(status, APIStatusError)


_LONGEST = 1e9  # seconds, some thirty years: no timer takes much more


def require_whole(name: str, value: object) -> None:
    """Accept a whole number, 1 or more; raise ConfigurationError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"{name} is a whole number, 1 or more")


def require_seconds(name: str, value: object) -> None:
    """Accept a positive, finite number of seconds, as ``require_whole`` does."""
    if not _is_number(value) or not 0 < value <= _LONGEST:
        raise ConfigurationError(f"{name} is a positive number of seconds, not {value!r}")


def require_number(name: str, value: object, *, at_least: float) -> None:
    """Accept a finite number that is large enough, as ``require_whole`` does."""
    if not _is_number(value) or not at_least <= value < math.inf:
        raise ConfigurationError(f"{name} is a number, {at_least} or more, not {value!r}")


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
