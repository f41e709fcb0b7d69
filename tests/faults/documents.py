"""Answers with status 200: what is a document, and what is not."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve

from chatloom_async import ResponseDecodeError
from tests.faults.case import AGENT, DOCUMENT, OK, TWICE, Case, Raises, Returns, answer, one, says


def _fails(name: str, body: bytes, message: str) -> Case:
    sees = Raises(ResponseDecodeError, message)
    return evolve(one(f"200 {name}", sees, answer(200, body)), retry=TWICE)


def _mistyped(name: str, value: object, message: str) -> Case:
    return _fails(f"with {name}", json.dumps(value).encode(), message)


def _agents(name: str, value: object, message: str) -> Case:
    return evolve(_mistyped(name, value, message), call="agents")


def _agent(what: str, message: str, /, **fields: object) -> Case:
    agent = {key: value for key, value in {**AGENT, **fields}.items() if value is not ...}
    return _agents(what, {"agents": [AGENT, agent], "count": 2}, message)


def _fine(name: str, body: bytes, *headers: str, kind: str = "application/json") -> Case:
    return one(f"200 {name} is fine", OK, answer(200, body, *headers, kind=kind))


def _listed(name: str, sees: Any, value: object) -> Case:
    return evolve(one(f"agents {name}", Returns(sees), says(value)), call="agents")


_BROKEN = (
    _fails("with nothing", b"", "not JSON: empty"),
    _fails("with white space", b"  \n", "not JSON"),
    _fails("with HTML", b"<!doctype html><title>Welcome</title>", "not JSON: .* line 1, column 1"),
    _fails("with plain text", b"OK", "not JSON"),
    _fails("cut in the middle", DOCUMENT[:20], "not JSON"),
    _fails("with something after the end", DOCUMENT + b"}", "not JSON: Extra data"),
    _fails("with two documents", DOCUMENT * 2, "not JSON: Extra data"),
    _fails("with a comment", DOCUMENT + b"// done", "not JSON"),
    _fails("in single quotes", b"{'domains': []}", "not JSON"),
    _fails("with NaN", b'{"domains": NaN}', "not JSON: NaN"),
    _fails("with Infinity", b'{"domains": -Infinity}', "not JSON: -Infinity"),
    _fails("with a raw control character", b'{"domains": ["a\x01"]}', "not JSON"),
    _fails("with a number of 5,000 digits", b'{"domains": %s}' % (b"9" * 5_000), "not JSON"),
    _fails("nested 100,000 lists deep", b"[" * 100_000, "nested too deeply|not JSON"),
    _fails("nested 100,000 objects deep", b'{"domains":' * 100_000, "nested too deeply|not JSON"),
    _fails("in Latin-1", '{"domains": ["café.example"]}'.encode("latin-1"), "not UTF-8"),
    _fails("in UTF-16", DOCUMENT.decode().encode("utf-16"), "not UTF-8"),
    _fails("with two byte order marks", b"\xef\xbb\xbf" * 2 + DOCUMENT, "not JSON"),
    _fails("with null bytes", b"\x00" * 100, "not JSON"),
)

_ROOTS = (
    _mistyped("root null", None, r"\$: expected object, got NoneType"),
    _mistyped("root a list", ["example.com"], r"\$: expected object, got list"),
    _mistyped("root a text", "example.com", r"\$: expected object, got str"),
    _mistyped("root a number", 5, r"\$: expected object, got int"),
    _mistyped("root true", True, r"\$: expected object, got bool"),
    _mistyped("an error object", {"error": "no"}, r"\$\.domains: missing"),
    _mistyped("domains missing", {}, r"\$\.domains: missing"),
    _mistyped("domains null", {"domains": None}, r"\$\.domains: expected list, got NoneType"),
    _mistyped("domains a text", {"domains": "a.example"}, r"\$\.domains: expected list, got str"),
    _mistyped("domains an object", {"domains": {"a": 1}}, r"\$\.domains: expected list, got dict"),
    _mistyped("a domain null", {"domains": ["a", None]}, r"\$\.domains\[1\]: expected str"),
    _mistyped("a domain a number", {"domains": [7]}, r"\$\.domains\[0\]: expected str, got int"),
    _mistyped("a domain a list", {"domains": [["a"]]}, r"\$\.domains\[0\]: expected str, got list"),
)

_AGENTS = (
    _agents("agents missing", {"count": 0}, r"\$\.agents: missing"),
    _agents("agents null", {"agents": None, "count": 0}, r"\$\.agents: expected list"),
    _agents("agents an object", {"agents": {}, "count": 0}, r"\$\.agents: expected list, got dict"),
    _agents("an agent null", {"agents": [None], "count": 1}, r"\$\.agents\[0\]: expected object"),
    _agents("an agent a text", {"agents": ["a"], "count": 1}, r"\$\.agents\[0\]: expected object"),
    _agents("count missing", {"agents": []}, r"\$\.count: missing"),
    _agents("count null", {"agents": [], "count": None}, r"\$\.count: expected int, got NoneType"),
    _agents("count a text", {"agents": [], "count": "0"}, r"\$\.count: expected int, got str"),
    _agents("count true", {"agents": [], "count": True}, r"\$\.count: expected int, got bool"),
    _agents("count in parts", {"agents": [], "count": 1.5}, r"\$\.count: expected int, got float"),
    _agent("an id missing", r"\$\.agents\[1\]\.id: missing", id=...),
    _agent("an id null", r"\$\.agents\[1\]\.id: expected str, got NoneType", id=None),
    _agent("a name a number", r"\$\.agents\[1\]\.name: expected str, got int", name=5),
    _agent("a colour null", r"\$\.agents\[1\]\.primaryColor: expected str", primaryColor=None),
    _agent("a colour missing", r"\$\.agents\[1\]\.secondaryColor: missing", secondaryColor=...),
    _agent("a status a list", r"\$\.agents\[1\]\.status: expected str, got list", status=["a"]),
    _agent("createdAt null", r"\$\.agents\[1\]\.createdAt: expected str", createdAt=None),
    _agent("createdAt a number", r"\[1\]\.createdAt: expected str, got int", createdAt=1768467600),
    _agent("createdAt no time", r"\[1\]\.createdAt: expected an ISO 8601", createdAt="yesterday"),
    _agent("createdAt impossible", r"createdAt: expected an ISO", createdAt="2026-02-30T00:00:00Z"),
    _agent("createdAt empty", r"createdAt: expected an ISO 8601 timestamp", createdAt=""),
)

_FINE = (
    _fine("with a byte order mark", b"\xef\xbb\xbf" + DOCUMENT),
    _fine("called HTML", DOCUMENT, kind="text/html; charset=latin-1"),
    _fine("without a content type", DOCUMENT, kind=""),
    _fine("with a nonsense content type", DOCUMENT, kind=";;;=\t"),
    _fine("with an unknown charset", DOCUMENT, kind="application/json; charset=klingon"),
    _fine("with white space around", b"\n " + DOCUMENT + b"\r\n\r\n"),
    _fine("with unknown fields", DOCUMENT[:-1] + b', "next": null}'),
    _fine("with the field twice", b'{"domains": null, ' + DOCUMENT[1:]),
    _listed("none", [], {"agents": [], "count": 0}),
    _listed("with a count of its own", ["agt_1"], {"agents": [AGENT], "count": 99}),
    _listed(
        "with unknown values", ["a"], {"agents": [AGENT | {"id": "a", "position": "?"}], "count": 1}
    ),
    _listed("with unknown fields", ["agt_1"], {"agents": [AGENT | {"x": {}}], "count": 1, "y": 1}),
    _listed("10,000 at once", ["agt_1"] * 10_000, {"agents": [AGENT] * 10_000, "count": 10_000}),
    _listed(
        "created on a day", ["agt_1"], {"agents": [AGENT | {"createdAt": "2026-01-15"}], "count": 1}
    ),
    one("an empty list of domains", Returns(()), says({"domains": []})),
    one(
        "half a character in a domain",
        Returns(("\ud800",)),
        answer(200, b'{"domains": ["\\ud800"]}'),
    ),
    evolve(one("raw null", Returns(None), says(None)), call="raw"),
    evolve(one("raw text", Returns("x"), says("x")), call="raw"),
)

DOCUMENTS: tuple[Case, ...] = (
    *_BROKEN,
    *_ROOTS,
    *_AGENTS,
    *_FINE,
    evolve(
        one(
            "204 without a body", Raises(ResponseDecodeError, "empty"), answer(204, b"", length="")
        ),
        retry=TWICE,
    ),
)
