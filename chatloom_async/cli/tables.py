"""Tables on standard output: by ``rich`` on a terminal, plain columns elsewhere and without it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Literal, TextIO

from attrs import frozen

from chatloom_async.text import visible, width

_MOST = 120  # characters of a cell; the whole text is in the JSON lines
_GAP = "  "
_STYLES = {"high": "bold red", "medium": "yellow", "low": "cyan"}


@frozen
class Table:
    """Rows of text under a title; ``numbers`` are the columns that stand flush right.

    Cells may hold anything; they are made fit for printing when drawn.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[int] = frozenset()
    footer: Sequence[str] = ()
    note: str = ""


def draw(table: Table, stream: TextIO) -> None:
    """Print the table; nothing but its text ever reaches the terminal."""
    if stream.isatty():
        try:
            _draw_rich(table, stream)
        except ImportError:
            pass
        else:
            return
    stream.write("\n".join(_lines(table)) + "\n\n")


def _lines(table: Table) -> list[str]:
    rows = [[visible(cell, _MOST) for cell in row] for row in table.rows]
    foot = [list(table.footer)] if table.footer else []
    body = [list(table.columns), *rows, *foot]
    widths = [max(width(row[column]) for row in body) for column in range(len(table.columns))]
    rule = _GAP.join("─" * size for size in widths)
    lines = [_line(row, widths, table.numbers) for row in body]
    ends = [rule, lines[-1]] if foot else []
    middle = lines[1:-1] if foot else lines[1:]
    note = [table.note] if table.note else []
    return [table.title, "", lines[0], rule, *middle, *ends, *note]


def _line(row: Sequence[str], widths: Sequence[int], numbers: frozenset[int]) -> str:
    cells: list[str] = []
    for column, (cell, size) in enumerate(zip(row, widths, strict=True)):
        fill = " " * (size - width(cell))
        cells.append(fill + cell if column in numbers else cell + fill)
    return _GAP.join(cells).rstrip()


def _draw_rich(table: Table, stream: TextIO) -> None:
    from rich import box  # noqa: PLC0415 - an extra, and slow to import
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table as Grid  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    # Text, never a str: rich would take what stands in brackets for markup.
    grid = Grid(
        title=Text(table.title, "bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_footer=bool(table.footer),
        pad_edge=False,
    )
    for number, column in enumerate(table.columns):
        foot = Text(table.footer[number], "bold") if table.footer else ""
        side: Literal["left", "right"] = "right" if number in table.numbers else "left"
        grid.add_column(Text(column), foot, justify=side, overflow="fold")
    for row in table.rows:
        cells = [visible(cell, _MOST) for cell in row]
        grid.add_row(*(Text(cell, _STYLES.get(cell, "")) for cell in cells))
    console = Console(file=stream, width=shutil.get_terminal_size().columns)
    console.print(grid)
    if table.note:
        console.print(Text(table.note, "dim"))
