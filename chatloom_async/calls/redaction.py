"""Taking a key out of what a server says: it may repeat what it was sent, in another spelling.

Not here: what an error answer says without the key (``calls.answer``).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from string import ascii_letters, digits

from chatloom_async.auth import ApiKey

_PREFIX = "clf_"
_REDACTED = "clf_[redacted]"
_TELLING = 16  # fewer letters after the prefix may stand in any text
_SHOWN = 8  # so many letters of a key in a row are too many
_GRAM = 5
_CUT = re.compile(f".{{{_GRAM}}}")
_SHORT = 2_000  # letters of a text, in which it is cheaper to look for parts of the key
_KEPT = 8_000  # letters of a text in which there are pieces
# %53, %2553, \u0053, \U00000053, \u{53}, \x53, &#x53; and &#83; are S; \n is a line break and no n.
_ESCAPE = re.compile(
    r"(?:%(?:25)*|\\+u(?:0000)?00|\\+u\{0*|\\+x|&#x0*)(?P<hex>[0-9a-f]{2})[;}]?"
    r"|&#0*(?P<dec>[0-9]{2,3});?|\\+[bfnrt]",
    re.ASCII | re.IGNORECASE,
)
_SIGN = re.compile(_ESCAPE.pattern + "|[a-z0-9]", re.ASCII | re.IGNORECASE)
_LOWER = bytes(range(256)).lower()
_OTHERS = bytes({*range(256)} - {*(ascii_letters + digits).encode()})


def redact(text: str, key: ApiKey) -> str:
    """Return the text without the key, whole or in pieces.

    A piece counts in any case and escape, backwards, in base64, hexadecimal and decimal, and with
    other signs between its letters.
    """
    (header,) = key.headers().values()
    return _without(header.removeprefix("Bearer "), text)


def _without(key: str, text: str) -> str:
    """Return the text without the key, however it is spelt there, and without pieces of it."""
    text = text.replace(key, _REDACTED)
    secret = key.removeprefix(_PREFIX)
    if len(secret) >= _TELLING:
        text = text.replace(secret, _REDACTED.removeprefix(_PREFIX))
    if _PREFIX in text[-len(key) :]:  # a text may be cut off in the middle of the key
        for length in range(len(key) - 1, len(_PREFIX), -1):
            if text.endswith(key[:length]):
                text = text[:-length] + _REDACTED
                break
    return _without_pieces(key, text)


def _without_pieces(key: str, text: str) -> str:
    """Hide what are letters of the key in a row, if case, escapes and other signs do not count."""
    plain = _letters(text)
    forms = [form for form in _spellings(key) if len(form) >= _SHOWN]
    if len(plain) < _SHOWN or not _may_hold(plain, forms):
        return text
    grams = _grams(forms)
    if len(text) > _KEPT:  # to look at each of its letters takes time
        text = f"{text[:_KEPT]} {_REDACTED}"
    signs = [(sign, letter) for sign in _SIGN.finditer(text) if (letter := _letter(sign))]
    letters = "".join([letter for _, letter in signs])
    least = _SHOWN if len(key) - len(_PREFIX) >= _TELLING else min(map(len, forms))
    parts: list[str] = []
    kept = begin = 0
    for at in range(len(letters) + 1):
        if letters[at : at + _GRAM] in grams:
            continue
        end = at - 1 + _GRAM  # of the piece, if one began
        if at > begin and end - begin >= least:
            parts += text[kept : signs[begin][0].start()], _REDACTED
            kept = signs[end - 1][0].end()
        begin = at + 1
    return "".join((*parts, text[kept:]))


def _may_hold(plain: str, forms: Iterable[str]) -> bool:
    """Tell at little cost whether there may be a piece of nine letters or more.

    Such a piece holds a whole one of the grams into which the text is cut, or the key.
    """
    if len(plain) < _SHORT:
        return any(gram in plain for form in forms for gram in _CUT.findall(form))
    return not _grams(forms).isdisjoint(_CUT.findall(plain))


def _grams(forms: Iterable[str]) -> set[str]:
    return {form[at : at + _GRAM] for form in forms for at in range(len(form) - _GRAM + 1)}


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
    if "%" in text or "\\" in text or "&#" in text:
        text = _ESCAPE.sub(_letter, text)
    return text.encode("latin-1", "replace").translate(_LOWER, _OTHERS).decode()


def _letter(sign: re.Match[str]) -> str:
    """Return the lower-case ASCII letter or digit that this stands for, "" for any other sign."""
    letter = sign[0]
    if len(letter) > 1:
        letter = chr(int(sign["hex"] or "0", 16) or int(sign["dec"] or "0"))
    return letter.lower() if letter.isascii() and letter.isalnum() else ""
