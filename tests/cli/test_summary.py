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


def piped(thing: Overview) -> list[str]:
    stream = io.StringIO()
    thing.draw(stream)
    return stream.getvalue().splitlines()


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
    shown = "\n".join(piped(overview(workspace("acme", agent("a1", domains=(long,))))))
    assert f"{long[:40]}" in shown
    assert shown.count(long[:40]) == 1
    assert "is no" in shown


def test_the_order_of_the_tables_does_not_depend_on_who_was_first() -> None:
    audits = [
        WorkspaceAudit(
            f"w{number:02}",
            (agent("a"),),
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
    shown = piped(
        overview(*(workspace(name, agent("a", domains=("s.example",))) for name in "cab"))
    )
    assert any(line.endswith("'s.example' allowed by 3 workspaces: a, b, c") for line in shown)


def test_what_concerns_several_workspaces_comes_last_of_its_severity() -> None:
    shown = piped(
        overview(
            workspace("acme", agent("a1", domains=("s.example",))),
            workspace("beta", agent("b1", domains=("s.example",)), agent("b2", domains=())),
        )
    )
    low = [line for line in shown if line.startswith("low ")]
    assert [line.split()[1] for line in low] == ["beta", "Across"]


def test_what_is_left_out_is_said_to_be_in_the_file() -> None:
    shown = piped(
        overview(*(workspace(f"w{number}", agent("a", domains=())) for number in range(43)))
    )
    assert shown.count("… and 3 more: all are in the JSON lines of --out FILE") == 2


def test_the_table_of_workspaces_fits_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    audits = [workspace("a-workspace-with-a-longer-name", agent("a1", domains=("*", "co.uk")))]
    heads = []
    for columns in ("80", "140"):
        monkeypatch.setenv("COLUMNS", columns)
        stream = Terminal()
        overview(*audits).draw(stream)
        assert max(map(len, piped(overview(*audits)))) < 140
        heads.append("requests" in stream.getvalue())
    assert heads == [False, True]
