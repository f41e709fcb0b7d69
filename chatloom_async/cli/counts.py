"""An observer that counts requests, and tells of those that failed and were repeated.

Not here: what is observed (``events``), and where a line is drawn (``cli.progress``).
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from urllib.parse import unquote

from attrs import define, field

from chatloom_async.audit.text import plural
from chatloom_async.cli.progress import Progress
from chatloom_async.events import AttemptEnded, CallEnded, Event

_WORDS = {
    "stale": "lost connection",
    "disconnected": "lost connection",
    "cut off": "cut answer",
    "connect": "no connection",
    "protocol": "no HTTP",
    "dns": "DNS",
    "tls": "TLS",
}
_TIMES = "\N{MULTIPLICATION SIGN}"


@define(eq=False)
class Counts:
    """What the requests of an audit came to."""

    names: Mapping[str, str]  # of the workspaces, by the fingerprints of their keys
    progress: Progress | None = None  # where failures are told of
    requests: int = 0  # answered, failed or given up
    refusals: int = 0  # answers with status 429
    retries: Counter[str] = field(factory=Counter[str])  # by what they followed
    _failures: dict[int, list[str]] = field(factory=dict[int, list[str]])
    _untold: dict[int, AttemptEnded] = field(factory=dict[int, AttemptEnded])

    def observe(self, event: Event) -> None:
        """Take in what a pool tells."""
        if isinstance(event, AttemptEnded):
            self._attempt(event)
        elif isinstance(event, CallEnded):
            self._tell_failure(event.call, last=True)
            self._failures.pop(event.call, None)

    def _attempt(self, event: AttemptEnded) -> None:
        self.requests += 1
        self.refusals += event.outcome == "429"
        before = self._failures.get(event.call, [])
        if before:
            self.retries[before[-1]] += 1
        if not event.outcome.startswith("2"):
            self._failures[event.call] = [*before, _WORDS.get(event.outcome, event.outcome)]
            self._untold[event.call] = event
            # A call that this failure ends does so before the loop comes to anything else.
            asyncio.get_running_loop().call_soon(self._tell_failure, event.call)
        elif before:
            self._tell(event, f"answered after {plural(event.number, 'request')}", good=True)

    def _tell_failure(self, call: int, *, last: bool = False) -> None:
        event = self._untold.pop(call, None)
        if event is not None and event.outcome != "cancelled":
            self._tell(event, self._failures[call][-1], good=False, last=last)

    def _tell(self, event: AttemptEnded, what: str, *, good: bool, last: bool = False) -> None:
        if self.progress is None:
            return
        _, agent, end = event.path.rsplit("/", 2)
        whose = unquote(agent) if end == "allowed-domains" else "its agents"
        name = self.names.get(event.key, "")
        self.progress.note(f"{name} · {whose}: {what}", good=good, last=last)

    def summary(self) -> str:
        """Return one sentence: how many requests, how many of them retries, and after what."""
        retried = self.retries.total()
        made = plural(self.requests, "request")
        if not retried:
            return f"{made}, none of them retried"
        what = "a retry" if retried == 1 else "retries"
        causes = [f"{cause} {_TIMES}{count}" for cause, count in self.retries.most_common()]
        return f"{made}, {retried:,} of them {what} after {', '.join(causes)}"
