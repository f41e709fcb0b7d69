"""Progress on stderr while an audit runs: ``rich`` when installed, one plain line otherwise.

Only on a terminal; elsewhere nothing is written. Drawn by the caller's own ticks: no thread.
"""

from __future__ import annotations

import shutil
import time
from collections import deque
from typing import TYPE_CHECKING, Protocol, TextIO

from attrs import define, field, frozen

from chatloom_async.audit.text import duration, plural, visible

if TYPE_CHECKING:
    from rich.progress import Progress as RichBar
    from rich.progress import TaskID

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


class Progress(Protocol):
    """What an audit tells while it runs."""

    def show(self, standing: Standing) -> None:
        """Draw the state of things."""
        ...

    def note(self, text: str, *, good: bool, last: bool = False) -> None:
        """Print a line that stays; good news or not, and whether it is the last word."""
        ...

    def close(self) -> None:
        """Leave the terminal clean."""
        ...


def progress(stream: TextIO, *, verbose: bool = False) -> Progress:
    """Return the best there is for this stream; ``verbose``: write notes off a terminal too."""
    if not stream.isatty():
        return Silent(stream if verbose else None)
    try:
        return RichProgress(stream)
    except ImportError:
        return PlainProgress(stream)


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
class Silent:
    """Nobody watches; notes alone may go to a stream."""

    stream: TextIO | None

    def show(self, standing: Standing) -> None:
        """Draw nothing."""

    def note(self, text: str, *, good: bool, last: bool = False) -> None:
        """Print it if there is a stream for it."""
        if self.stream is not None:
            self.stream.write(_marked(text, good=good, last=last) + "\n")

    def close(self) -> None:
        """Nothing to clean."""


@define
class PlainProgress:
    """One line, written over itself."""

    stream: TextIO
    _speed: Speed = field(factory=Speed, init=False)
    _drawn: int = field(default=0, init=False)

    def show(self, standing: Standing) -> None:
        """Write the line anew."""
        room = max(shutil.get_terminal_size().columns, _NARROWEST) - 1
        line = self._speed.tell(standing, room)
        self.stream.write("\r" + line.ljust(self._drawn))
        self.stream.flush()
        self._drawn = len(line)

    def note(self, text: str, *, good: bool, last: bool = False) -> None:
        """Print a line in its place; the next drawing follows below."""
        self.stream.write("\r" + _marked(text, good=good, last=last).ljust(self._drawn) + "\n")
        self._drawn = 0

    def close(self) -> None:
        """Blank the line."""
        self.stream.write("\r" + " " * self._drawn + "\r")
        self.stream.flush()


@define
class RichProgress:
    """A bar with the figures beside it; raises ImportError without ``rich``."""

    stream: TextIO
    _speed: Speed = field(factory=Speed, init=False)
    _bar: RichBar = field(init=False)
    _task: TaskID = field(init=False)
    _long: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Make the bar."""
        from rich.console import Console  # noqa: PLC0415 - an extra, and slow to import
        from rich.progress import BarColumn, SpinnerColumn, TextColumn  # noqa: PLC0415
        from rich.progress import Progress as Bar  # noqa: PLC0415

        console = Console(file=self.stream)
        self._long = _BARS[console.width >= _WIDE]
        self._bar = Bar(
            SpinnerColumn(),
            BarColumn(bar_width=self._long),
            TextColumn("{task.fields[figures]}", markup=False),
            console=console,
            auto_refresh=False,
            transient=True,
        )
        self._task = self._bar.add_task("", total=None, figures="")

    def show(self, standing: Standing) -> None:
        """Draw the bar; the first time starts it."""
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
        """Print a line above the bar, its text as it is: no markup."""
        from rich.text import Text  # noqa: PLC0415 - an extra

        colour = "green" if good else "red" if last else "yellow"
        line = Text(_marked(text, good=good, last=last), colour)
        self._bar.console.print(line, soft_wrap=True)

    def close(self) -> None:
        """Take the bar away."""
        self._bar.stop()


def _marked(text: str, *, good: bool, last: bool) -> str:
    return f"{'✓' if good else '✗' if last else '↻'} {visible(text)}"
