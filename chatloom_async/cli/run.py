"""One audit under way: where results go, what is told meanwhile and at its end.

Not here: what is printed (``cli.summary``, ``cli.progress``), and files of results (``cli.sinks``).
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, contextmanager
from datetime import UTC, datetime
from shlex import quote

from attrs import define, evolve, field

from chatloom_async.audit.files import read_audits
from chatloom_async.audit.judge import Judge
from chatloom_async.audit.keys import KeysFile, same_keys
from chatloom_async.audit.lines import dump_audit, dump_run
from chatloom_async.audit.log import AuditLog
from chatloom_async.audit.results import AuditRun, WorkspaceAudit
from chatloom_async.audit.run import stream_audit
from chatloom_async.audit.text import duration, plural, say
from chatloom_async.auth import ApiKey
from chatloom_async.calls.retry import RetryPolicy
from chatloom_async.cli.progress import TICK, Counts, Progress
from chatloom_async.cli.proxy import open_pool
from chatloom_async.cli.sinks import Sink, csv_sink, parquet_sink
from chatloom_async.cli.streams import discard_output, tell, tell_interrupted
from chatloom_async.cli.summary import Overview
from chatloom_async.cli.tables import write_folded
from chatloom_async.client import AsyncChatloom
from chatloom_async.errors import ConfigurationError

_DEMO_LATENCY = 0.03  # seconds: as a server not far away
_DEMO_RETRY = RetryPolicy(attempts=4, patience=30.0, max_delay=2.0)
_NEXT = (
    "Next: export CHATLOOM_API_KEY=<your key> and run 'chatloom-async audit'; "
    "for many workspaces put names and keys into a file: 'chatloom-async audit keys.toml'."
)


@define(eq=False)
class Run:
    """One audit: its sources and limits, where results go, and what is told meanwhile."""

    keys: Mapping[str, ApiKey]  # of every workspace, by name
    keys_file: str  # where they come from, as an absolute path: workers run in other folders
    base_url: str | None  # None: the sandbox's, known when it serves
    judge: Judge
    made: AuditRun  # what is printed of it as JSON, when it begins
    out: str | None  # path of the file of JSON lines
    parquet: str | None  # path of the Parquet file
    printed: str  # "table", "jsonl" or "csv"
    proxy: str | None  # what --proxy says
    progress: Progress
    overview: Overview = field(factory=Overview)
    done: frozenset[str] = frozenset()
    counts: Counts | None = None
    _log: AuditLog | None = None
    _sinks: list[Sink] = field(factory=list[Sink])  # standard output is the last one
    _tables: list[Sink] = field(factory=list[Sink])  # those whose rows are agents
    _started: float = field(factory=time.monotonic)

    def prepare(self, files: ExitStack, *, resume: bool, force: bool) -> None:
        """Open what is written to, and take in what a cut run has left."""
        if self.out is not None:
            # Before anything else: a run that is refused must not have touched another file.
            self._log = AuditLog.open(
                self.out, resume=resume, force=force, workspaces=tuple(self.keys), judge=self.judge
            )
            files.callback(self._log.close)
        if self.parquet is not None:
            self._tables.append(parquet_sink(self.parquet, files))
        lines: list[Sink] = []
        with self.printing():
            if self.printed == "csv":
                self._tables.append(csv_sink(sys.stdout))
            elif self.printed == "jsonl":
                say(dump_run(self.made), sys.stdout)
                lines = [lambda audit: say(dump_audit(audit, len(self.keys)), sys.stdout)]
        self._sinks = [self.overview.add, *self._tables, *lines]
        if self._log is not None:
            self._go_on(self._log)
        for one, other in same_keys(self.keys):
            tell(f"note: {one!r} and {other!r} have the same key")

    def _go_on(self, log: AuditLog) -> None:
        """Take in what the file holds, and write to it from now on."""
        self.done = log.done
        if log.done:
            since = f", the first of them read {log.oldest:%Y-%m-%d %H:%M %Z}" if log.oldest else ""
            tell(f"note: keeping {plural(len(log.done), 'workspace')} of {log.path}{since}")
        if log.again:
            tell(f"note: reading {plural(len(log.again), 'workspace')} again, hidden by an outage")
        for each in read_audits(log.path) if log.done else ():
            self._take(each)
        self._sinks.insert(0, log.append)

    def _take(self, workspace: WorkspaceAudit) -> None:
        with self.printing():
            for sink in self._sinks:
                sink(workspace)

    @contextmanager
    def printing(self) -> Iterator[None]:
        """Go on without the reader of standard output when it goes away, if there is a file."""
        try:
            yield
        except BrokenPipeError as error:
            if error.filename is not None or not (self.out or self.parquet):
                raise
            discard_output()

    def compare(self) -> None:
        """Take in what shows only when all workspaces are compared; the run is at its end."""
        found = self.overview.compare(self.judge)
        if self._log is not None:
            self._log.finish(found)
        with self.printing():
            for sink in self._tables if found else ():
                sink(WorkspaceAudit("(several)", findings=found))
            if self.printed == "jsonl":
                made = evolve(self.made, ended_at=datetime.now(UTC), findings=found)
                say(dump_run(made), sys.stdout)

    async def go(self, cluster: str | None) -> None:
        """Audit every workspace that is not done yet."""
        async with AsyncExitStack() as resources:
            resources.callback(self.progress.close)
            try:
                reading = self._on(cluster, resources) if cluster else self._here(resources)
                stream = await reading
                if self._log is not None:
                    # A run that cannot start must not have touched an earlier result.
                    self._log.begin()
                ticker = asyncio.create_task(self._tick())
                resources.callback(ticker.cancel)
                async for each in stream:
                    self._take(each)
            except asyncio.CancelledError:
                self._tell_interrupted()  # before hundreds of calls are ended
                raise

    async def _here(self, resources: AsyncExitStack) -> AsyncIterator[WorkspaceAudit]:
        base_url, retry = self.base_url, RetryPolicy()
        if base_url is None:
            from chatloom_async.testing import (  # noqa: PLC0415 - brings a web server
                Sandbox,
                demo_faults,
                demo_workspaces,
            )

            server = Sandbox(demo_workspaces(), faults=demo_faults(), latency=_DEMO_LATENCY)
            await resources.enter_async_context(server)
            base_url, retry = server.base_url, _DEMO_RETRY
        loud = self.progress.notes_anywhere or self.base_url is None
        names = {key.fingerprint: name for name, key in self.keys.items()}
        self.counts = Counts(names, self.progress if loud else None)
        pool = await resources.enter_async_context(
            open_pool(self.proxy, base_url, self.counts.observe)
        )
        clients = (
            (name, AsyncChatloom(key, base_url=base_url, retry=retry, pool=pool))
            for name, key in self.keys.items()
            if name not in self.done
        )
        audit = stream_audit(clients, approved=self.judge.approved, ignore=self.judge.ignored)
        return await resources.enter_async_context(audit)

    async def _on(self, cluster: str, resources: AsyncExitStack) -> AsyncIterator[WorkspaceAudit]:
        try:
            from chatloom_async.contrib.dask import audit_on  # noqa: PLC0415 - an extra
        except ImportError:
            raise ConfigurationError(
                "--dask needs distributed: pip install 'chatloom_async[dask]'"
            ) from None
        # What tidies up after a second Ctrl-C would complain that there was something to do.
        os.environ.setdefault(
            "PYTHONWARNINGS", "ignore::UserWarning:multiprocessing.resource_tracker"
        )
        names = [name for name in self.keys if name not in self.done]
        audit = audit_on(
            cluster,
            names,
            KeysFile(self.keys_file),
            base_url=self.base_url,
            approved=self.judge.approved,
            ignore=self.judge.ignored,
        )
        await resources.enter_async_context(audit)
        if names and not audit.places:
            tell(f"note: the scheduler at {cluster} has no workers yet; waiting")
        return audit

    async def _tick(self) -> None:
        while True:
            totals, counts = self.overview.totals, self.counts
            self.progress.show(
                done=totals.workspaces - len(self.done),
                total=len(self.keys) - len(self.done),
                requests=totals.requests if counts is None else counts.requests,
                refusals=totals.refused if counts is None else counts.refusals,
                gaps=totals.gaps,
            )
            await asyncio.sleep(TICK)

    def _tell_interrupted(self) -> None:
        """Show what was read, and say what is left of it."""
        self.progress.close()
        self.overview.compare(self.judge)
        self.draw()
        count = plural(self.overview.totals.workspaces, "workspace")
        where = "" if self.out is None else f" in {self.out}; go on with --resume"
        lost = f"; {self.parquet} is not written" if self.parquet else ""
        tell_interrupted(f"interrupted: {count} complete{where}{lost}")

    def draw(self) -> None:
        """Print the tables, where they are what is to be printed."""
        if self.printed == "table":
            self.overview.draw(sys.stdout)

    def finish(self) -> None:
        """Print the tables and the last lines."""
        self.draw()
        if self.out is not None:
            page = f"'chatloom-async report {quote(self.out)} --html report.html'"
            self._say(f"Written to {self.out}; {page} makes a page of it.")
        if self.base_url is None:
            self._say(_NEXT)
        totals = self.overview.totals
        made = f"{plural(totals.requests, 'request')}, {totals.retried:,} of them retries"
        if self.counts is not None:
            made = self.counts.summary()
        self._say(f"{made}; {duration(time.monotonic() - self._started)}.")

    def _say(self, text: str) -> None:
        if self.printed == "table":
            write_folded(text, sys.stdout)
        else:
            tell(text)
