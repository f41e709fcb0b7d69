"""Tables, on terminals of any width and off them."""

import io
import re

import pytest
from rich.cells import cell_len

from chatloom_async.cli.tables import Table, draw, write_folded
from tests.cli.terminals import HOSTILE, Terminal

SENTENCE = "'shop.example' is a name that only one machine or network knows"
AGENT = "agt_0123456789abcdef Sales Assistant"
FOUR = ("severity", "workspace", "agent", "what")


def drawn(table: Table, monkeypatch: pytest.MonkeyPatch, columns: int) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = Terminal()
    draw(table, stream)
    return re.sub(r"\x1b\[[\d;]*m", "", stream.getvalue()).splitlines()


def piped(table: Table) -> list[str]:
    stream = io.StringIO()
    draw(table, stream)
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("columns", [40, 80, 140])
def test_a_terminal_shows_it_all_within_its_width(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [("high", "W" * 50, AGENT, SENTENCE), ("low", "日本" * 30, AGENT, "x" * 300)]
    shown = drawn(Table("t", FOUR, rows, note="more " * 40), monkeypatch, columns)
    assert max(map(cell_len, shown)) <= columns
    assert "".join(shown).count("x") >= 300
    assert "".join(shown).count("W") == 50


def test_a_narrow_terminal_does_without_spare_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    names, row, last = ("name", "spared", "n"), ("N" * 36, "S", "1"), ("all", "S", "22")
    numbers, spare = frozenset({1, 2}), frozenset({1})
    table = Table("t", names, [row], numbers=numbers, footer=last, spare=spare)
    assert "spared" in drawn(table, monkeypatch, 60)[2]
    narrow = drawn(table, monkeypatch, 44)
    assert "spared" not in narrow[2]
    assert narrow[4] == f"{'N' * 36}    1"
    assert narrow[6].split() == ["all", "22"]


def test_rows_become_lists_where_a_table_has_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table("t", ("", "name", "what"), [("ok", "N" * 20, ""), ("note", "n", "x y")])
    shown = ["ok", f"name: {'N' * 20}", "", "note", "name: n", "what: x y"]
    assert drawn(table, monkeypatch, 30)[2:8] == shown


def test_a_row_stays_one_line_off_a_terminal() -> None:
    text = "word " * 60
    shown = piped(Table("t", ("a", "b"), [(AGENT, text)]))
    assert shown[4] == f"{AGENT}   {text}".rstrip()


def test_columns_stay_in_line_beside_wide_characters() -> None:
    table = Table("t", ("name", "n"), [("日本", "1"), ("abcd", "22")], numbers=frozenset({1}))
    assert piped(table)[4:6] == ["日本    1", "abcd   22"]


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()])
def test_neither_markup_nor_orders_are_taken_from_a_cell(stream: io.StringIO) -> None:
    draw(Table("[red]title", ("[i]column",), [(HOSTILE,), ("high",)]), stream)
    shown = stream.getvalue()
    assert "[bold]\\x1b[2J\\u202egnp\\ud800\\nred[/bold]" in shown
    assert "[red]title" in shown
    assert "[i]column" in shown


def test_a_line_is_folded_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    for stream, lines in ((Terminal(), 2), (io.StringIO(), 1)):
        write_folded(SENTENCE, stream)
        assert len(stream.getvalue().splitlines()) == lines
