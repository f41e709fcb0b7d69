"""Progress on stderr while an audit runs, drawn by ``rich`` at the caller's ticks: no thread."""

from __future__ import annotations

import time
from collections import deque
from typing import TextIO

from attrs import define, field, frozen
from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text

from chatloom_async.audit.text import duration, plural, visible
from chatloom_async.cli.streams import tell

TICK = 0.1
"""Seconds between two drawings."""

_WINDOW = 5.0  # seconds over which requests per second are told
_NARROWEST = 40
_WIDE = 110  # columns of a terminal that has room for a long bar
_BARS = (12, 30)  # columns of the bar on a narrow and on a wide terminal
_BESIDE = 4  # columns of the spinner, and between it, the bar and the figures


@frozen
class Standing:
    """How far a run has come; ``total`` is None while nobody knows it."""

    done: int
    total: int | None
    requests: int
    refusals: int
    gaps: int


@define
class Speed:
    """How far it is, requests per second of late, and what is left at the pace so far."""

    _started: float = field(factory=time.monotonic)
    _samples: deque[tuple[float, int]] = field(factory=deque[tuple[float, int]])

    def tell(self, standing: Standing, room: int) -> str:
        """Return one line of figures; of those that do not fit into ``room`` the last go."""
        now = time.monotonic()
        self._samples.append((now, standing.requests))
        while len(self._samples) > 1 and now - self._samples[0][0] > _WINDOW:
            self._samples.popleft()
        (then, before), took = self._samples[0], now - self._started
        rate = (standing.requests - before) / (now - then) if now > then else 0.0
        parts = [plural(standing.gaps, "gap"), plural(standing.refusals, "refusal")]
        parts.append(f"{rate:,.0f} requests/s")
        if standing.total and 0 < standing.done < standing.total:
            left = took / standing.done * (standing.total - standing.done)
            parts.insert(0, f"{duration(left)} left")
        line = plural(standing.done, "workspace")
        if standing.total is not None:
            line = f"{standing.done:,} of {plural(standing.total, 'workspace')}"
        for part in parts:
            if len(f"{line} · {part}") > room:
                break
            line = f"{line} · {part}"
        return line


@define
class Progress:
    """A bar with the figures beside it, on a terminal; elsewhere nothing but notes, if wanted."""

    stream: TextIO
    notes_anywhere: bool = False
    _speed: Speed = field(factory=Speed, init=False)
    _bar: Bar = field(init=False)
    _task: TaskID = field(init=False)
    _long: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Make the bar; the first drawing starts it."""
        console = Console(file=self.stream)
        self._long = _BARS[console.width >= _WIDE]
        self._bar = Bar(
            SpinnerColumn(),
            BarColumn(bar_width=self._long),
            TextColumn("{task.fields[figures]}", markup=False),
            console=console,
            auto_refresh=False,
            transient=True,
            disable=not self.stream.isatty(),
        )
        self._task = self._bar.add_task("", total=None, figures="")

    def show(self, standing: Standing) -> None:
        """Draw the state of things."""
        room = max(self._bar.console.width, _NARROWEST) - self._long - _BESIDE
        self._bar.start()
        self._bar.update(
            self._task,
            completed=standing.done,
            total=standing.total,
            figures=self._speed.tell(standing, room),
        )
        self._bar.refresh()

    def note(self, text: str, *, good: bool, last: bool = False) -> None:
        """Print a line that stays; good news or not, and whether it is the last word."""
        line = f"{'✓' if good else '✗' if last else '↻'} {visible(text)}"
        if not self._bar.disable:
            colour = "green" if good else "red" if last else "yellow"
            # Text, never a str: rich would take what stands in brackets for markup.
            self._bar.console.print(Text(line, colour), soft_wrap=True)
        elif self.notes_anywhere:
            tell(line)

    def close(self) -> None:
        """Leave the terminal clean."""
        self._bar.stop()
