"""Answers compared with the API reference."""

import json
from collections.abc import Callable

import pytest

from chatloom_async.cli.reach import Check
from chatloom_async.cli.reference import agents_checks, domains_checks, error_check
from chatloom_async.transport import Response
from tests.faults.case import AGENT

NEWER = {**AGENT, "id": "b", "createdAt": "2026-02-01T00:00:00Z"}
ODD = {**AGENT, "primaryColor": "red", "position": "center", "status": "paused"}
UNUSUAL = "position 'center', primaryColor 'red', status 'paused'"
MORE = AGENT | dict.fromkeys("abcd")


def error_checks(body: bytes) -> list[Check]:
    return [error_check(Response(404, {}, body))]


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
    ],
)
def test_an_answer_is_compared(
    compare: Callable[[bytes], list[Check]], sent: object, verdict: str, message: str
) -> None:
    ranks = ("ok", "note", "problem")
    worst = max(compare(json.dumps(sent).encode()), key=lambda check: ranks.index(check.verdict))
    assert worst.verdict == verdict
    assert message in worst.message


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (404, b"<html>", "a web page came"),
        (410, b'{"error": "gone"}', "answered with 410, not 404"),
    ],
)
def test_what_is_no_answer_to_an_unknown_agent_is_a_problem(
    status: int, body: bytes, message: str
) -> None:
    check = error_check(Response(status, {}, body))
    assert (check.verdict, message in check.message) == ("problem", True)
