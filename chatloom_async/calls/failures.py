"""What a failed attempt means: whether another may fare better, when, and what it costs.

There is no one way for headers to say how long to wait, or what they know of the server's rate
limit. Understood are Retry-After (RFC 9110 §10.2.3), ``retry-after-ms`` and Traefik's
``X-Retry-In``; ``X-RateLimit-*`` and ``X-Rate-Limit-*`` as GitHub, Envoy, Upstash and Discord send
them; ``RateLimit-*`` of draft-ietf-httpapi-ratelimit-headers 3 to 6, and ``RateLimit`` of drafts 7
and 8. A value that makes no sense is ignored, as if it had not been sent.

Not here: how an answer becomes an error (``calls.answer``), when the next attempt leaves
(``calls.retry``), and how far a limit that was told is believed (``ratelimit.told``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from chatloom_async.calls.attempts import CallRecord, FailedAttempt, NextStep
from chatloom_async.errors import APIConnectionError, APIStatusError, ChatloomError
from chatloom_async.ratelimit.values import Cost, ToldLimit
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

_NUMBER = re.compile(r"\d{1,15}(\.\d*)?|\.\d+", re.ASCII)
_DURATION = r"(?a:\d{1,9}(\.\d{1,9})?(h|ms|m|s|us|µs|ns))+"  # Go's
_PART = r"(?a:(\d+(?:\.\d+)?)(h|ms|m|s|us|µs|ns))"
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PARAMETER = re.compile(r"\b(limit|remaining|reset|q|r|t|w)\s*=\s*(\d{1,12}(?:\.\d{1,6})?)")

_MILLISECOND = 0.001
_AT_ONCE = 1.0  # seconds: what a refusal with "Retry-After: 0" is taken to ask for
_ROUNDING = 1.0  # seconds by which a Retry-After in whole seconds may differ from a reset
_EPOCH = 1e9  # a reset above this many seconds is a moment since 1970 …
_EPOCH_MS = 1e11  # … and above this one in milliseconds
_SKEW = 2.0  # seconds: a Date further from our clock shows that one of the two is wrong
_LONGEST_RESET = 31 * 86_400.0  # seconds; quotas are counted by the month at most

_PREFIXES = ("x-ratelimit-", "ratelimit-", "x-rate-limit-")
# Whoever tells of a limit sends one of these.
TELLING = ("ratelimit", *(prefix + "remaining" for prefix in _PREFIXES))


def judge(call: CallRecord, error: ChatloomError, longest: float, clock: Clock) -> NextStep:
    """Return what follows a failed attempt, once the limiter has heard of it.

    ``longest`` is the call's ``max_retry_after``: a gate that this refusal closes waits no longer
    before its probe, whatever the server asks.
    """
    asked = asked_to_wait(error)
    status = error.status if isinstance(error, APIStatusError) else None
    call.asked = asked or 0.0
    call.refused = status == HTTPStatus.TOO_MANY_REQUESTS or (
        status == HTTPStatus.FORBIDDEN and asked is not None
    )
    cost = _report(call, error, longest, clock)
    if cost is Cost.FINAL or not may_repeat(call.request, error):
        return NextStep.FINAL
    if cost is Cost.FREE:
        return NextStep.AT_THE_GATE
    stale = getattr(error, "reason", None) == "stale"
    if stale and not any(failed.outcome() == "stale" for failed in call.failures):
        return NextStep.AT_ONCE
    return NextStep.BACK_OFF


def note(
    call: CallRecord, error: ChatloomError, next_step: NextStep, elapsed: float
) -> FailedAttempt:
    """Take note of a failed attempt."""
    failed = FailedAttempt(error, next_step, elapsed)
    call.failures.append(failed)
    if call.notify is not None:
        call.attempt_ended(failed.outcome(), call.started + elapsed)
    error.method, error.path = call.request.method, call.request.target
    return failed


def _report(call: CallRecord, error: ChatloomError, longest: float, clock: Clock) -> Cost:
    """Tell the limiter what became of the attempt; return what that costs the call.

    A refusal closes the gate, and a 503 may be one. Failures that another attempt may heal add up
    to an outage. Any other answer shows that the server works.
    """
    limiter, departure, resource = call.limiter, call.departure, call.request.resource
    if limiter is None:
        return Cost.COUNTED
    asked = asked_to_wait(error)
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


def parse_retry_after(headers: Mapping[str, str], clock: Clock) -> float | None:
    """Return how many seconds a refusal asks to wait, or None.

    The first usable of ``retry-after-ms``, Retry-After (seconds, whole or not, or an HTTP-date,
    held against the answer's own Date) and ``X-Retry-In``; else the reset of the limit it tells.
    A Retry-After rounded to whole seconds yields to an ``X-Retry-In`` or a reset that says the same
    more exactly. Zero means a second.
    """
    asked = _asked(headers, clock)
    told = parse_limit(headers, clock)
    reset = told.reset if told is not None and told.remaining < 1 else None
    if asked and reset and abs(reset - asked) <= _ROUNDING:
        return reset if reset % 1 else max(asked, reset)
    return asked or reset or (_AT_ONCE if asked == 0 else None)


def parse_limit(headers: Mapping[str, str], clock: Clock) -> ToldLimit | None:
    """Return what an answer tells of its limit; None if it tells nothing, or nonsense."""
    for name in TELLING:
        if name in headers:
            break
    else:
        return None
    if name == "ratelimit":
        told = _tightest(headers[name])
        remaining, reset = told.get("remaining", told.get("r")), told.get("reset", told.get("t"))
        limit = told.get("limit", told.get("q"))
    else:
        prefix = name.removesuffix("remaining")
        remaining = _number(headers[name])
        reset = _seconds(headers.get(prefix + "reset-after", headers.get(prefix + "reset", "")))
        limit = _number(headers.get(prefix + "limit", ""))
    policy = _tightest(headers.get("ratelimit-policy", headers.get("x-ratelimit-limit", "")))
    limit = policy.get("q", policy.get("limit")) if limit is None else limit
    if remaining is None or reset is None:
        return None
    reset = _from_now(reset, headers, clock)
    if reset > _LONGEST_RESET or (limit is not None and remaining > limit):
        return None
    return ToldLimit(name, remaining, max(0.0, reset), limit or None, policy.get("w") or None)


def _asked(headers: Mapping[str, str], clock: Clock) -> float | None:
    """Return what the headers that exist for nothing else ask; 0.0 if for no wait at all."""
    milliseconds = headers.get("retry-after-ms", "").strip()
    if _NUMBER.fullmatch(milliseconds) and float(milliseconds):
        return float(milliseconds) * _MILLISECOND
    text = headers.get("retry-after", "").strip()
    if _NUMBER.fullmatch(text):
        wait = _from_now(float(text), headers, clock)
        if wait < 0:  # a moment that has passed
            return None
        exact = _seconds(headers.get("x-retry-in", ""))
        return exact if exact and (not wait or abs(wait - exact) <= _ROUNDING) else wait
    if (until := _http_date(text)) is not None:
        now = _http_date(headers.get("date", ""))
        wait = until - (clock.wall() if now is None else now)
        return wait if wait > 0 else None
    return _seconds(headers.get("x-retry-in", "")) or None


def _tightest(field: str) -> dict[str, float]:
    """Return the parameters of the policy with the fewest requests left, and the latest reset."""
    items = field.split(",") if ";" in field else (field,)
    found = ({name: float(value) for name, value in _PARAMETER.findall(each)} for each in items)
    return min(
        filter(None, found),
        key=lambda each: (each.get("r", math.inf), -each.get("t", 0)),
        default={},
    )


def _number(text: str) -> float | None:
    # "100, 100;w=60": the first is the limit in force, what follows are its policies.
    text = text.partition(",")[0].partition(";")[0].strip()
    return float(text) if _NUMBER.fullmatch(text) else None


def _seconds(text: str) -> float | None:
    """Read a number of seconds, or Go's way of writing a duration: "1m2.5s"."""
    number = _number(text)
    if number is None and re.fullmatch(_DURATION, text.strip()):
        return sum(float(value) * _UNITS[unit] for value, unit in re.findall(_PART, text))
    return number


def _from_now(wait: float, headers: Mapping[str, str], clock: Clock) -> float:
    """Return the seconds until then, where a moment is given, as resets and some waits are."""
    if wait <= _EPOCH:
        return wait
    moment = wait * _MILLISECOND if wait > _EPOCH_MS else wait
    now, theirs = clock.wall(), _http_date(headers.get("date", ""))
    if theirs is not None and abs(theirs - now) > _SKEW:
        now = theirs
    return moment - now


def _http_date(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
