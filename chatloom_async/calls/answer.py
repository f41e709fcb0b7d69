"""What an answer says beside its model: a refusal as an error, and the limit its headers tell.

There is no one way for headers to say how long to wait, or what they know of the server's rate
limit. Understood are Retry-After (RFC 9110 §10.2.3), ``retry-after-ms`` and Traefik's
``X-Retry-In``; ``X-RateLimit-*`` and ``X-Rate-Limit-*`` as GitHub, Envoy, Upstash and Discord send
them; ``RateLimit-*`` of draft-ietf-httpapi-ratelimit-headers 3 to 6, and ``RateLimit`` of drafts 7
and 8. A value that makes no sense is ignored, as if it had not been sent.

Not here: the error of an exchange without an answer (``network.translation``), how the key is taken
out of what a server says (``auth``), which errors heal (``calls.retry``), and how far a limit that
was told is believed (``ratelimit.told``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import urlsplit

from chatloom_async.auth import ApiKey, redacted
from chatloom_async.calls.wire import decode_error
from chatloom_async.errors import APIStatusError, status_error_class
from chatloom_async.ratelimit.values import ToldLimit
from chatloom_async.transport import MAX_ERROR_BODY, Clock, Response

_EXCERPT = 200
_LONGEST_MESSAGE = 2_000
# Control characters, marks that turn the writing direction, line ends that few programs know.
_CONTROL = (
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]+"
)
_REDIRECTION = range(300, 400)
_PHRASES = frozenset(HTTPStatus)

_NUMBER = re.compile(r"\d{1,15}(\.\d*)?|\.\d+", re.ASCII)
_DURATION = r"(?a:\d{1,9}(\.\d{1,9})?(h|ms|m|s|us|µs|ns))+"  # Go's
_PART = r"(?a:(\d+(?:\.\d+)?)(h|ms|m|s|us|µs|ns))"
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PARAMETER = re.compile(r"\b(limit|remaining|reset|q|r|t|w)\s*=\s*(\d{1,12}(?:\.\d{1,6})?)")

_MILLISECOND = 0.001
_ZERO_MEANS = 1.0  # seconds: what a refusal with "Retry-After: 0" is taken to ask for
_ROUNDING = 1.0  # seconds by which a Retry-After in whole seconds may differ from a reset
_EPOCH = 1e9  # a reset above this many seconds is a moment since 1970 …
_EPOCH_MS = 1e11  # … and above this one in milliseconds
_SKEW = 2.0  # seconds: a Date further from our clock shows that one of the two is wrong
_LONGEST_RESET = 31 * 86_400.0  # seconds; quotas are counted by the month at most

_PREFIXES = ("x-ratelimit-", "ratelimit-", "x-rate-limit-")
_LISTS = ("ratelimit", "ratelimit-policy")  # in one line or in several (RFC 9110 §5.3)
# Whoever tells of a limit sends one of these.
TELLING = ("ratelimit", *(prefix + "remaining" for prefix in _PREFIXES))


def status_error(answer: Response, key: ApiKey, clock: Clock) -> APIStatusError:
    """Return the error for an answer, without the key: a server may repeat what it was sent."""
    message, longest = _message(answer)
    headers: dict[str, str] = {}
    room = MAX_ERROR_BODY  # for the headers too: to redact each takes time
    for name, value in answer.headers.items():
        room -= len(name) + len(value)
        if room >= 0:
            lower = name.lower()
            several = lower in headers and lower in _LISTS
            headers[lower] = f"{headers[lower]}, {value}" if several else value
    retry_after = parse_retry_after(headers, clock)
    line = re.sub(_CONTROL, " ", message).encode(errors="replace").decode()  # fit for a log
    body = answer.body[:MAX_ERROR_BODY].decode("latin-1")
    body, line, *others = redacted(key, [body, line, *headers, *headers.values()])
    # Cut off when it is redacted: a piece of a short key would not be known for one.
    line = line if len(line) <= _LONGEST_MESSAGE else f"{line[:_LONGEST_MESSAGE]}…"
    names, values = others[: len(headers)], others[len(headers) :]
    error = status_error_class(answer.status)(
        answer.status, line[:longest], body.encode("latin-1"), dict(zip(names, values, strict=True))
    )
    error.retry_after = retry_after
    return error


def _message(answer: Response) -> tuple[str, int | None]:
    """Return what the answer says, and of how many letters that is an excerpt."""
    if answer.status in _REDIRECTION:
        return _redirect(answer.headers.get("location")), None
    body = answer.body[:MAX_ERROR_BODY]
    message = decode_error(body)
    if message is not None:
        return message[: 2 * _LONGEST_MESSAGE], None
    text = "" if b"<" in body else body.strip()[:_LONGEST_MESSAGE].decode(errors="replace")
    if line := " ".join(re.sub(_CONTROL, " ", text).split()):
        return line, _EXCERPT
    return HTTPStatus(answer.status).phrase if answer.status in _PHRASES else "no message", None


def _redirect(location: str | None) -> str:
    try:
        host = urlsplit(location or "").hostname
    except ValueError:
        host = None
    where = host or ("nowhere" if location is None else "another path")
    return f"a redirect to {where} is not followed; set base_url to the API itself"


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
    return asked or reset or (_ZERO_MEANS if asked == 0 else None)


def parse_limit(headers: Mapping[str, str], clock: Clock) -> ToldLimit | None:
    """Return what an answer tells of its limit; None if it tells nothing, or nonsense."""
    for name in TELLING:
        if name in headers:
            break
    else:
        return None
    if name == "ratelimit":
        told = _tightest(_all_of(name, headers))
        remaining, reset = told.get("remaining", told.get("r")), told.get("reset", told.get("t"))
        limit = told.get("limit", told.get("q"))
    else:
        prefix = name.removesuffix("remaining")
        remaining = _number(headers[name])
        reset = _seconds(headers.get(prefix + "reset-after", headers.get(prefix + "reset", "")))
        limit = _number(headers.get(prefix + "limit", ""))
    policies = _all_of("ratelimit-policy", headers) or headers.get("x-ratelimit-limit", "")
    policy = _tightest(policies)
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


def _all_of(name: str, headers: Mapping[str, str]) -> str:
    """Return a list that may be in several lines, as a multidict of aiohttp's has them."""
    lines = getattr(headers, "getall", None)
    return headers.get(name, "") if lines is None else ", ".join(lines(name, ()))


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
