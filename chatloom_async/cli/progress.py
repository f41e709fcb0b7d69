"""Progress on stderr while an audit runs, drawn by ``rich`` at the caller's ticks: no thread."""

import time
from collections import deque
from typing import TextIO

from attrs import define, field
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


@define
class Progress:
    """A bar with the figures beside it, on a terminal; elsewhere nothing but notes, if wanted."""

    stream: TextIO
    notes_anywhere: bool = False
    _started: float = field(factory=time.monotonic, init=False)
    _samples: deque[tuple[float, int]] = field(factory=deque[tuple[float, int]], init=False)
    _bar: Bar = field(init=False)
    _task: TaskID = field(init=False)
    _long: int = field(init=False)

    def __attrs_post_init__(self) -> None:
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

    def show(self, *, done: int, total: int, requests: int, refusals: int, gaps: int) -> None:
        """Draw how far a run has come; of the figures that do not fit in a line the last go."""
        now = time.monotonic()
        parts = [plural(gaps, "gap"), plural(refusals, "refusal")]
        parts.append(f"{self._rate(requests, now):,.0f} requests/s")
        if 0 < done < total:
            left = (now - self._started) / done * (total - done)
            parts.insert(0, f"{duration(left)} left")
        room = max(self._bar.console.width, _NARROWEST) - self._long - _BESIDE
        line = f"{done:,} of {plural(total, 'workspace')}"
        for part in parts:
            if len(f"{line} · {part}") > room:
                break
            line = f"{line} · {part}"
        self._bar.start()
        self._bar.update(self._task, completed=done, total=total, figures=line)
        self._bar.refresh()

    def _rate(self, requests: int, now: float) -> float:
        """Return how many requests a second were made of late."""
        self._samples.append((now, requests))
        while len(self._samples) > 1 and now - self._samples[0][0] > _WINDOW:
            self._samples.popleft()
        then, before = self._samples[0]
        return (requests - before) / (now - then) if now > then else 0.0

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
