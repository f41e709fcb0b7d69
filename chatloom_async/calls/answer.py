"""An answer that is no success, as the error its caller sees.

Not here: the error of an exchange without an answer (``network.translation``), and which errors
heal (``calls.failures``).
"""

from __future__ import annotations

import re
from http import HTTPStatus
from urllib.parse import urlsplit

from chatloom_async.auth import ApiKey
from chatloom_async.calls.redaction import redacted
from chatloom_async.calls.retry_after import parse_retry_after
from chatloom_async.calls.wire import decode_error
from chatloom_async.errors import APIStatusError, status_error_class
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


def status_error(answer: Response, key: ApiKey, clock: Clock) -> APIStatusError:
    """Return the error for an answer, without the key: a server may repeat what it was sent."""
    body, names, values = answer.body[:MAX_ERROR_BODY], [], []
    room = MAX_ERROR_BODY  # for the headers too: to redact each takes time
    for name, value in answer.headers.items():
        room -= len(name) + len(value)
        if room >= 0:
            names.append(name.lower())
            values.append(value)
    message, longest = _message(answer, body)
    line = re.sub(_CONTROL, " ", message).encode(errors="replace").decode()  # fit for a log
    text, line, *others = redacted(key, [body.decode("latin-1"), line, *names, *values])
    headers = dict(zip(others[: len(names)], others[len(names) :], strict=True))
    retry_after = parse_retry_after(headers, clock)
    kind = status_error_class(answer.status)
    # Cut off when it is redacted: a piece of a short key would not be known for one.
    line = line if len(line) <= _LONGEST_MESSAGE else f"{line[:_LONGEST_MESSAGE]}…"
    return kind(answer.status, line[:longest], text.encode("latin-1"), headers, retry_after)


def _message(answer: Response, body: bytes) -> tuple[str, int | None]:
    """Return what the answer says, and of how many letters that is an excerpt."""
    if answer.status in _REDIRECTION:
        return _redirect(answer.headers.get("location")), None
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
