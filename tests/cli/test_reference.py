"""Answers compared with the API reference."""

import json

import pytest

from chatloom_async.cli.reach import Check
from chatloom_async.cli.reference import agents_checks, domains_checks, error_check
from chatloom_async.transport import Response
from tests.faults.case import AGENT

NEWER = {**AGENT, "id": "b", "createdAt": "2026-02-01T00:00:00Z"}


def worst(checks: list[Check]) -> tuple[str, str]:
    ranks = ("ok", "note", "problem")
    found = max(checks, key=lambda check: ranks.index(check.verdict))
    return found.verdict, found.message


@pytest.mark.parametrize(
    ("sent", "verdict", "message"),
    [
        ({"agents": [], "count": 0}, "ok", "0 agents, every field as documented"),
        ({"agents": None, "count": 0}, "problem", "$.agents: expected list, got NoneType"),
        ({"agents": [], "count": 7}, "problem", "$.count says 7, and 0 agents came"),
        ({"agents": [AGENT, NEWER], "count": 2}, "problem", "$.agents[1] is newer"),
        ({"agents": [], "count": 0, "page": 1}, "note", "not documented: page"),
        (
            {"agents": [AGENT | {"primaryColor": "red", "status": "paused"}], "count": 1},
            "note",
            "not documented: primaryColor 'red', status 'paused'",
        ),
        ({"agents": [AGENT | dict.fromkeys("abcd")], "count": 1}, "note", " and 1 more"),
    ],
)
def test_a_list_of_agents_is_compared(sent: object, verdict: str, message: str) -> None:
    found = worst(agents_checks(json.dumps(sent).encode()))
    assert found[0] == verdict
    assert message in found[1]


@pytest.mark.parametrize(
    ("sent", "verdict", "message"),
    [
        ({"domains": ["a.example"]}, "ok", "1 domain of the first agent"),
        ({"domains": "a.example"}, "problem", "$.domains: expected list, got str"),
        ({"domains": [], "since": 1}, "note", "not documented: since"),
    ],
)
def test_a_list_of_domains_is_compared(sent: object, verdict: str, message: str) -> None:
    assert worst(domains_checks(json.dumps(sent).encode())) == (verdict, message)


@pytest.mark.parametrize(
    ("status", "body", "verdict", "message"),
    [
        (404, b'{"error": "Agent not found."}', "ok", "answered as documented"),
        (404, b'{"message": "no"}', "problem", "$.error: missing"),
        (404, b"<html>", "problem", "a web page came"),
        (410, b'{"error": "gone"}', "problem", "answered with 410, not 404"),
        (200, b'{"domains": []}', "problem", "answered with 200, not 404"),
    ],
)
def test_an_error_is_compared(status: int, body: bytes, verdict: str, message: str) -> None:
    check = error_check(Response(status, {}, body))
    assert check.verdict == verdict
    assert message in check.message
