"""One audit under way: where results go, what is told meanwhile and at its end.

Not here: what is printed (``cli.summary``, ``cli.progress``), and files of results (``cli.sinks``).
"""

import asyncio
import sys
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, contextmanager
from datetime import UTC, datetime
from shlex import quote

from attrs import define, evolve, field, frozen

from chatloom_async.audit.files import AuditLog, read_audits
from chatloom_async.audit.judge import Judge
from chatloom_async.audit.keys import KeysFile, same_keys
from chatloom_async.audit.lines import dump_audit, dump_run
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


@frozen
class Plan:
    """An audit's sources and limits."""

    keys: Mapping[str, ApiKey]  # of every workspace, by name
    keys_file: str  # where they come from, as an absolute path: workers run in other folders
    base_url: str | None  # None: the sandbox's, known when it serves
    judge: Judge
    made: AuditRun  # what is printed of it as JSON, when it begins
    log: str | None  # path of the file of JSON lines
    parquet: str | None  # path of the Parquet file
    printed: str  # "table", "jsonl" or "csv"
    proxy: str | None  # what --proxy says


@define(eq=False)
class Run:
    """One audit under way: where results go and what is told meanwhile."""

    plan: Plan
    progress: Progress
    overview: Overview = field(factory=Overview)
    done: frozenset[str] = frozenset()
    counts: Counts | None = None
    _log: AuditLog | None = None
    _sinks: list[Sink] = field(factory=list[Sink])  # standard output is the last one
    _tables: list[Sink] = field(factory=list[Sink])  # those whose rows are agents
    _started: float = field(factory=time.monotonic)

    def prepare(self, options: Namespace, files: ExitStack) -> None:
        """Open what is written to, and take in what a cut run has left."""
        if self.plan.log is not None:
            # Before anything else: a run that is refused must not have touched another file.
            self._log = AuditLog.open(
                self.plan.log,
                resume=options.resume,
                force=options.force,
                workspaces=tuple(self.plan.keys),
                judge=self.plan.judge,
            )
            files.callback(self._log.close)
        if self.plan.parquet is not None:
            self._tables.append(parquet_sink(self.plan.parquet, files))
        lines: list[Sink] = []
        with self.printing():
            if self.plan.printed == "csv":
                self._tables.append(csv_sink(sys.stdout))
            elif self.plan.printed == "jsonl":
                say(dump_run(self.plan.made), sys.stdout)
                lines = [lambda audit: say(dump_audit(audit, len(self.plan.keys)), sys.stdout)]
        self._sinks = [self.overview.add, *self._tables, *lines]
        if self._log is not None:
            self._go_on(self._log)
        for one, other in same_keys(self.plan.keys):
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
            if error.filename is not None or not (self.plan.log or self.plan.parquet):
                raise
            discard_output()

    def compare(self) -> None:
        """Take in what shows only when all workspaces are compared; the run is at its end."""
        found = self.overview.compare(self.plan.judge)
        if self._log is not None:
            self._log.finish(found)
        with self.printing():
            for sink in self._tables if found else ():
                sink(WorkspaceAudit("(several)", findings=found))
            if self.plan.printed == "jsonl":
                made = evolve(self.plan.made, ended_at=datetime.now(UTC), findings=found)
                say(dump_run(made), sys.stdout)

    async def go(self, cluster: str | None) -> None:
        """Audit every workspace that is not done yet."""
        async with AsyncExitStack() as resources:
            resources.callback(self.progress.close)
            try:
                await self._read(cluster, resources)
            except asyncio.CancelledError:
                self._tell_interrupted()  # before hundreds of calls are ended
                raise

    async def _read(self, cluster: str | None, resources: AsyncExitStack) -> None:
        if cluster is None:
            stream = await self._here(resources)
        else:
            stream = await self._on(cluster, resources)
        if self._log is not None:
            self._log.begin()  # a run that cannot start must not have touched an earlier result
        ticker = asyncio.create_task(self._tick())
        resources.callback(ticker.cancel)
        async for each in stream:
            self._take(each)

    async def _here(self, resources: AsyncExitStack) -> AsyncIterator[WorkspaceAudit]:
        base_url, retry = self.plan.base_url, RetryPolicy()
        if base_url is None:
            from chatloom_async.testing import (  # noqa: PLC0415 - brings a web server
                Sandbox,
                demo_faults,
                demo_workspaces,
            )

            server = Sandbox(demo_workspaces(), faults=demo_faults(), latency=_DEMO_LATENCY)
            await resources.enter_async_context(server)
            base_url, retry = server.base_url, _DEMO_RETRY
        loud = self.progress.notes_anywhere or self.plan.base_url is None
        names = {key.fingerprint: name for name, key in self.plan.keys.items()}
        self.counts = Counts(names, self.progress if loud else None)
        pool = await resources.enter_async_context(
            open_pool(self.plan.proxy, base_url, self.counts.observe)
        )
        clients = (
            (name, AsyncChatloom(key, base_url=base_url, retry=retry, pool=pool))
            for name, key in self.plan.keys.items()
            if name not in self.done
        )
        judge = self.plan.judge
        audit = stream_audit(clients, approved=judge.approved, ignore=judge.ignored)
        return await resources.enter_async_context(audit)

    async def _on(self, cluster: str, resources: AsyncExitStack) -> AsyncIterator[WorkspaceAudit]:
        plan = self.plan
        try:
            from chatloom_async.contrib.dask import audit_on  # noqa: PLC0415 - an extra
        except ImportError:
            raise ConfigurationError(
                "--dask needs distributed: pip install 'chatloom_async[dask]'"
            ) from None
        names = [name for name in plan.keys if name not in self.done]
        keys = KeysFile(plan.keys_file)
        judge, url = plan.judge, plan.base_url
        audit = audit_on(
            cluster, names, keys, base_url=url, approved=judge.approved, ignore=judge.ignored
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
                total=len(self.plan.keys) - len(self.done),
                requests=totals.requests if counts is None else counts.requests,
                refusals=totals.refused if counts is None else counts.refusals,
                gaps=totals.gaps,
            )
            await asyncio.sleep(TICK)

    def _tell_interrupted(self) -> None:
        """Show what was read, and say what is left of it."""
        self.progress.close()
        self.overview.compare(self.plan.judge)
        self.draw()
        count = plural(self.overview.totals.workspaces, "workspace")
        where = "" if self.plan.log is None else f" in {self.plan.log}; go on with --resume"
        lost = f"; {self.plan.parquet} is not written" if self.plan.parquet else ""
        tell_interrupted(f"interrupted: {count} complete{where}{lost}")

    def draw(self) -> None:
        """Print the tables, where they are what is to be printed."""
        if self.plan.printed == "table":
            self.overview.draw(sys.stdout)

    def finish(self) -> None:
        """Print the tables and the last lines."""
        self.draw()
        log = self.plan.log
        if log is not None:
            page = f"'chatloom-async report {quote(log)} --html report.html' makes a page of it"
            self._say(f"Written to {log}; {page}.")
        if self.plan.base_url is None:
            self._say(_NEXT)
        self._say(self._summary())

    def _say(self, text: str) -> None:
        if self.plan.printed == "table":
            write_folded(text, sys.stdout)
        else:
            tell(text)

    def _summary(self) -> str:
        totals = self.overview.totals
        made = (
            f"{plural(totals.requests, 'request')}, {totals.retried:,} of them retries"
            if self.counts is None
            else self.counts.summary()
        )
        return f"{made}; {duration(time.monotonic() - self._started)}."
