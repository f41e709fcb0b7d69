"""``audit``: the command from its options to its exit status."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack
from typing import TextIO
from urllib.parse import unquote

from attrs import define, field

from chatloom_async.audit.files import AuditLog, read_audits
from chatloom_async.audit.keys import KeysFile, same_keys
from chatloom_async.audit.results import AuditTotals, WorkspaceAudit
from chatloom_async.audit.run import stream_audit
from chatloom_async.audit.text import duration, plural, say
from chatloom_async.calls.retry import RetryPolicy
from chatloom_async.cli.plan import Plan, make_plan
from chatloom_async.cli.progress import TICK, Progress, Standing, progress
from chatloom_async.cli.sinks import Sink, parquet_sink, printing
from chatloom_async.cli.summary import Overview
from chatloom_async.cli.tables import folded
from chatloom_async.cli.tally import Incident, Tally
from chatloom_async.client import AsyncChatloom
from chatloom_async.errors import ConfigurationError
from chatloom_async.network.pool import ConnectionPool

Results = AsyncIterator[WorkspaceAudit]

_DEMO_LATENCY = 0.03  # seconds: as a server not far away
_DEMO_RETRY = RetryPolicy(attempts=4, patience=30.0, max_delay=2.0)
_INTERRUPTED = 130
_NEXT = (
    "Next: export CHATLOOM_API_KEY=<your key> and run 'chatloom-async audit'; "
    "for many workspaces put names and keys into a file: 'chatloom-async audit keys.toml'."
)


def audit(options: Namespace) -> int:
    """Audit, write, print; 1 when what ``--fail-on`` names was found."""
    with ExitStack() as resources:
        plan = make_plan(options)
        run = Run(plan, verbose=options.verbose)
        run.prepare(options, resources)
        try:
            asyncio.run(run.go(options.dask))
        except KeyboardInterrupt:
            run.tell_interrupted()
            return _INTERRUPTED
        run.finish()
    return 1 if _reached(options.fail_on, run.overview.totals) else 0


@define(eq=False)
class Run:
    """One audit under way: where results go and what is told meanwhile."""

    plan: Plan
    verbose: bool
    overview: Overview = field(factory=Overview)
    done: frozenset[str] = frozenset()
    tally: Tally | None = None
    _sinks: list[Sink] = field(factory=list[Sink])
    _progress: Progress = field(init=False)
    _names: dict[str, str] = field(factory=dict[str, str])
    _total: int = 0
    _started: float = field(factory=time.monotonic)

    def prepare(self, options: Namespace, resources: ExitStack) -> None:
        """Open what is written to, and take in what a cut run has left.

        Raises:
            ConfigurationError: something cannot be opened.

        """
        log = None
        if self.plan.log is not None:
            # Before anything else: a run that is refused must not have touched another file.
            log = resources.enter_context(AuditLog.open(self.plan.log, resume=options.resume))
        self._sinks = [self.overview.add, *printing(self.plan.printed, sys.stdout)]
        if options.parquet is not None:
            self._sinks.append(parquet_sink(options.parquet, resources))
        if log is not None:
            self._go_on(log)
        self._total = sum(name not in self.done for name in self.plan.keys)
        for one, other in same_keys(self.plan.keys):
            say(f"note: {one!r} and {other!r} have the same key", sys.stderr)

    def _go_on(self, log: AuditLog) -> None:
        """Take in what the file holds, and write to it from now on."""
        self.done = log.done
        log.of = len(self.done | self.plan.keys.keys())
        hidden = sum(name in self.plan.keys for name in log.again)
        if hidden:
            say(
                f"note: reading {plural(hidden, 'workspace')} again, hidden by an outage",
                sys.stderr,
            )
        for each in read_audits(log.path) if log.done else ():
            for sink in self._sinks:
                sink(each)
        self._sinks.insert(0, log.append)

    async def go(self, cluster: str | None) -> None:
        """Audit every workspace that is not done yet."""
        self._progress = progress(sys.stderr, verbose=self.verbose)
        async with AsyncExitStack() as resources:
            resources.callback(self._progress.close)
            if cluster is None:
                stream = await self._here(resources)
            else:
                stream = await self._on(cluster, resources)
            ticker = asyncio.create_task(self._tick())
            resources.push_async_callback(_ended, ticker)
            async for each in stream:
                for sink in self._sinks:
                    sink(each)

    async def _here(self, resources: AsyncExitStack) -> Results:
        """Begin an audit in this process."""
        base_url, retry = self.plan.base_url, RetryPolicy()
        if base_url is None:
            base_url, retry = await _sandbox(resources), _DEMO_RETRY
        loud = self.verbose or self.plan.base_url is None
        pool = await resources.enter_async_context(ConnectionPool())
        self.tally = tally = Tally(pool, self._note if loud else None)
        if loud:
            self._names = {key.fingerprint: name for name, key in self.plan.keys.items()}
        clients = (
            (name, AsyncChatloom(key, base_url=base_url, retry=retry, pool=tally))
            for name, key in self.plan.keys.items()
            if name not in self.done
        )
        audit = stream_audit(clients, approved=self.plan.approved)
        return await resources.enter_async_context(audit)

    async def _on(self, cluster: str, resources: AsyncExitStack) -> Results:
        """Begin an audit on a cluster."""
        plan = self.plan
        try:
            from chatloom_async.contrib.dask import audit_on  # noqa: PLC0415 - an extra
        except ImportError:
            raise ConfigurationError(
                "--dask needs distributed: pip install 'chatloom_async[dask]'"
            ) from None
        names = [name for name in plan.keys if name not in self.done]
        keys = KeysFile(plan.keys_file)
        audit = audit_on(cluster, names, keys, base_url=plan.base_url, approved=plan.approved)
        await resources.enter_async_context(audit)
        if names and not audit.places:
            say(f"note: the scheduler at {cluster} has no workers yet; waiting", sys.stderr)
        return audit

    async def _tick(self) -> None:
        while True:
            self._progress.show(self._standing())
            await asyncio.sleep(TICK)

    def _standing(self) -> Standing:
        totals, tally = self.overview.totals, self.tally
        before = len(self.done)
        return Standing(
            done=totals.workspaces - before,
            total=self._total,
            requests=totals.requests if tally is None else tally.requests,
            refusals=totals.refused if tally is None else tally.refusals,
            gaps=totals.gaps,
        )

    def _note(self, incident: Incident) -> None:
        name = self._names.get(incident.key, "")
        segments = incident.url.rsplit("/", 2)
        what = unquote(segments[1]) if segments[2] == "allowed-domains" else "its agents"
        if incident.outcome:
            text = f"{name} · {what}: {incident.outcome}"
            self._progress.note(text, good=False, last=incident.last)
        else:
            tries = plural(incident.failures + 1, "request")
            self._progress.note(f"{name} · {what}: answered after {tries}", good=True)

    def tell_interrupted(self) -> None:
        """Say what is left of an interrupted run, and show it if it is in no file."""
        if self.plan.log is None and self.plan.printed == "table":
            self.overview.compare()
            self.overview.draw(sys.stdout)
        count = plural(self.overview.totals.workspaces, "workspace")
        where = "" if self.plan.log is None else f" in {self.plan.log}; go on with --resume"
        say(f"\ninterrupted: {count} complete{where}", sys.stderr)

    def finish(self) -> None:
        """Print the tables and the last lines."""
        self.overview.compare()
        human = sys.stdout if self.plan.printed == "table" else sys.stderr
        if self.plan.printed == "table":
            self.overview.draw(human)
        if self.plan.log is not None:
            page = f"'chatloom-async report {self.plan.log} --html report.html' makes a page of it"
            _say_folded(f"Written to {self.plan.log}; {page}.", human)
        if self.plan.base_url is None:
            _say_folded(_NEXT, human)
        _say_folded(self._summary(), human)

    def _summary(self) -> str:
        totals = self.overview.totals
        made = (
            f"{plural(totals.requests, 'request')}, {totals.retried:,} of them retries"
            if self.tally is None
            else self.tally.summary()
        )
        return f"{made}; {duration(time.monotonic() - self._started)}."


def _say_folded(text: str, stream: TextIO) -> None:
    """Write a line; on a terminal, in lines that fit it."""
    room = shutil.get_terminal_size().columns if stream.isatty() else len(text)
    say("\n".join(folded(text, room)), stream)


async def _sandbox(resources: AsyncExitStack) -> str:
    from chatloom_async.testing import (  # noqa: PLC0415 - brings a web server
        Sandbox,
        demo_faults,
        demo_workspaces,
    )

    server = Sandbox(demo_workspaces(), faults=demo_faults(), latency=_DEMO_LATENCY)
    return (await resources.enter_async_context(server)).base_url


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _reached(limit: str | None, totals: AuditTotals) -> bool:
    found = totals.findings
    match limit:
        case "gap":
            return totals.gaps > 0
        case "low":
            return any(found.values())
        case "medium":
            return found["medium"] + found["high"] > 0
        case "high":
            return found["high"] > 0
    return False
