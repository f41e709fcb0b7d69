"""Whole answers: error statuses, documents with status 200, redirects that nobody follows."""

from attrs import evolve

from chatloom_async import (
    APIStatusError,
    AuthenticationError,
    InternalServerError,
    NotFoundError,
    RedirectError,
    ResponseDecodeError,
)
from tests.faults.case import DOCUMENT, OK, TWICE, Case, Peer, Raises, answer, one, says
from tests.faults.server import Close, Flood, Reset, Step


def _failed(name: str, kind: type[APIStatusError], *steps: Step, **having: object) -> Case:
    return one(name, Raises(kind, having=having), *steps, memory=4_000_000)


_HUGE = answer(500, b"", length=200_000_000)
_TOLD = says({"error": "It went wrong."}, "X-Request-Id: r-1", status=404)
_LATER = says({"error": "later"}, "Retry-After: 30", "Retry-After-MS: 250", status=503)
_ODD = says({"error": "later"}, "Retry-After: \udcff", status=503)

_STATUSES = (
    _failed("status 404", NotFoundError, _TOLD, message="It went wrong.", request_id="r-1"),
    _failed("500 with 200 MB", InternalServerError, _HUGE, Flood(b"<" * 100_000, 2_000)),
    _failed("404 with a huge error text", NotFoundError, says({"error": "y" * 60_000}, status=404)),
    _failed(
        "404 cut off", NotFoundError, answer(404, b"{", length=500), Close(), message="Not Found"
    ),
    _failed("401 reset in its body", AuthenticationError, answer(401, b"<", length=500), Reset()),
    _failed(
        "404 with a broken gzip body", NotFoundError, answer(404, b"no", "Content-Encoding: gzip")
    ),
    one("status 999", Raises(InternalServerError, "^999 "), answer(999, b"")),
    one("status 101", Raises(APIStatusError, "^101 "), answer(101, b"", "Upgrade: websocket")),
    one("status 299 is fine", OK, answer(299)),
    Case("Retry-After", ((_LATER,), (answer(),)), OK, requests=2, retry=TWICE, after=0.25),
    Case("Retry-After odd", ((_ODD,), (answer(),)), OK, requests=2, retry=TWICE),
)


def _undecodable(name: str, step: Step, message: str) -> Case:
    return one(name, Raises(ResponseDecodeError, message), step, retry=TWICE)


def _fine(name: str, body: bytes, kind: str = "application/json") -> Case:
    return one(f"200 {name} is fine", OK, answer(200, body, kind=kind))


_DOCUMENTS = (
    _undecodable("200 with nothing", answer(200, b""), "not JSON: empty"),
    _undecodable("204 without a body", answer(204, b"", length=""), "empty"),
    _fine("called HTML", DOCUMENT, "text/html; charset=latin-1"),
    _fine("without a content type", DOCUMENT, ""),
    _fine("with an unknown charset", DOCUMENT, "application/json; charset=klingon"),
    _fine("with white space around", b"\n " + DOCUMENT + b"\r\n\r\n"),
    one("half a character in a domain", ("\ud800",), answer(200, b'{"domains": ["\\ud800"]}')),
)


def _redirect(status: int, name: str, location: str, says: str = "") -> Case:
    sees = Raises(RedirectError, rf"^{status} .*{says}", {"status": status})
    case = one(f"{status} to {name}", sees, answer(status, b"", f"Location: {location}"))
    return evolve(case, retry=TWICE, connections=1)


_DOWN = _redirect(301, "http from https", "http://127.0.0.1:9/", "127.0.0.1")
_REDIRECTS = (
    *(_redirect(status, "another host", "http://127.0.0.1:9/") for status in (301, 303, 307, 308)),
    _redirect(302, "itself", "/api/plugin/agents/agt_1/allowed-domains", "another path"),
    _redirect(302, "a place that repeats the key", "//clf_SecretOfTheFaultSuite.example/"),
    _redirect(302, "a host in other than ASCII", "https://bücher.example/"),
    one("304 without a Location", Raises(RedirectError, "^304 .*nowhere"), answer(304, b"")),
    evolve(_DOWN, peer=Peer(certificate="good")),
)

ANSWERS: tuple[Case, ...] = (*_STATUSES, *_DOCUMENTS, *_REDIRECTS)
