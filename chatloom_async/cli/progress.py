"""What is told on stderr while an audit runs: a bar, and notes of requests that were repeated.

The bar is drawn by ``rich`` at the caller's ticks, without a thread; requests are counted by an
observer. Not here: what it observes (``events``).
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO
from urllib.parse import unquote

from attrs import define, field
from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text

from chatloom_async.audit.text import duration, plural, visible
from chatloom_async.cli.streams import tell
from chatloom_async.events import AttemptEnded, CallEnded, Event

TICK = 0.1  # seconds between two drawings
_WINDOW = 5.0  # seconds over which requests per second are told
_NARROWEST = 40
_WIDE = 110  # columns of a terminal that has room for a long bar
_BARS = (12, 30)  # columns of the bar on a narrow and on a wide terminal
_BESIDE = 4  # columns of the spinner, and between it, the bar and the figures
_WORDS = {
    "stale": "lost connection",
    "disconnected": "lost connection",
    "cut off": "cut answer",
    "connect": "no connection",
    "protocol": "no HTTP",
    "dns": "DNS",
    "tls": "TLS",
}
# Answered in the end, failed in the end, failed and repeated.
_COLOURS = {"✓": "green", "✗": "red", "↻": "yellow"}
_TIMES = "\N{MULTIPLICATION SIGN}"


@define
class Progress:
    """A bar with the figures beside it, on a terminal; elsewhere nothing but notes, if wanted."""

    stream: TextIO
    notes_anywhere: bool = False
    _bar: Bar = field(init=False)
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
            speed_estimate_period=_WINDOW,
        )
        self._bar.add_task("workspaces", total=None, figures="")
        self._bar.add_task("requests", total=None, visible=False)

    def show(self, *, done: int, total: int, requests: int, refusals: int, gaps: int) -> None:
        """Draw how far a run has come; of the figures that do not fit in a line the last go."""
        audited, made = self._bar.tasks
        self._bar.update(made.id, completed=requests)
        parts = [plural(gaps, "gap"), plural(refusals, "refusal")]
        parts.append(f"{made.speed or 0:,.0f} requests/s")
        if 0 < done < total:
            left = (audited.elapsed or 0) / done * (total - done)
            parts.insert(0, f"{duration(left)} left")
        room = max(self._bar.console.width, _NARROWEST) - self._long - _BESIDE
        line = f"{done:,} of {plural(total, 'workspace')}"
        for part in parts:
            if len(f"{line} · {part}") > room:
                break
            line = f"{line} · {part}"
        with self._drawing():
            self._bar.start()
            self._bar.update(audited.id, completed=done, total=total, figures=line, refresh=True)

    def note(self, sign: str, text: str) -> None:
        """Print a line that stays, behind one of the signs that have a colour."""
        line = f"{sign} {visible(text)}"
        if not self._bar.disable:
            # Text, never a str: rich would take what stands in brackets for markup.
            with self._drawing():
                self._bar.console.print(Text(line, _COLOURS[sign]), soft_wrap=True)
        elif self.notes_anywhere:
            tell(line)

    def close(self) -> None:
        """Leave the terminal clean."""
        with self._drawing():
            self._bar.stop()

    @contextmanager
    def _drawing(self) -> Iterator[None]:
        """Draw no more when the terminal is gone: the run goes on without it."""
        try:
            yield
        except (OSError, ValueError):
            self._bar.disable = True


@define(eq=False)
class Counts:
    """What the requests of an audit came to."""

    names: Mapping[str, str]  # of the workspaces, by the fingerprints of their keys
    progress: Progress | None = None  # where failures are told of
    requests: int = 0  # answered, failed or given up
    refusals: int = 0  # answers with status 429
    retries: Counter[str] = field(factory=Counter[str])  # by what they followed
    _failures: dict[int, str] = field(factory=dict[int, str])  # the last one of each call
    _untold: dict[int, AttemptEnded] = field(factory=dict[int, AttemptEnded])

    def observe(self, event: Event) -> None:
        """Take in what a pool tells."""
        if isinstance(event, AttemptEnded):
            self._attempt(event)
        elif isinstance(event, CallEnded):
            self._tell_failure("✗", event.call)
            self._failures.pop(event.call, None)

    def _attempt(self, event: AttemptEnded) -> None:
        self.requests += 1
        self.refusals += event.outcome == "429"
        before = self._failures.get(event.call)
        if before is not None:
            self.retries[before] += 1
        if not event.outcome.startswith("2"):
            self._failures[event.call] = _WORDS.get(event.outcome, event.outcome)
            self._untold[event.call] = event
            # A call that this failure ends does so before the loop comes to anything else.
            asyncio.get_running_loop().call_soon(self._tell_failure, "↻", event.call)
        elif before is not None:
            self._tell("✓", event, f"answered after {plural(event.number, 'request')}")

    def _tell_failure(self, sign: str, call: int) -> None:
        event = self._untold.pop(call, None)
        if event is not None and event.outcome != "cancelled":
            self._tell(sign, event, self._failures[call])

    def _tell(self, sign: str, event: AttemptEnded, what: str) -> None:
        if self.progress is not None:
            _, agent, end = event.path.rsplit("/", 2)
            whose = unquote(agent) if end == "allowed-domains" else "its agents"
            self.progress.note(sign, f"{self.names.get(event.key, '')} · {whose}: {what}")

    def summary(self) -> str:
        """Return one sentence: how many requests, how many of them retries, and after what."""
        retried = self.retries.total()
        made = plural(self.requests, "request")
        if not retried:
            return f"{made}, none of them retried"
        what = "a retry" if retried == 1 else "retries"
        causes = [f"{cause} {_TIMES}{count}" for cause, count in self.retries.most_common()]
        return f"{made}, {retried:,} of them {what} after {', '.join(causes)}"
