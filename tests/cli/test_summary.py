"""What the tables at the end of an audit say."""

import io
from datetime import UTC, datetime

import pytest

from chatloom_async.audit.findings import agent_findings
from chatloom_async.audit.judge import Judge
from chatloom_async.audit.results import AuditedAgent, Finding, Gap, WorkspaceAudit
from chatloom_async.cli.summary import Overview
from tests.cli.terminals import Terminal

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DIGITS = "".join(f"{number:02}" for number in range(90))


def piped(thing: Overview) -> list[str]:
    stream = io.StringIO()
    thing.draw(stream)
    return stream.getvalue().splitlines()


def agent(agent_id: str, *domains: str) -> AuditedAgent:
    look = ("#611F69", "#764ba2", "bottom-right", "modern", "active")
    return AuditedAgent(agent_id, "Helper", *look, NOON, domains)


def workspace(name: str, *agents: AuditedAgent) -> WorkspaceAudit:
    found = tuple(finding for each in agents for finding in agent_findings(each))
    return WorkspaceAudit(name, agents, found, requests=7, retried=3)


def overview(*audits: WorkspaceAudit) -> Overview:
    collected = Overview()
    for audit in audits:
        collected.add(audit)
    collected.compare(Judge())
    return collected


def test_a_message_is_shown_to_its_end() -> None:
    long = "reason " * 40 + "end"
    gap = Gap(None, "APIStatusError", 418, long)
    shown = piped(overview(WorkspaceAudit("acme", gaps=(gap,))))
    assert any(line.endswith("reason end") for line in shown)


@pytest.mark.parametrize("long", [f"{DIGITS}_.example", f"'{DIGITS}é"])
def test_a_domain_that_a_message_quotes_is_not_told_twice(long: str) -> None:
    shown = "\n".join(piped(overview(workspace("acme", agent("a1", long)))))
    assert f"{long[:40]}" in shown
    assert shown.count(long[:40]) == 1
    assert "is no" in shown


def test_the_order_of_the_tables_does_not_depend_on_who_was_first() -> None:
    audits = [
        WorkspaceAudit(
            f"w{number:02}",
            (agent("a", "one.example", "two.example"),),
            (Finding("url", "high", "a", None, "m"),),
            (Gap("a", "E", 500, "m"),),
        )
        for number in range(60)
    ]
    forwards = piped(overview(*audits))
    assert forwards == piped(overview(*reversed(audits)))
    findings = [line.split()[1] for line in forwards if line.startswith("high ")]
    assert findings == [f"w{number:02}" for number in range(40)]


def test_workspaces_that_share_a_domain_are_named_in_order() -> None:
    shown = piped(overview(*(workspace(name, agent("a", "s.example")) for name in "cab")))
    assert any(line.endswith("'s.example' allowed by 3 workspaces: a, b, c") for line in shown)


def test_what_concerns_several_workspaces_comes_last_of_its_severity() -> None:
    shown = piped(
        overview(
            workspace("acme", agent("a1", "s.example")),
            workspace("beta", agent("b1", "s.example"), agent("b2")),
        )
    )
    low = [line for line in shown if line.startswith("low ")]
    assert [line.split()[1] for line in low] == ["beta", "Across"]


def test_what_is_left_out_is_said_to_be_in_the_file() -> None:
    shown = piped(overview(*(workspace(f"w{number}", agent("a")) for number in range(43))))
    assert shown.count("… and 3 more: all are in the JSON lines of --out FILE") == 2


def test_the_table_of_workspaces_fits_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    audits = [workspace("a-workspace-with-a-longer-name", agent("a1", "*", "co.uk"), agent("a2"))]
    heads = []
    for columns in ("80", "140"):
        monkeypatch.setenv("COLUMNS", columns)
        stream = Terminal()
        overview(*audits).draw(stream)
        assert max(map(len, piped(overview(*audits)))) < 140
        heads.append("requests" in stream.getvalue())
    assert heads == [False, True]
