"""What a failed attempt means: whether another may fare better, what it costs, and what follows.

Not here: how an answer becomes an error (``calls.answer``), and when the next attempt leaves
(``calls.retry``).
"""

from __future__ import annotations

from http import HTTPStatus

from chatloom_async.calls.attempts import CallRecord, NextStep
from chatloom_async.calls.retry_after import parse_limit
from chatloom_async.errors import APIConnectionError, APIStatusError, ChatloomError
from chatloom_async.ratelimit.limiter import RateLimiter
from chatloom_async.ratelimit.values import Cost
from chatloom_async.transport import Clock, Request

_HEALING = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
_REFUSING = (
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.FORBIDDEN,
)
# The server does not know how, and will not in a second either.
_LASTING = (HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
_LASTING_REASONS = ("dns", "encoding", "proxy", "tls", "too large")
_NOTHING_SENT = ("connect", "local")
_NOT_THE_SERVER = ("stale", "local")  # reasons that say nothing about the server


def judge(call: CallRecord, error: ChatloomError, longest: float, clock: Clock) -> NextStep:
    """Return what follows a failed attempt, once the limiter has heard of it.

    ``longest`` is the call's ``max_retry_after``: a gate that this refusal closes waits no longer
    before its probe, whatever the server asks.
    """
    asked, cost = asked_to_wait(error), Cost.COUNTED
    status = error.status if isinstance(error, APIStatusError) else None
    call.asked = asked or 0.0
    call.refused = status == HTTPStatus.TOO_MANY_REQUESTS or (
        status == HTTPStatus.FORBIDDEN and asked is not None
    )
    repeatable = may_repeat(call.request, error)
    if call.limiter is not None:
        cost = _report(call, call.limiter, error, longest, clock)
    if cost is Cost.FINAL or not repeatable:
        return NextStep.FINAL
    if cost is Cost.FREE:
        return NextStep.AT_THE_GATE
    if getattr(error, "reason", None) == "stale" and not call.reconnected:
        call.reconnected = True
        return NextStep.AT_ONCE
    return NextStep.BACK_OFF


def _report(
    call: CallRecord, limiter: RateLimiter, error: ChatloomError, longest: float, clock: Clock
) -> Cost:
    """Tell the limiter what became of the attempt; return what that costs the call.

    A refusal closes the gate, and a 503 may be one. Failures that another attempt may heal add up
    to an outage. Any other answer shows that the server works.
    """
    resource, departure, asked = call.request.resource, call.departure, asked_to_wait(error)
    if isinstance(error, APIStatusError):
        limiter.heard(departure, parse_limit(error.headers, clock))
        if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
            call.refused = limiter.is_refusal(departure, resource, told=asked is not None)
    elif not isinstance(error, APIConnectionError) or error.reason in _NOT_THE_SERVER:
        limiter.abandoned(departure)
        return Cost.COUNTED
    if call.refused:
        return limiter.refused(departure, error, asked, longest)
    if heals(error):
        return limiter.failed(departure, resource, error, asked)
    limiter.admitted(departure, resource)
    return Cost.COUNTED


def may_repeat(request: Request, error: ChatloomError) -> bool:
    """Tell whether another attempt may fare better, and does no harm.

    A request that is not repeatable (a POST) is sent again only when nothing of it can have been
    carried out: the connection was refused, or the server said that it refused the request.
    """
    if not heals(error):
        return False
    if request.repeatable:
        return True
    if isinstance(error, APIStatusError):
        too_many = error.status == HTTPStatus.TOO_MANY_REQUESTS
        return too_many or asked_to_wait(error) is not None
    return isinstance(error, APIConnectionError) and error.reason in _NOTHING_SENT


def heals(error: ChatloomError) -> bool:
    """Tell whether another attempt may fare better."""
    if isinstance(error, APIStatusError):
        status = error.status
        failing = status >= HTTPStatus.INTERNAL_SERVER_ERROR and status not in _LASTING
        return failing or status in _HEALING or asked_to_wait(error) is not None
    return isinstance(error, APIConnectionError) and error.reason not in _LASTING_REASONS


def asked_to_wait(error: ChatloomError) -> float | None:
    """Return the Retry-After of a 429, 403 or 503, in seconds; None on any other status.

    A 403 with a Retry-After is one (GitHub's "secondary rate limit"). On other statuses the header
    means nothing: Flask-Limiter puts one on each answer, on a 500 too.
    """
    if isinstance(error, APIStatusError) and error.status in _REFUSING:
        return error.retry_after
    return None
