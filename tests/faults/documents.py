"""Answers with status 200: what is a document, and what is not."""

from chatloom_async import ResponseDecodeError
from tests.faults.case import DOCUMENT, OK, TWICE, Case, Raises, answer, one
from tests.faults.server import Step


def _fails(name: str, step: Step, message: str) -> Case:
    return one(name, Raises(ResponseDecodeError, message), step, retry=TWICE)


def _fine(name: str, body: bytes, kind: str = "application/json") -> Case:
    return one(f"200 {name} is fine", OK, answer(200, body, kind=kind))


_HALF = answer(200, b'{"domains": ["\\ud800"]}')

DOCUMENTS: tuple[Case, ...] = (
    _fails("200 with nothing", answer(200, b""), "not JSON: empty"),
    _fails("204 without a body", answer(204, b"", length=""), "empty"),
    _fine("called HTML", DOCUMENT, "text/html; charset=latin-1"),
    _fine("without a content type", DOCUMENT, ""),
    _fine("with a nonsense content type", DOCUMENT, ";;;=\t"),
    _fine("with an unknown charset", DOCUMENT, "application/json; charset=klingon"),
    _fine("with white space around", b"\n " + DOCUMENT + b"\r\n\r\n"),
    one("half a character in a domain", ("\ud800",), _HALF),
)
