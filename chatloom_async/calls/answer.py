"""An answer that is no success, as the error its caller sees.

Not here: the error of an exchange without an answer (``network.translation``), and which errors
heal (``calls.retry``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from urllib.parse import urlsplit

from chatloom_async.auth import ApiKey
from chatloom_async.calls.redaction import redactor
from chatloom_async.calls.retry_after import parse_retry_after
from chatloom_async.calls.wire import decode_error
from chatloom_async.errors import APIStatusError, RedirectError, status_error_class
from chatloom_async.transport import MAX_ERROR_BODY, Clock, Response

_EXCERPT = 200
_LONGEST_MESSAGE = 2_000
# Control characters, marks that turn the writing direction, line ends that few programs know.
_CONTROL = (
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]+"
)
_PHRASES = frozenset(HTTPStatus)


def status_error(answer: Response, key: ApiKey, clock: Clock) -> APIStatusError:
    """Return the error for an answer, without the key: a server may repeat what it was sent."""
    redact = redactor(key)
    headers = {redact(name.lower()): redact(value) for name, value in _kept(answer.headers)}
    body = redact(answer.body[:MAX_ERROR_BODY].decode("latin-1")).encode("latin-1")
    kind = status_error_class(answer.status)
    message = _redirect(headers) if kind is RedirectError else _message(answer.status, body)
    # Once more: what decoding JSON and joining lines makes of the body may hold the key again.
    message = redact(_clean(message))
    return kind(answer.status, message, body, headers, parse_retry_after(headers, clock))


def _kept(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the first headers, together no longer than a body: to redact each takes time."""
    room = MAX_ERROR_BODY
    for name, value in headers.items():
        room -= len(name) + len(value)
        if room >= 0:
            yield name, value


def _redirect(headers: Mapping[str, str]) -> str:
    try:
        host = urlsplit(headers.get("location", "")).hostname
    except ValueError:
        host = None
    where = host or ("another path" if "location" in headers else "nowhere")
    return f"a redirect to {where} is not followed; set base_url to the API itself"


def _message(status: int, body: bytes) -> str:
    told = decode_error(body)
    if told is not None:
        return told
    text = "" if b"<" in body else body.strip()[:_LONGEST_MESSAGE].decode(errors="replace")
    if line := " ".join(re.sub(_CONTROL, " ", text).split()):
        return line[:_EXCERPT]
    return HTTPStatus(status).phrase if status in _PHRASES else "no message"


def _clean(text: str) -> str:
    """Make a server's text fit for a log: one line, not endless, encodable."""
    line = re.sub(_CONTROL, " ", text[:_LONGEST_MESSAGE]).encode(errors="replace").decode()
    return line if len(text) <= _LONGEST_MESSAGE else f"{line}…"
