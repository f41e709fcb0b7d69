"""Answers that break the rules of HTTP, lie about their length, or are far too large."""

import gzip
import zlib
from functools import cache

from chatloom_async import APIConnectionError, InternalServerError, ResponseDecodeError
from tests.faults.case import DOCUMENT, OK, Case, Raises, answer, chunked, late, one, retried
from tests.faults.server import Close, Flood, Hang, Reset, Step, drip

_TOO_MUCH = 45_000_000  # the limit of 10 MiB, in pieces and joined, and what is on its way


def _connection(reason: str, says: str = "") -> Raises:
    return Raises(APIConnectionError, says, {"reason": reason})


_NO_BROTLI = Raises(APIConnectionError, r"Content-Encoding.*brotli", {"reason": "encoding"})
_UNDECODABLE = Raises(APIConnectionError, r"Content-Encoding.*gzip", {"reason": "encoding"})
_CUT_OFF = _connection("cut off")
_GARBLED = _connection("protocol", "is not HTTP")
_NO_JSON = Raises(ResponseDecodeError, "not JSON")
_FAILED = Raises(InternalServerError, having={"status": 500})
_HALVES = DOCUMENT[:9], DOCUMENT[9:]
_TOO_LARGE = _connection("too large", "larger than 10485760 bytes")


def _bounded(name: str, sees: Raises, *steps: Step) -> Case:
    return one(name, sees, *steps, memory=_TOO_MUCH, requests=1)


def _garbled(name: str, *steps: Step) -> Case:
    return one(name, _GARBLED, *steps, Close())


@cache
def _bomb() -> bytes:
    """Compress 60 MB of JSON into 60 kB."""
    return gzip.compress(b" " * 60_000_000)


def _packed(body: bytes, encoding: str = "gzip", status: int = 200) -> bytes:
    return answer(status, body, f"Content-Encoding: {encoding}")


_LENGTHS = (
    one("Content-Length too long, then FIN", _CUT_OFF, answer(length=500), Close()),
    one("Content-Length too long, then RST", _CUT_OFF, answer(length=500), Reset()),
    retried(one("a body cut off is tried again", _CUT_OFF, answer(length=500), Close())),
    late("Content-Length too long, then nothing", answer(length=500), Hang()),
    _garbled("Content-Length too short", answer(length=20)),
    one("Content-Length short of a line break", OK, answer(length=len(DOCUMENT)) + b"\r\n"),
    _garbled("Content-Length twice, different", answer(200, DOCUMENT, "Content-Length: 3")),
    _garbled("Content-Length and chunks", answer(200, DOCUMENT, "Transfer-Encoding: chunked")),
    one("no length, ended by FIN", OK, answer(length=""), Close()),
)


def _chunks(name: str, sees: Raises, last: bytes, end: Step) -> Case:
    return one(name, sees, chunked(DOCUMENT, last=last), end)


_CHUNKS = (
    one("chunks of one byte", OK, chunked(*(bytes((byte,)) for byte in DOCUMENT))),
    one("chunks with trailers", OK, chunked(DOCUMENT, last=b"0\r\nX-Sum: 1\r\n\r\n")),
    _chunks("chunks without an end, then FIN", _CUT_OFF, b"", Close()),
    _chunks("chunks without an end, then RST", _CUT_OFF, b"", Reset()),
    late("chunks without an end, then nothing", chunked(DOCUMENT, last=b""), Hang()),
    _chunks("a chunk size of letters", _GARBLED, b"xyz\r\n\r\n", Close()),
    _chunks("a chunk longer than its size", _GARBLED, b"1\r\nabc\r\n0\r\n\r\n", Close()),
)


def _endless(name: str, *steps: Step) -> Case:
    return one(name, _GARBLED, *steps, memory=8_000_000)


_HEADS = (
    _garbled("no HTTP at all", b"220 mail.example ESMTP ready\r\n\r\n"),
    _garbled("a header with a null byte", b"HTTP/1.1 200 OK\r\nX-Null: a\x00b\r\n\r\n"),
    _garbled("a header of 100 kB", answer(200, DOCUMENT, "X-Long: " + "x" * 100_000)),
    _endless("100,000 headers", b"HTTP/1.1 200 OK\r\n", Flood(b"X-A: b\r\n" * 100, 1_000)),
    _endless("a header without an end", b"HTTP/1.1 200 OK\r\nX: ", Flood(b"x" * 100_000, 2_000)),
    one("a 100 before the answer", OK, b"HTTP/1.1 100 Continue\r\n\r\n", answer()),
    one("early hints first", OK, b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", answer()),
    one("line feeds alone", OK, answer().replace(b"\r\n", b"\n"), Close()),
    one("headers in other than ASCII", OK, answer(200, DOCUMENT, "X-Name: caf\udce9 ☃")),
)

_BLANKS = Flood(b" " * 100_000, 2_000)
_LIMIT = 10 * 1024 * 1024
_ABOVE = answer(200, DOCUMENT.ljust(_LIMIT + 1))

_SIZES = (
    _bounded(
        "200 MB in chunks",
        _TOO_LARGE,
        chunked(last=b""),
        Flood(b"186a0\r\n" + b" " * 100_000 + b"\r\n", 2_000),
    ),
    _bounded("200 MB without a length", _TOO_LARGE, answer(200, b"", length=""), _BLANKS),
    _bounded("a bomb in gzip", _TOO_LARGE, _packed(_bomb())),
    _bounded("a bomb in an error", _FAILED, _packed(_bomb(), status=500)),
    retried(_bounded("200 MB", _TOO_LARGE, answer(length=200_000_000), _BLANKS), times=1),
    one("just below the limit", OK, answer(200, DOCUMENT.ljust(_LIMIT))),
    Case("above it on a kept connection", ((answer(),), (_ABOVE,)), _TOO_LARGE, earlier_calls=1),
    one("gzip", OK, _packed(gzip.compress(DOCUMENT))),
    one("deflate", OK, _packed(zlib.compress(DOCUMENT), "deflate")),
    one(
        "gzip by another name",
        Raises(ResponseDecodeError, "not UTF-8; its Content-Encoding is none that is"),
        _packed(gzip.compress(DOCUMENT), "x-gzip"),
    ),
    one("gzip in two members", OK, _packed(b"".join(map(gzip.compress, _HALVES)))),
    one("gzip cut off", _NO_JSON, _packed(gzip.compress(DOCUMENT)[:-12])),
    retried(one("gzip that is none, tried again", _UNDECODABLE, _packed(DOCUMENT)), times=1),
    one("brotli, which nobody asked for", _NO_BROTLI, _packed(DOCUMENT, "br")),
    late("a slow drip", answer(200, b"", length=500), *drip(b" " * 500, 1.0)),
    late("a slow drip of headers", *drip(answer(), 1.0)),
    one("a drip that is fast enough", OK, *drip(answer(), 0.1), after=12.6),
)

FRAMING: tuple[Case, ...] = (*_LENGTHS, *_CHUNKS, *_HEADS, *_SIZES)
