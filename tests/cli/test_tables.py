"""What the command line looks like: tables, progress and help, on terminals of any width."""

import io
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from chatloom_async.audit.findings import agent_findings
from chatloom_async.audit.results import AuditedAgent, Finding, Gap, WorkspaceAudit
from chatloom_async.audit.text import width
from chatloom_async.cli.main import main
from chatloom_async.cli.progress import PlainProgress, RichProgress, Standing
from chatloom_async.cli.summary import Overview
from chatloom_async.cli.tables import Table, draw
from chatloom_async.testing import Sandbox, make_workspace

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SENTENCE = "'shop.example' is a name that only one machine or network knows"
DIGITS = "".join(f"{number:02}" for number in range(90))
AGENT = "agt_0123456789abcdef Sales Assistant"

Drawn = Callable[..., list[str]]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(params=["rich", "plain"])
def drawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Drawn:
    """Return the lines of a table on a terminal of some width, with ``rich`` and without."""
    if request.param == "plain":
        monkeypatch.setitem(sys.modules, "rich.console", None)

    def lines(thing: Table | Overview, columns: int = 80) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(columns))
        stream = Terminal()
        thing.draw(stream) if isinstance(thing, Overview) else draw(thing, stream)
        return re.sub(r"\x1b\[[\d;]*m", "", stream.getvalue()).splitlines()

    return lines


def piped(thing: Table | Overview) -> list[str]:
    stream = io.StringIO()
    thing.draw(stream) if isinstance(thing, Overview) else draw(thing, stream)
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
    collected.compare()
    return collected


# Tables


@pytest.mark.parametrize("columns", [40, 80, 140])
def test_no_line_is_wider_than_the_terminal(drawn: Drawn, columns: int) -> None:
    rows = [("high", "W" * 50, AGENT, SENTENCE), ("low", "日本" * 30, AGENT, "x" * 300)]
    table = Table("t", ("severity", "workspace", "agent", "what"), rows, note="more " * 40)
    assert max(map(width, drawn(table, columns))) <= columns


def test_the_last_column_folds_between_words_and_below_itself(drawn: Drawn) -> None:
    table = Table("t", ("agent", "what was found"), [(AGENT, SENTENCE)])
    assert drawn(table)[4:7] == [
        f"{AGENT}  'shop.example' is a name that only one",
        f"{' ' * len(AGENT)}  machine or network knows",
        "",
    ]


def test_a_text_goes_below_its_row_where_little_room_is_left(drawn: Drawn) -> None:
    table = Table("t", ("severity", "agent", "what"), [("high", AGENT, SENTENCE)])
    assert drawn(table, 60)[2:8] == [
        "severity  agent",
        "    what",
        f"────────  {'─' * len(AGENT)}",
        f"high      {AGENT}",
        "    'shop.example' is a name that only one machine or",
        "    network knows",
    ]


def test_a_short_last_column_stays_in_its_row_however_long_the_first(drawn: Drawn) -> None:
    table = Table("t", ("id", "created"), [("I" * 100, "2026-03-01")])
    assert drawn(table)[4] == f"{'I' * 67}…  2026-03-01"


def test_ids_stay_whole_where_names_are_cut(drawn: Drawn) -> None:
    rows = [("high", "W" * 60, AGENT, SENTENCE)]
    shown = drawn(Table("t", ("severity", "workspace", "agent", "what"), rows))
    assert "WWW…  agt_0123456789abcdef Sales" in shown[5]


def test_a_narrow_terminal_does_without_spare_columns(drawn: Drawn) -> None:
    table = Table(
        "t",
        ("name", "spared", "n"),
        [("N" * 36, "S", "1")],
        numbers=frozenset({1, 2}),
        footer=("all", "S", "22"),
        spare=frozenset({1}),
    )
    assert "spared" in drawn(table, 50)[2]
    assert drawn(table, 40)[2:] == [
        f"name{' ' * 32}   n",
        f"{'─' * 36}  ──",
        f"{'N' * 36}   1",
        f"{'─' * 36}  ──",
        f"all{' ' * 33}  22",
        "",
    ]


def test_a_row_stays_one_line_off_a_terminal() -> None:
    text = "word " * 60
    shown = piped(Table("t", ("a", "b"), [(AGENT, text)]))
    assert shown[4] == f"{AGENT}  {text}".rstrip()


def test_a_word_longer_than_the_line_is_broken_and_nothing_of_it_lost(drawn: Drawn) -> None:
    shown = drawn(Table("t", ("a", "b"), [("x", f"the {'日' * 60} end")]))
    assert "".join("".join(shown[4:]).split()) == f"xthe{'日' * 60}end"


def test_agents_are_listed_with_the_day_they_were_made_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Sandbox([make_workspace("acme", "clf_acme", agents=1)]).in_thread() as server:
        monkeypatch.setenv("CHATLOOM_BASE_URL", server.base_url)
        monkeypatch.setenv("CHATLOOM_API_KEY", "clf_acme")
        assert main(["agents"]) == 0
    assert re.search(r"bottom-right +\d{4}-\d\d-\d\d$", capsys.readouterr().out, re.MULTILINE)


# What the tables say


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


def test_a_domain_that_a_message_does_not_quote_is_told() -> None:
    shown = piped(
        overview(
            workspace("acme", agent("a1", "s.example")), workspace("beta", agent("b1", "s.example"))
        )
    )
    assert any(line.endswith("'s.example' allowed by 2 workspaces: acme, beta") for line in shown)


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
    assert any(line.endswith("allowed by 3 workspaces: a, b, c") for line in shown)


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


def test_the_table_of_workspaces_fits_80_columns(drawn: Drawn) -> None:
    audits = [workspace("a-workspace-with-a-longer-name", agent("a1", "*", "co.uk"), agent("a2"))]
    shown = drawn(overview(*audits))
    assert shown[2].split() == ["workspace", "agents", "domains", "findings", "gaps"]
    assert "requests  retried" in drawn(overview(*audits), 140)[2]


# Progress


@pytest.mark.parametrize("kind", [PlainProgress, RichProgress])
def test_the_last_figures_go_where_the_terminal_is_narrow(
    kind: type[PlainProgress | RichProgress], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    stream = Terminal()
    bar = kind(stream)
    bar.show(Standing(done=1530, total=20_000, requests=9, refusals=1204, gaps=317))
    shown = re.sub(r"\x1b\[[\d;?]*\w", "", stream.getvalue())
    bar.close()
    assert "1,530 of 20,000 workspaces · " in shown
    assert "left" in shown
    assert "requests/s" not in shown
    assert "…" not in shown


@pytest.mark.parametrize("kind", [PlainProgress, RichProgress])
def test_a_note_shows_whether_it_is_the_last_word(kind: type[PlainProgress | RichProgress]) -> None:
    stream = Terminal()
    bar = kind(stream)
    bar.note("one", good=True)
    bar.note("two", good=False)
    bar.note("three", good=False, last=True)
    bar.close()
    for told in ("✓ one", "↻ two", "✗ three"):
        assert told in stream.getvalue()


# Help


@pytest.mark.parametrize("command", ["audit", "agents", "domains", "diff", "report", "sandbox"])
def test_the_help_of_a_command_shows_an_example_that_fits_80_columns(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"\n  chatloom-async {command} " in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_the_help_of_audit_tells_the_exit_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    main(["audit", "--help"])
    assert "exit status: 0 " in capsys.readouterr().out
