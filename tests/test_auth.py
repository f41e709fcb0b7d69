"""API keys: checked early, shown never, and hidden in whatever a server repeats of them."""

import base64
import copy
import hashlib
import json
import pickle
import re
from collections.abc import Callable
from urllib.parse import quote

import pytest

from chatloom_async import ApiKey, APIStatusError, ConfigurationError
from chatloom_async.auth import redacted
from chatloom_async.calls.answer import status_error
from chatloom_async.testing import FakeClock
from chatloom_async.transport import Response

KEY = "clf_S3cr3t+Key/0123456789=abcdefXYZ"
SHORT = "clf_test"
LONGEST = 11  # letters of a piece that may stay: the tests of others look for twelve


@pytest.mark.parametrize("text", [KEY, f"\t {KEY}\r\n"])
def test_a_header_holds_the_key_without_white_space(text: str) -> None:
    assert ApiKey(text).headers() == {"Authorization": f"Bearer {KEY}"}
    assert ApiKey(text, header="X-API-Key").headers() == {"X-API-Key": KEY}


def test_another_header_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'Authorization' or 'X-API-Key'"):
        ApiKey(KEY, header="Cookie")  # type: ignore[arg-type]  # the point


def test_keys_are_equal_when_their_values_are() -> None:
    assert ApiKey(KEY) == ApiKey(f" {KEY}", header="X-API-Key")
    assert ApiKey(KEY) != KEY
    assert len({ApiKey(KEY), ApiKey(KEY, header="X-API-Key"), ApiKey("clf_other")}) == 2


@pytest.mark.parametrize("show", [repr, str, "{}".format])
def test_a_key_shows_its_fingerprint_only(show: Callable[[ApiKey], str]) -> None:
    beginning = hashlib.sha256(KEY.encode()).hexdigest()[:8]
    assert show(ApiKey(KEY)) == f"ApiKey(clf_[redacted], fingerprint={beginning})"


def test_a_key_refuses_to_be_pickled() -> None:
    with pytest.raises(TypeError, match="name of a secret"):
        pickle.dumps(ApiKey(KEY))


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_a_copied_key_is_the_key_itself(duplicate: Callable[[ApiKey], ApiKey]) -> None:
    key = ApiKey(KEY)
    assert duplicate(key) is key


def encoded(before: str, after: str = "") -> str:
    return base64.b64encode(f"{before}{KEY}{after}".encode()).decode()


def every(form: str) -> str:
    return "".join(form % ord(letter) for letter in KEY)


SPELLINGS = {
    "as it is": KEY,
    "without the prefix": KEY[4:],
    "the other case": KEY.swapcase(),
    "URL-encoded": quote(KEY, safe=""),
    "URL-encoded twice": quote(quote(KEY, safe=""), safe=""),
    "escapes of JSON": every("\\u%04X"),
    "escapes of JSON in JSON": every("\\\\u%04x"),
    "escapes of old browsers": every("%%u%04X"),
    "escapes of a shell": every("\\x%02x"),
    "references of HTML": every("&#%d;"),
    "references of HTML without an end": every("&#%d"),
    "escapes of JavaScript": every("\\u{%x}"),
    "octal escapes": every("\\%03o"),
    "bytes of a program": every("0x%02x, "),
    "long escapes": every("\\U%08x"),
    "decimal, as a list": str(list(KEY.encode())),
    "base64": encoded(""),
    "base64 two letters later": encoded("xy"),
    "base64 of the header": encoded("Bearer ", "\r\n"),
    "base64 in lines": "\r\n".join(re.findall(".{1,12}", encoded("key="))),
    "URL-encoded base64": quote(encoded(""), safe=""),
    "URL-safe base64": base64.urlsafe_b64encode(f"?{KEY}".encode()).decode(),
    "hexadecimal": KEY.encode().hex(),
    "hexadecimal in pairs": KEY.encode().hex(" ").upper(),
    "hexadecimal backwards": KEY[::-1].encode().hex(),
    "backwards": KEY[::-1],
    "split by a line end": f"{KEY[:18]}\n{KEY[18:]}",
    "split by hyphens": "-".join(KEY[at : at + 4] for at in range(0, len(KEY), 4)),
    "spaced": " ".join(KEY),
    "between null bytes": "\0".join(KEY),
    "cut at the end": KEY[:14],
    "cut at the beginning": KEY[-12:],
}


def pieces(form: str) -> set[str]:
    return {form[at : at + LONGEST + 1] for at in range(len(form) - LONGEST)} or {form}


def redact(text: str, key: str = KEY) -> str:
    return redacted(ApiKey(key), [text])[0]


def error(body: bytes, headers: dict[str, str] | None = None) -> APIStatusError:
    return status_error(Response(400, headers or {}, body), ApiKey(KEY), FakeClock())


@pytest.mark.parametrize(
    "text",
    [
        lambda form: json.dumps({"error": f"the key {form} is not known"}),
        lambda form: form,
        lambda form: f"<p>{form}</p>" + "and so on " * 300,
    ],
)
@pytest.mark.parametrize("form", SPELLINGS.values(), ids=SPELLINGS)
def test_no_spelling_of_the_key_is_shown(form: str, text: Callable[[str], str]) -> None:
    headers = {"X-Echo": text(form), f"X-{form}": "1", "X-Request-Id": form}
    failure = error(text(form).encode(), headers)
    shown = f"{failure!r} {failure} {failure.body!r} {failure.headers} {failure.request_id}"
    assert not [piece for piece in pieces(form) if piece in shown or piece in json.dumps(shown)]
    assert "clf_[redacted]" in shown


@pytest.mark.parametrize(
    "text",
    [
        "Agent not found",
        "an API key starts with clf_ and goes on",
        "%41%42 \\u0041 &#65; é \U0001f916",
        "The quick brown fox " * 500,
        "",
    ],
)
def test_a_text_without_the_key_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    ("key", "text", "shown"),
    [
        (KEY, f"no {KEY.upper()} nor {KEY[:20]}!", "no clf_[redacted] nor clf_[redacted]!"),
        (SHORT, "clf_test is a test of clf tests", "clf_[redacted] is a test of clf tests"),
        *((SHORT, f"not {SHORT[:end]}", "not clf_[redacted]") for end in range(5, len(SHORT))),
    ],
)
def test_what_stands_around_the_key_stays(key: str, text: str, shown: str) -> None:
    assert redact(text, key) == shown


def test_a_text_full_of_pieces_is_cut() -> None:
    assert len(redact(f"{KEY.upper()} " * 2_000)) < 10_000


@pytest.mark.parametrize("escape", ["%41", "\\", "&#0"])
def test_a_text_full_of_escapes_keeps_its_beginning(escape: str) -> None:
    text = escape * 20_000
    assert redact(text).startswith(text[:1_000])
    assert len(redact(text)) < 10_000
