"""Answers with status 200: what is a document, and what is not."""

from typing import Any

from chatloom_async import ResponseDecodeError
from tests.faults.case import AGENT, DOCUMENT, OK, TWICE, Case, Raises, Returns, answer, one, says


def _fails(name: str, body: bytes, message: str) -> Case:
    sees = Raises(ResponseDecodeError, message)
    return one(f"200 {name}", sees, answer(200, body), retry=TWICE)


def _fine(name: str, body: bytes, *headers: str, kind: str = "application/json") -> Case:
    return one(f"200 {name} is fine", OK, answer(200, body, *headers, kind=kind))


def _listed(name: str, sees: Any, value: object) -> Case:
    return one(f"agents {name}", Returns(sees), says(value), call="agents")


_BROKEN = (
    _fails("with nothing", b"", "not JSON: empty"),
    _fails("with HTML", b"<!doctype html><title>Welcome</title>", "not JSON: .* line 1, column 1"),
    _fails("nested 100,000 lists deep", b"[" * 100_000, "nested too deeply|not JSON"),
    _fails("with another document", b'{"error": "no"}', r"\$\.domains: missing"),
)


_FINE = (
    _fine("called HTML", DOCUMENT, kind="text/html; charset=latin-1"),
    _fine("without a content type", DOCUMENT, kind=""),
    _fine("with a nonsense content type", DOCUMENT, kind=";;;=\t"),
    _fine("with an unknown charset", DOCUMENT, kind="application/json; charset=klingon"),
    _fine("with white space around", b"\n " + DOCUMENT + b"\r\n\r\n"),
    _fine("with the field twice", b'{"domains": null, ' + DOCUMENT[1:]),
    _listed("none", [], {"agents": [], "count": 0}),
    _listed("10,000 at once", ["agt_1"] * 10_000, {"agents": [AGENT] * 10_000, "count": 10_000}),
    one("an empty list of domains", Returns(()), says({"domains": []})),
    one(
        "half a character in a domain",
        Returns(("\ud800",)),
        answer(200, b'{"domains": ["\\ud800"]}'),
    ),
    one("raw null", Returns(None), says(None), call="raw"),
    one("raw text", Returns("x"), says("x"), call="raw"),
)

DOCUMENTS: tuple[Case, ...] = (
    *_BROKEN,
    *_FINE,
    one(
        "204 without a body",
        Raises(ResponseDecodeError, "empty"),
        answer(204, b"", length=""),
        retry=TWICE,
    ),
)
