"""An answer that is no success, as the error its caller sees: without the key.

A server may repeat what it was sent, in another spelling. Not here: the error of an exchange
without an answer (``network.translation``), and which errors heal (``calls.failures``).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from http import HTTPStatus
from string import ascii_letters, digits
from urllib.parse import urlsplit

from chatloom_async.auth import PREFIX, REDACTED, ApiKey
from chatloom_async.calls.failures import parse_retry_after
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
_UNMISTAKABLE = 16  # fewer letters after the prefix may stand in any text
_PIECE = 8  # so many letters of a key in a row are too many
_GRAM = 5
_KEPT = 4_000  # letters of a text that is looked at letter by letter
_ESCAPES = 1_000  # in a longer text, each of which takes as long as a hundred letters
# %53, %2553, %u0053, \u0053, \U00000053, \u{53}, \x53, 0x53, \123, &#x53; and &#83; are S;
# \n is no n.
_ESCAPE = (
    r"(?ai:(?:%(?:25)*(?:u00)?|\\u(?:0000)?00|\\u\{0*|[\\0]x|&#x0*)(?P<hex>[0-9a-f]{2})[;}]?"
    r"|&#0*(?P<dec>[0-9]{2,3});?|\\(?P<oct>[0-7]{3})|\\[bfnrt])"
)
_SIGNS = ("%", "\\", "&#", "0x", "0X")  # without one of them there is no escape
_SIGN = _ESCAPE + "|[A-Za-z0-9]"
_LOWER = bytes(range(256)).lower()
_OTHERS = bytes({*range(256)} - {*(ascii_letters + digits).encode()})


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
    kind = status_error_class(answer.status)
    # Cut off when it is redacted: a piece of a short key would not be known for one.
    line = line if len(line) <= _LONGEST_MESSAGE else f"{line[:_LONGEST_MESSAGE]}…"
    error = kind(answer.status, line[:longest], text.encode("latin-1"), headers)
    error.retry_after = parse_retry_after(headers, clock)
    return error


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


def redacted(key: ApiKey, texts: list[str]) -> list[str]:
    """Return the texts without the key, whole or in pieces.

    A piece counts in any case and escape, backwards, in base64, hexadecimal and decimal, and with
    other signs between its letters. Of a long text that holds one, or is full of escapes, only the
    beginning is kept.
    """
    (header,) = key.headers().values()
    bare = header.removeprefix("Bearer ")
    forms = [form for form in _spellings(bare) if len(form) >= _PIECE]
    grams = {form[at : at + _GRAM] for form in forms for at in range(len(form) - _GRAM + 1)}
    least = _PIECE if len(bare) - len(PREFIX) >= _UNMISTAKABLE else min(map(len, forms))
    return [_without_pieces(grams, least, _without(bare, text)) for text in texts]


def _without(key: str, text: str) -> str:
    """Return the text without the key as it is, and without its beginning where the text ends."""
    text = text.replace(key, REDACTED)
    at = text.rfind(PREFIX, max(0, len(text) - len(key)))
    end = text[at:] if at >= 0 else PREFIX  # a text may be cut off in the middle of the key
    return text[:at] + REDACTED if end != PREFIX and key.startswith(end) else text


def _without_pieces(grams: set[str], least: int, text: str) -> str:
    """Hide what are letters of the key in a row, if case, escapes and other signs do not count.

    Of the key ``clf_MySecret12AndMore`` the text ``x=%53-e-c-r-e-t-1-2;`` holds eight letters in a
    row. The text's letters are ``xsecret12``. Five of them each, ``secre``, ``ecret``, ``cret1``
    and ``ret12``, are ``grams`` of the key. Side by side these reach from ``%53`` to ``2``. Eight
    letters are not too few (``least``), so all that is between is hidden: ``x=clf_[redacted];``.
    """
    if len(text) > _KEPT and sum(map(text.count, _SIGNS)) > _ESCAPES:
        text = f"{text[:_KEPT]} {REDACTED}"
    plain = _letters(text)
    # A piece that is to be hidden holds a whole one of these.
    if grams.isdisjoint(
        [plain[at : at + _GRAM] for at in range(0, len(plain), _PIECE - _GRAM + 1)]
    ):
        return text
    if len(text) > _KEPT:
        text = f"{text[:_KEPT]} {REDACTED}"
        plain = _letters(text)
    signs = re.finditer(_SIGN, text)
    spans = [sign.span() for sign in signs if len(sign[0]) == 1 or _letter(sign)]  # of each letter
    parts: list[str] = []
    kept = begin = 0
    for at in range(len(plain) + 1):
        if plain[at : at + _GRAM] in grams:
            continue
        end = at - 1 + _GRAM  # of the piece, if one began
        if at > begin and end - begin >= least:
            parts += text[kept : spans[begin][0]], REDACTED
            kept = spans[end - 1][1]
        begin = at + 1
    return "".join((*parts, text[kept:]))


def _spellings(key: str) -> Iterator[str]:
    """Yield the key as servers and programs write it, letters and digits only."""
    raw = key.encode()
    for form in (raw, raw[::-1]):
        yield _letters(form.decode())
        yield form.hex()
        yield "".join(map(str, form))
        for before in range(3):  # in base64 three bytes are four letters: it may begin in each
            padded = base64.b64encode(bytes(before) + form)
            yield _letters(padded[-(-before * 8 // 6) : (before + len(form)) * 8 // 6].decode())


def _letters(text: str) -> str:
    if any(sign in text for sign in _SIGNS):
        text = re.sub(_ESCAPE, _letter, text)
    return text.encode("latin-1", "replace").translate(_LOWER, _OTHERS).decode()


def _letter(sign: re.Match[str]) -> str:
    """Return the lower-case ASCII letter or digit that this stands for, "" for any other sign."""
    letter = sign[0]
    if len(letter) > 1:
        letter = chr(
            int(sign["hex"] or "0", 16) or int(sign["dec"] or "0") or int(sign["oct"] or "0", 8)
        )
    return letter.lower() if letter.isascii() and letter.isalnum() else ""
