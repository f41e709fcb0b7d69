"""API keys: checked early, shown never, and taken out of what a server says.

Not here: where a client takes its key from (``calls.credentials``), and how it travels
(``network.exchange``, ``network.direct``).

Keys, passwords and what holds them are deleted before an error is raised: tracebacks show locals.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from string import ascii_letters, digits
from typing import Literal, NoReturn

from multidict import CIMultiDict, CIMultiDictProxy

from chatloom_async.errors import ConfigurationError

KeyHeader = Literal["Authorization", "X-API-Key"]

PREFIX = "clf_"
REDACTED = "clf_[redacted]"
_HOW = "generate one under Settings, API Keys, and pass it or set CHATLOOM_API_KEY"

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


class ApiKey:
    """A Chatloom API key and the header it is sent in (API reference, Authentication).

    Surrounding white space is dropped. The key is kept in a closure, not in an attribute: what
    prints locals, slots or ``__dict__`` (error reporters, debuggers) has nothing to show. Keys are
    equal when their values are, can be copied, and refuse to be pickled.

    Attributes:
        fingerprint: eight hex digits of its SHA-256: tells keys apart in logs and statistics.
        headers: returns the header to send; for the transport, and never to be kept.
        line: returns that header as a line of HTTP/1.1.

    Raises:
        ConfigurationError: it is empty, does not start with ``clf_`` or holds other than printable
            ASCII; the message never shows it.
    """

    __slots__ = ("__weakref__", "_digest", "fingerprint", "headers", "line")

    def __init__(self, value: str, header: KeyHeader = "Authorization") -> None:
        self.fingerprint: str = ""  # a traceback shows the locals of its frames: self too
        key, problem = _check(value)
        del value
        if header not in ("Authorization", "X-API-Key"):
            problem = "the key's header is either 'Authorization' or 'X-API-Key'"
        if problem:
            del key, header  # either may be the key
            raise ConfigurationError(problem)
        sent = f"Bearer {key}" if header == "Authorization" else key
        headers = CIMultiDictProxy(CIMultiDict([(header, sent)]))  # which aiohttp need not copy
        line = f"{header}: {sent}\r\n"
        self.headers: Callable[[], Mapping[str, str]] = lambda: headers
        self.line: Callable[[], str] = lambda: line
        self._digest: str = hashlib.sha256(key.encode()).hexdigest()
        self.fingerprint = self._digest[:8]

    def name_for(self, server: str) -> str:
        """Return what stands for the key at a server where processes share something about it."""
        return hashlib.sha256(f"{server} {self._digest}".encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        """Tell whether both stand for the same key, in whatever header."""
        if not isinstance(other, ApiKey):
            return NotImplemented
        return self._digest == other._digest

    def __hash__(self) -> int:
        return hash(self._digest)

    def __repr__(self) -> str:
        return f"ApiKey({REDACTED}, fingerprint={self.fingerprint})"

    def __reduce__(self) -> NoReturn:
        """Refuse: a pickle is a file with the key in it."""
        raise TypeError("an ApiKey is not pickled; pass the name of a secret instead")

    def __copy__(self, _: object = None) -> ApiKey:
        """Return itself: a key never changes."""
        return self

    __deepcopy__ = __copy__


def _check(value: object) -> tuple[str, str | None]:
    """Return the stripped key and what is wrong with it; raising here would show it as a local."""
    if not isinstance(value, str):
        return "", f"an API key is text, not {type(value).__name__}"
    key = value.strip()
    if not key:
        return "", f"no API key: {_HOW}"
    if not (key.isascii() and key.isprintable()) or " " in key:
        return "", "the API key holds white space or other than printable ASCII; copy it again"
    if not key.startswith(PREFIX) or key == PREFIX:
        return "", f"an API key starts with {PREFIX} and goes on after it; {_HOW}"
    return key, None


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
