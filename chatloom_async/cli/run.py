"""One audit under way: where results go, what is told meanwhile and at its end.

Not here: what is printed (``cli.summary``, ``cli.progress``), and files of results (``cli.sinks``).
"""

import asyncio
import os
import sys
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote

from attrs import define, evolve, field

from chatloom_async.audit.files import dump_audit, dump_run, read_audits
from chatloom_async.audit.judge import Judge
from chatloom_async.audit.keys import KeysFile, same_keys
from chatloom_async.audit.log import AuditLog
from chatloom_async.audit.results import AuditRun, WorkspaceAudit
from chatloom_async.audit.run import stream_audit
from chatloom_async.audit.text import duration, plural
from chatloom_async.auth import ApiKey
from chatloom_async.calls.retry import RetryPolicy
from chatloom_async.cli.options import open_pool
from chatloom_async.cli.progress import TICK, Counts, Progress
from chatloom_async.cli.sinks import Sink, csv_sink, parquet_sink
from chatloom_async.cli.streams import discard_output, say, tell, tell_interrupted
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
    """One audit: what was asked for, what was found so far, and where that goes."""

    options: Namespace  # as ``cli.audit`` has checked them
    keys: Mapping[str, ApiKey]  # of every workspace, by name
    judge: Judge
    progress: Progress
    overview: Overview = field(factory=Overview)
    counts: Counts | None = None  # of requests made here, and not on a cluster
    _left: Mapping[str, ApiKey] = field(factory=dict[str, ApiKey])  # not in the file of a cut run
    _log: AuditLog | None = None
    _lines: AuditRun | None = None  # what JSON lines on standard output say of this run
    _tables: list[Sink] = field(factory=list[Sink])  # what has a row for each agent
    _sinks: list[Sink] = field(factory=list[Sink])  # all that takes workspaces
    _started: float = field(factory=time.monotonic)

    def prepare(self, files: ExitStack) -> None:
        """Open what is written to, and take in what a cut run has left."""
        options = self.options
        if options.out is not None:
            # Before anything else: a run that is refused must not have touched another file.
            log = AuditLog.open(
                options.out,
                resume=options.resume,
                force=options.force,
                workspaces=self.keys,
                judge=self.judge,
            )
            self._log = files.enter_context(closing(log))
        if options.parquet is not None:
            self._tables.append(parquet_sink(options.parquet, files))
        lines: list[Sink] = []
        with self._printing():
            if options.format == "csv":
                self._tables.append(csv_sink(sys.stdout))
            elif options.format == "jsonl":
                lines = [lambda audit: say(dump_audit(audit, len(self.keys)))]
                named, judge = tuple(self.keys), self.judge
                self._lines = AuditRun(
                    datetime.now(UTC), None, named, judge.approved, judge.ignored
                )
                say(dump_run(self._lines))
        # Standard output comes last: its reader may go away.
        self._sinks = [self.overview.add, *self._tables, *lines]
        done = frozenset() if self._log is None else self._log.done
        self._left = {name: key for name, key in self.keys.items() if name not in done}
        if self._log is not None:
            self._go_on(self._log)
        for one, other in same_keys(self.keys):
            tell(f"note: {one!r} and {other!r} have the same key")

    def _go_on(self, log: AuditLog) -> None:
        """Take in what the file holds, and write to it from now on."""
        if log.done:
            since = f", the first of them read {log.oldest:%Y-%m-%d %H:%M %Z}" if log.oldest else ""
            tell(f"note: keeping {plural(len(log.done), 'workspace')} of {log.path}{since}")
        if log.again:
            tell(f"note: reading {plural(len(log.again), 'workspace')} again, hidden by an outage")
        for each in read_audits(log.path) if log.done else ():
            self._take(each)
        if gaps := self.overview.totals.gaps:
            tell(f"note: keeping {plural(gaps, 'gap')} too; only a new run (--force) asks again")
        self._sinks.insert(0, log.append)

    async def go(self) -> None:
        """Audit every workspace that is not done yet."""
        async with AsyncExitStack() as resources:
            resources.callback(self.progress.close)
            try:
                stream = await (self._on_cluster if self.options.dask else self._here)(resources)
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
        options, base_url, retry = self.options, None, RetryPolicy()
        if options.sandbox:
            from chatloom_async.testing import (  # noqa: PLC0415 - brings a web server
                Sandbox,
                demo_faults,
                demo_workspaces,
            )

            server = Sandbox(demo_workspaces(), faults=demo_faults(), latency=_DEMO_LATENCY)
            await resources.enter_async_context(server)
            base_url, retry = server.base_url, _DEMO_RETRY
        names = {key.fingerprint: name for name, key in self.keys.items()}
        loud = options.verbose or options.sandbox
        self.counts = Counts(names, self.progress if loud else None)
        pool = open_pool(options.proxy, base_url, self.counts.observe)
        await resources.enter_async_context(pool)
        clients = (
            (name, AsyncChatloom(key, base_url=base_url, retry=retry, pool=pool))
            for name, key in self._left.items()
        )
        audit = stream_audit(clients, approved=self.judge.approved, ignore=self.judge.ignored)
        return await resources.enter_async_context(audit)

    async def _on_cluster(self, resources: AsyncExitStack) -> AsyncIterator[WorkspaceAudit]:
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
        cluster, judge = self.options.dask, self.judge
        # Workers run in other folders.
        keys = KeysFile(str(Path(self.options.keys).absolute()))  # noqa: ASYNC240 - nothing is read
        audit = audit_on(cluster, self._left, keys, approved=judge.approved, ignore=judge.ignored)
        await resources.enter_async_context(audit)
        if self._left and not audit.places:
            tell(f"note: the scheduler at {cluster} has no workers yet; waiting")
        return audit

    async def _tick(self) -> None:
        while True:
            totals, counts = self.overview.totals, self.counts
            self.progress.show(
                done=totals.workspaces - (len(self.keys) - len(self._left)),
                total=len(self._left),
                requests=totals.requests if counts is None else counts.requests,
                refusals=totals.refused if counts is None else counts.refusals,
                gaps=totals.gaps,
            )
            await asyncio.sleep(TICK)

    def _take(self, workspace: WorkspaceAudit) -> None:
        with self._printing():
            for sink in self._sinks:
                sink(workspace)

    def compare(self) -> None:
        """Take in what shows only when all workspaces are compared; the run is at its end."""
        found = self.overview.compare(self.judge)
        if self._log is not None:
            self._log.finish(found)
        with self._printing():
            for add in self._tables if found else ():
                add(WorkspaceAudit("(several)", findings=found))
            if self._lines is not None:
                run = evolve(self._lines, ended_at=datetime.now(UTC), findings=found)
                say(dump_run(run))

    def finish(self) -> None:
        """Print the tables and the last lines."""
        with self._printing():
            self._draw()
            if self.options.out is not None:
                out = self.options.out
                page = f"'chatloom-async report {quote(out)} --html report.html'"
                self._say(f"Written to {out}; {page} makes a page of it.")
            if self.options.sandbox:
                self._say(_NEXT)
            totals = self.overview.totals
            made = f"{plural(totals.requests, 'request')}, {totals.retried:,} of them retries"
            if self.counts is not None:
                made = self.counts.summary()
            self._say(f"{made}; {duration(time.monotonic() - self._started)}.")

    def _tell_interrupted(self) -> None:
        """Show what was read, and say what is left of it."""
        self.progress.close()
        self.overview.compare(self.judge)
        self._draw()
        count = plural(self.overview.totals.workspaces, "workspace")
        out, parquet = self.options.out, self.options.parquet
        where = f" in {out}; go on with --resume" if out else ""
        lost = f"; {parquet} is not written" if parquet else ""
        tell_interrupted(f"interrupted: {count} complete{where}{lost}")

    def _draw(self) -> None:
        if self.options.format == "table":
            self.overview.draw(sys.stdout)

    def _say(self, text: str) -> None:
        """Print a line below the tables; beside data on standard output, on standard error."""
        if self.options.format == "table":
            write_folded(text, sys.stdout)
        else:
            tell(text)

    @contextmanager
    def _printing(self) -> Iterator[None]:
        """Go on without the reader of standard output when it goes away, if there is a file."""
        try:
            yield
        except BrokenPipeError as error:
            if error.filename is not None or not (self.options.out or self.options.parquet):
                raise
            discard_output()
