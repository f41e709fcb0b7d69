"""Tables on standard output: laid out here, coloured by ``rich`` on a terminal that has it.

On a terminal a table fits its width; elsewhere every row is one whole line, as ``grep`` likes it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import TextIO

from attrs import evolve, frozen

from chatloom_async.audit.text import visible, width

_MOST = 120  # characters of a cell, the last one of a row excepted
_GAP = "  "
_INDENT = 4
_LEAST = 32  # columns worth folding a text into; with fewer it goes below its row
_CUT = 8  # columns no cell is cut below
_STYLES = {"high": "bold red", "medium": "yellow", "low": "cyan"}


@frozen
class Line:
    """A line to print; ``styled`` characters of it have the style, None: all."""

    text: str = ""
    style: str = ""
    styled: int | None = None


Printer = Callable[[Line], None]


@frozen
class Table:
    """Rows of text under a title; ``numbers`` are the columns that stand flush right.

    Cells may hold anything; they are made fit for printing when drawn. ``spare`` are columns that a
    narrow terminal does without. The last column is never cut: where room is short it is folded.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[int] = frozenset()
    footer: Sequence[str] = ()
    note: str = ""
    spare: frozenset[int] = frozenset()


@frozen
class Layout:
    """Where the columns of a table stand.

    Attributes:
        widths: of each column, in columns of the terminal.
        numbers: columns that stand flush right.
        below: how wide the last column's text may be that stands below its row; 0: it stands in it.

    """

    widths: Sequence[int]
    numbers: frozenset[int]
    below: int = 0

    def lines(self, row: Sequence[str]) -> list[str]:
        """Return a row as lines."""
        *cells, last = row
        if self.below:
            indented = [" " * _INDENT + line for line in folded(last, self.below)]
            return [self._line(cells), *indented]
        first, *rest = folded(last, self.widths[-1])
        margin = " " * (sum(self.widths[:-1]) + len(_GAP) * len(cells))
        return [self._line([*cells, first]), *(margin + line for line in rest)]

    def rule(self) -> str:
        """Return the line under the heads."""
        return _GAP.join("─" * size for size in self.widths)

    def _line(self, cells: Sequence[str]) -> str:
        shown: list[str] = []
        for column, (cell, size) in enumerate(zip(cells, self.widths, strict=False)):
            text = _cut(cell, size)
            fill = " " * (size - width(text))
            shown.append(fill + text if column in self.numbers else text + fill)
        return _GAP.join(shown).rstrip()


def draw(table: Table, stream: TextIO) -> None:
    """Print the table; nothing but its text ever reaches the terminal."""
    room = shutil.get_terminal_size().columns if stream.isatty() else None
    write = _printer(stream)
    for line in _lines(table, room):
        write(line)


def folded(text: str, room: int) -> list[str]:
    """Return the text in lines of at most ``room`` columns, broken between words where it can."""
    lines = [""]
    for word in text.split(" "):
        together = f"{lines[-1]} {word}" if lines[-1] else word
        if width(together) <= room:
            lines[-1] = together
            continue
        *whole, rest = _pieces(word, room)
        lines += [*whole, rest]
    return lines if lines[0] or len(lines) == 1 else lines[1:]


def _pieces(word: str, room: int) -> list[str]:
    """Return a word in pieces no wider than ``room``: one, unless it is longer than a line."""
    pieces = [""]
    for letter in word:
        if width(pieces[-1] + letter) > room and pieces[-1]:
            pieces.append("")
        pieces[-1] += letter
    return pieces


def _cut(text: str, size: int) -> str:
    if width(text) <= size:
        return text
    while text and width(text) >= size:
        text = text[:-1]
    return f"{text}…"


def _lines(table: Table, room: int | None) -> Iterator[Line]:
    table = _fit_for_printing(table)
    layout = _natural(table)
    if room is not None and _total(layout.widths) > room:
        table = _without_spare(table)
        layout = _within(_natural(table), room)
    yield Line(table.title, "bold")
    yield Line()
    yield from (Line(text, "bold") for text in layout.lines(table.columns))
    yield Line(layout.rule(), "dim")
    for row in table.rows:
        first, *more = layout.lines(row)
        yield Line(first, _STYLES.get(row[0], ""), len(row[0]))
        yield from map(Line, more)
    if table.footer:
        yield Line(layout.rule(), "dim")
        yield from (Line(text, "bold") for text in layout.lines(table.footer))
    if table.note:
        yield from (Line(text, "dim") for text in folded(table.note, room or len(table.note)))
    yield Line()


def _fit_for_printing(table: Table) -> Table:
    rows = [(*(visible(cell, _MOST) for cell in row[:-1]), visible(row[-1])) for row in table.rows]
    return evolve(table, rows=rows)


def _without_spare(table: Table) -> Table:
    kept = [column for column in range(len(table.columns)) if column not in table.spare]

    def fewer(row: Sequence[str]) -> tuple[str, ...]:
        return tuple(row[column] for column in kept) if row else ()

    return evolve(
        table,
        columns=fewer(table.columns),
        rows=[fewer(row) for row in table.rows],
        footer=fewer(table.footer),
        numbers=frozenset(kept.index(column) for column in table.numbers - table.spare),
    )


def _natural(table: Table) -> Layout:
    """Return the layout in which nothing is cut or folded."""
    body = [table.columns, *table.rows, *([table.footer] if table.footer else [])]
    widths = [max(width(row[column]) for row in body) for column in range(len(table.columns))]
    return Layout(widths, table.numbers)


def _within(layout: Layout, room: int) -> Layout:
    """Return a layout no wider than ``room``: the last column folds, then the widest are cut."""
    *widths, last = layout.widths
    left = room - _total(widths) - len(_GAP)
    if last <= left:
        return layout
    if last < _LEAST:
        return evolve(layout, widths=_narrowed(layout.widths, room))
    if left >= _LEAST:
        return evolve(layout, widths=[*widths, left])
    return evolve(layout, widths=_narrowed(widths, room), below=max(room - _INDENT, _CUT))


def _narrowed(widths: Sequence[int], room: int) -> list[int]:
    narrowed = list(widths)
    while _total(narrowed) > room and max(narrowed) > _CUT:
        narrowed[narrowed.index(max(narrowed))] -= 1
    return narrowed


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _printer(stream: TextIO) -> Printer:
    """Return what prints a line: in its style on a terminal with ``rich``, else without."""
    if stream.isatty():
        try:
            return _rich_printer(stream)
        except ImportError:
            pass
    return lambda line: print(line.text, file=stream)


def _rich_printer(stream: TextIO) -> Printer:
    from rich.console import Console  # noqa: PLC0415 - an extra, and slow to import
    from rich.text import Text  # noqa: PLC0415

    console = Console(file=stream)

    def write(line: Line) -> None:
        # Text, never a str: rich would take what stands in brackets for markup.
        text = Text(line.text)
        text.stylize(line.style, 0, line.styled)
        console.print(text, soft_wrap=True)

    return write
