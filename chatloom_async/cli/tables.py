"""Tables on standard output, drawn by ``rich``.

On a terminal a table fits its width; elsewhere every row is one whole line, as ``grep`` likes it.
"""

import shutil
from collections.abc import Sequence
from io import BytesIO, TextIOWrapper
from typing import TextIO

from attrs import frozen
from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from chatloom_async.audit.text import visible

_MOST = 120  # characters of a cell, the last one of a row excepted
_ENDLESS = 1_000_000  # columns, off a terminal
_LEAST = 12  # columns of a terminal for each of a table; narrower, rows become lists
_SHORT = 8  # characters of a word that stays whole: a number, a severity
_STYLES = {
    "high": "bold red",
    "medium": "yellow",
    "low": "cyan",
    "problem": "bold red",
    "note": "yellow",
    "ok": "green",
}


@frozen
class Table:
    """Rows of text under a title; ``numbers`` are the columns that stand flush right.

    Cells may hold anything: drawing makes them fit. On a narrow terminal ``spare`` columns go.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[int] = frozenset()
    footer: Sequence[str] = ()
    note: str = ""
    spare: frozenset[int] = frozenset()


def draw(table: Table, stream: TextIO) -> None:
    """Print the table; nothing but its text ever reaches the terminal."""
    console = _console(stream)
    every = range(len(table.columns))
    shown: Grid | Text = _grid(table, every)
    natural = console.measure(shown, options=console.options.update_width(_ENDLESS))
    if natural.maximum > console.width:
        columns = [column for column in every if column not in table.spare]
        fits = console.width >= _LEAST * len(columns)
        shown = _grid(table, columns) if fits else _list(table, columns)
    _write(console, stream, Text(visible(table.title), "bold"), Text(), shown)
    if table.note:
        _write(console, stream, Text(visible(table.note), "dim"))
    _write(console, stream, Text())


def write_folded(text: str, stream: TextIO) -> None:
    """Print a line; on a terminal, in lines that fit it."""
    _write(_console(stream), stream, Text(visible(text)))
    stream.flush()


def _console(stream: TextIO) -> Console:
    terminal = stream.isatty()
    # Never the stream itself: rich would end the process when the reader of its file is gone.
    nowhere = TextIOWrapper(BytesIO(), encoding=getattr(stream, "encoding", None) or "utf-8")
    width = shutil.get_terminal_size().columns if terminal else _ENDLESS
    return Console(file=nowhere, force_terminal=terminal, width=width, highlight=False)


def _write(console: Console, stream: TextIO, *parts: Text | Grid) -> None:
    with console.capture() as drawn:
        console.print(*parts, sep="\n")
    stream.writelines(f"{line.rstrip()}\n" for line in drawn.get().split("\n")[:-1])


def _grid(table: Table, columns: Sequence[int]) -> Grid:
    # Text, never a str: rich would take what stands in brackets for markup.
    grid = Grid(box=box.SIMPLE, show_edge=False, pad_edge=False, show_footer=bool(table.footer))
    for column in columns:
        cells = [visible(row[column]) for row in table.rows]
        grid.add_column(
            Text(visible(table.columns[column])),
            Text(visible(table.footer[column])) if table.footer else Text(),
            justify="right" if column in table.numbers else "left",
            overflow="fold",
            no_wrap=column in table.numbers or max(map(len, cells), default=0) <= _SHORT,
        )
    last = len(table.columns) - 1
    for row in table.rows:
        texts = [
            Text(visible(row[column], None if column == last else _MOST)) for column in columns
        ]
        texts[0].stylize(_STYLES.get(row[columns[0]], ""))
        grid.add_row(*texts)
    return grid


def _list(table: Table, columns: Sequence[int]) -> Text:
    """Return the rows one below the other, a line for each cell that holds something."""
    rows = [row for row in (*table.rows, table.footer) if row]
    names = [f"{visible(name)}: " if name else "" for name in table.columns]
    cells = [[f"{names[at]}{visible(row[at])}" for at in columns if row[at]] for row in rows]
    return Text("\n\n".join(map("\n".join, cells)))
