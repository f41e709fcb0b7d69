"""What the tables at the end of an audit say."""

import io

import pytest

from chatloom_async.audit.judge import Judge
from chatloom_async.audit.results import Finding, WorkspaceAudit
from chatloom_async.cli.summary import Overview
from chatloom_async.models import Gap
from tests.audit.samples import agent, workspace
from tests.cli.terminals import Terminal

DIGITS = "".join(f"{number:02}" for number in range(90))


def overview(*audits: WorkspaceAudit) -> Overview:
    collected = Overview()
    for audit in audits:
        collected.add(audit)
    collected.compare(Judge())
    return collected


def shown(*audits: WorkspaceAudit) -> list[str]:
    stream = io.StringIO()
    overview(*audits).draw(stream)
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("long", [f"{DIGITS}_.example", f"'{DIGITS}é"])
def test_a_domain_that_a_message_quotes_is_not_told_twice(long: str) -> None:
    text = "\n".join(shown(workspace("acme", agent("a1", domains=(long,)))))
    assert text.count(long[:40]) == 1
    assert "is no" in text


def test_the_order_of_the_tables_is_that_of_names() -> None:
    trouble = (Finding("url", "high", "a", None, "m"),), (Gap("a", "E", 500, "m"),)
    audits = [WorkspaceAudit(f"w{number:02}", (agent("a"),), *trouble) for number in range(60)]
    forwards = shown(*audits)
    assert forwards == shown(*reversed(audits))
    findings = [line.split()[1] for line in forwards if line.startswith("high ")]
    assert findings == [f"w{number:02}" for number in range(40)]


def test_what_concerns_several_comes_last_of_its_severity() -> None:
    shared = agent("a1", domains=("s.example",))
    lines = shown(workspace("beta", shared, agent("b2", domains=())), workspace("acme", shared))
    assert [line.split()[1] for line in lines if line.startswith("low ")] == ["beta", "Across"]
    assert any(line.endswith("allowed by 2 workspaces: acme, beta") for line in lines)


def test_what_is_left_out_is_said_to_be_in_the_file() -> None:
    lines = shown(*(workspace(f"w{number}", agent("a", domains=())) for number in range(43)))
    assert lines.count("… and 3 more: all are in the JSON lines of --out FILE") == 2


@pytest.mark.parametrize(("columns", "wide"), [("80", False), ("140", True)])
def test_the_table_of_workspaces_fits_80_columns(
    columns: str, *, wide: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    audit = workspace("a-workspace-with-a-longer-name", agent("a1", domains=("*", "co.uk")))
    stream = Terminal()
    overview(audit).draw(stream)
    assert ("requests" in stream.getvalue()) is wide
    assert max(map(len, shown(audit))) < 140
