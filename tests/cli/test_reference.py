"""Answers compared with the API reference."""

import json
from collections.abc import Callable
from functools import partial

import pytest

from chatloom_async.cli.reach import Check
from chatloom_async.cli.reference import agents_checks, domains_checks, error_check
from chatloom_async.transport import Response
from tests.faults.case import AGENT

NEWER = {**AGENT, "id": "b", "createdAt": "2026-02-01T00:00:00Z"}
ODD = {**AGENT, "primaryColor": "red", "position": "center", "status": "paused"}
UNUSUAL = "position 'center', primaryColor 'red', status 'paused'"
MORE = AGENT | dict.fromkeys("abcd")


def error_checks(body: bytes, status: int = 404) -> list[Check]:
    return [error_check(Response(status, {}, body))]


@pytest.mark.parametrize(
    ("compare", "sent", "verdict", "message"),
    [
        (agents_checks, {"agents": [], "count": 0}, "ok", "0 agents, every field as documented"),
        (agents_checks, {"agents": None, "count": 0}, "problem", "expected list, got NoneType"),
        (agents_checks, {"agents": [], "count": 7}, "problem", "$.count says 7, and 0 agents came"),
        (agents_checks, {"agents": [AGENT, NEWER], "count": 2}, "problem", "[1] is newer than the"),
        (agents_checks, {"agents": [], "count": 0, "page": 1}, "note", "not documented: page"),
        (agents_checks, {"agents": [ODD], "count": 1}, "note", f"not documented: {UNUSUAL}"),
        (agents_checks, {"agents": [MORE], "count": 1}, "note", "a, b, c and 1 more"),
        (domains_checks, {"domains": ["a.example"]}, "ok", "1 domain of the first agent"),
        (domains_checks, {"domains": "a.example"}, "problem", "$.domains: expected list, got str"),
        (domains_checks, {"domains": [], "since": 1}, "note", "not documented: since"),
        (error_checks, {"error": "Agent not found."}, "ok", "answered as documented"),
        (error_checks, {"message": "no"}, "problem", "$.error: missing"),
        (error_checks, b"<html>", "problem", "a web page came"),
        (partial(error_checks, status=410), {"error": "gone"}, "problem", "with 410, not 404"),
    ],
)
def test_an_answer_is_compared(
    compare: Callable[[bytes], list[Check]], sent: object, verdict: str, message: str
) -> None:
    ranks = ("ok", "note", "problem")
    body = sent if isinstance(sent, bytes) else json.dumps(sent).encode()
    worst = max(compare(body), key=lambda check: ranks.index(check.verdict))
    assert worst.verdict == verdict
    assert message in worst.message
