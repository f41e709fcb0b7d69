"""``audit``: its options, checked in full before the first request, and a run to its exit status.

Not here: what is printed (``cli.summary``, ``cli.progress``), and where it goes (``cli.sinks``).
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, ExitStack
from itertools import combinations
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from chatloom_async.audit.files import AuditLog, read_audits
from chatloom_async.audit.findings import FINDING_RULES
from chatloom_async.audit.judge import Judge
from chatloom_async.audit.keys import STANDARD_INPUT, KeysFile, same_keys
from chatloom_async.audit.results import AuditTotals, WorkspaceAudit
from chatloom_async.audit.run import stream_audit
from chatloom_async.audit.text import duration, plural
from chatloom_async.auth import ApiKey
from chatloom_async.calls.request import check_base_url
from chatloom_async.calls.retry import RetryPolicy
from chatloom_async.cli.counts import Counts
from chatloom_async.cli.interrupts import INTERRUPTED
from chatloom_async.cli.outputs import add_force, check_free
from chatloom_async.cli.progress import TICK, Progress, Standing
from chatloom_async.cli.proxy import add_proxy, open_pool
from chatloom_async.cli.sinks import (
    Sink,
    add_format,
    is_parquet,
    parquet_sink,
    print_shared,
    printing,
)
from chatloom_async.cli.streams import discard_output, tell, tell_interrupted
from chatloom_async.cli.summary import Overview
from chatloom_async.cli.tables import write_folded
from chatloom_async.client import AsyncChatloom
from chatloom_async.errors import ConfigurationError

ONLY_WORKSPACE = "workspace"
"""The name of the one workspace of CHATLOOM_API_KEY, which the API does not tell."""

_STDOUT = "-"
_DEMO_LATENCY = 0.03  # seconds: as a server not far away
_DEMO_RETRY = RetryPolicy(attempts=4, patience=30.0, max_delay=2.0)
_ABOUT = """\
Reads every workspace of a keys file, or the one of CHATLOOM_API_KEY. A keys
file is TOML ("Acme Ltd" = "clf_…" or "env:ACME_KEY") or CSV (name,key). What
cannot be read is a gap in the result and never ends the run.
"""
_EXAMPLE = """\
examples:
  chatloom-async audit --sandbox                     see it work, without a key
  chatloom-async audit keys.toml --out today.jsonl   keep what was found
  chatloom-async audit keys.toml --approved ours.txt --fail-on high

exit status: 0 it ran to its end (gaps and findings are in its output), 1 what
--fail-on names was found, 2 not started or not finished, 130 interrupted
"""
_NEXT = (
    "Next: export CHATLOOM_API_KEY=<your key> and run 'chatloom-async audit'; "
    "for many workspaces put names and keys into a file: 'chatloom-async audit keys.toml'."
)


def add_audit(command: ArgumentParser) -> None:
    """Add the options of ``audit``."""
    command.description, command.epilog = _ABOUT, _EXAMPLE
    source = command.add_mutually_exclusive_group()
    source.add_argument("keys", nargs="?", metavar="KEYS", help="keys file; - is standard input")
    source.add_argument(
        "--sandbox", action="store_true", help="audit invented workspaces: no account, no network"
    )
    command.add_argument(
        "--out", metavar="FILE", help="write a JSON line per workspace as it completes; - is stdout"
    )
    command.add_argument(
        "--resume", action="store_true", help="continue a cut run: skip what FILE already holds"
    )
    add_force(command)
    add_format(command)
    command.add_argument("--parquet", metavar="FILE", help="write a Parquet file (extra: parquet)")
    command.add_argument(
        "--approved", metavar="FILE", help="domains that are right, one a line; *.example.com too"
    )
    command.add_argument(
        "--ignore",
        metavar="RULE",
        action="append",
        default=[],
        choices=sorted(FINDING_RULES),
        help="leave out findings of a rule; may be repeated",
    )
    command.add_argument(
        "--fail-on",
        action="append",
        default=[],
        choices=("gap", "low", "medium", "high"),
        help="exit 1 when there is a gap, or a finding at least this severe; may be repeated",
    )
    command.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="audit on a Dask cluster, or on a 'local' one (extra: dask)",
    )
    add_proxy(command)
    command.add_argument("-v", "--verbose", action="store_true", help="tell of repeated requests")


def audit(options: Namespace) -> Coroutine[Any, Any, int]:
    """Check the options; return the audit, which writes, prints, and ends with the exit status."""
    return _audit(make_plan(options), options)


async def _audit(plan: Plan, options: Namespace) -> int:
    run = Run(plan, Progress(sys.stderr, notes_anywhere=options.verbose))
    try:
        with ExitStack() as files:
            run.prepare(options, files)
            await run.go(options.dask)
            run.compare()
    except asyncio.CancelledError:
        return INTERRUPTED
    try:
        run.finish()
    except BrokenPipeError:
        if plan.log is None:
            raise
        discard_output()  # it is all in the file
    return 1 if _reached(options.fail_on, run.overview.totals) else 0


@frozen
class Plan:
    """An audit's sources and limits.

    Attributes:
        keys: of every workspace, by name; of the sandbox's if ``sandbox``.
        keys_file: path of the file they come from, absolute, for workers run in other folders; ""
            if from somewhere else.
        base_url: the server; None: the sandbox's, known when it serves.
        judge: which findings are told of.
        log: path of the file of JSON lines, or None.
        printed: "table", "jsonl" or "csv".
        proxy: what --proxy says.

    """

    keys: Mapping[str, ApiKey]
    keys_file: str
    base_url: str | None
    judge: Judge
    log: str | None
    printed: str
    proxy: str | None


def make_plan(options: Namespace) -> Plan:
    """Check the options of ``audit`` and read the files they name.

    Raises:
        ConfigurationError: something does not fit or cannot be read.

    """
    printed = _printed(options)
    log = None if options.out == _STDOUT else options.out
    if options.resume and log is None:
        raise ConfigurationError("--resume continues a file: give it with --out FILE")
    if options.resume and options.force:
        raise ConfigurationError("--resume goes on with a file, --force begins it anew: take one")
    _check_files(options, log)
    if options.dask and (options.sandbox or options.keys in (None, STANDARD_INPUT)):
        raise ConfigurationError(
            "--dask needs a keys file: its workers read their keys from that path themselves"
        )
    if options.dask and options.proxy:
        raise ConfigurationError("--proxy is of no use with --dask: the workers make the requests")
    judge = _judge(options.approved, options.ignore)
    path = str(Path(options.keys).absolute()) if options.keys else ""
    if options.sandbox:
        keys = _demo_keys()
    else:
        keys = _only_key() if options.keys is None else KeysFile(options.keys).read()
    base_url = None if options.sandbox else check_base_url(None)
    return Plan(keys, path, base_url, judge, log, printed, options.proxy)


def _check_files(options: Namespace, log: str | None) -> None:
    """Refuse to write over what is read, two things into one file, or over an earlier result."""
    places = {
        "KEYS": None if options.keys == STANDARD_INPUT else options.keys,
        "--approved": options.approved,
        "--out": log,
        "--parquet": options.parquet,
    }
    given = [(name, path, Path(path).resolve()) for name, path in places.items() if path]
    for (one, _, place), (other, path, other_place) in combinations(given, 2):
        if place == other_place and other in ("--out", "--parquet"):
            raise ConfigurationError(f"{one} and {other} are the same file, {path!r}")
    if options.parquet:
        ours = options.resume and is_parquet(options.parquet)
        check_free(options.parquet, force=options.force or ours)


def _printed(options: Namespace) -> str:
    printed: str = options.format
    if options.out != _STDOUT:
        return printed
    if printed == "csv":
        raise ConfigurationError("--out - prints JSON lines: drop --format csv, or name a file")
    return "jsonl"


def _only_key() -> dict[str, ApiKey]:
    value = os.environ.get("CHATLOOM_API_KEY")
    if not value:
        raise ConfigurationError(
            "nothing to audit: give a keys file, or set CHATLOOM_API_KEY, or try --sandbox"
        )
    del value
    try:
        return {ONLY_WORKSPACE: ApiKey(os.environ["CHATLOOM_API_KEY"])}
    except ConfigurationError as error:
        raise ConfigurationError(f"CHATLOOM_API_KEY: {error.message}") from None


def _demo_keys() -> dict[str, ApiKey]:
    from chatloom_async.testing import demo_workspaces  # noqa: PLC0415 - brings a web server

    return {each.name: ApiKey(each.key) for each in demo_workspaces()}


def _judge(path: str | None, ignored: list[str]) -> Judge:
    if path is None:
        return Judge.of(None, ignored)
    try:
        lines = tuple(Path(path).read_text(encoding="utf-8-sig").splitlines())
    except OSError as error:
        raise ConfigurationError(f"cannot read approved list {path!r}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"approved list {path!r} is not text: save it as UTF-8") from None
    if any("clf_" in line for line in lines):  # the message below would show it
        raise ConfigurationError(f"approved list {path!r} holds an API key; is it the keys file?")
    try:
        return Judge.of(lines, ignored)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path!r}: {error.message}") from None


@define(eq=False)
class Run:
    """One audit under way: where results go and what is told meanwhile."""

    plan: Plan
    progress: Progress
    overview: Overview = field(factory=Overview)
    done: frozenset[str] = frozenset()
    counts: Counts | None = None
    _log: AuditLog | None = None
    _sinks: list[Sink] = field(factory=list[Sink])
    _total: int = 0
    _started: float = field(factory=time.monotonic)

    def prepare(self, options: Namespace, files: ExitStack) -> None:
        """Open what is written to, and take in what a cut run has left.

        Raises:
            ConfigurationError: something cannot be opened.

        """
        if self.plan.log is not None:
            # Before anything else: a run that is refused must not have touched another file.
            log = AuditLog.open(
                self.plan.log,
                resume=options.resume,
                force=options.force,
                workspaces=tuple(self.plan.keys),
                judge=self.plan.judge,
            )
            self._log = files.enter_context(log)
        self._sinks = [self.overview.add, *printing(self.plan.printed, sys.stdout)]
        if options.parquet is not None:
            self._sinks.append(parquet_sink(options.parquet, files))
        if self._log is not None:
            self._go_on(self._log)
        self._total = sum(name not in self.done for name in self.plan.keys)
        for one, other in same_keys(self.plan.keys):
            tell(f"note: {one!r} and {other!r} have the same key")

    def _go_on(self, log: AuditLog) -> None:
        """Take in what the file holds, and write to it from now on."""
        self.done = log.done
        if log.done:
            since = (
                ""
                if log.oldest is None
                else f", the first of them read {log.oldest:%Y-%m-%d %H:%M %Z}"
            )
            tell(f"note: keeping {plural(len(log.done), 'workspace')} of {log.path}{since}")
        hidden = sum(name in self.plan.keys for name in log.again)
        if hidden:
            tell(f"note: reading {plural(hidden, 'workspace')} again, hidden by an outage")
        for each in read_audits(log.path) if log.done else ():
            self._take(each)
        self._sinks.insert(0, log.append)

    def _take(self, workspace: WorkspaceAudit) -> None:
        for sink in self._sinks:
            sink(workspace)

    def compare(self) -> None:
        """Take in what shows only when all workspaces are compared; the run is at its end."""
        found = self.overview.compare(self.plan.judge)
        if self._log is not None:
            self._log.finish(found)
        if found:
            print_shared(self.plan.printed, found, sys.stdout)

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
        ticker = asyncio.create_task(self._tick())
        resources.push_async_callback(_ended, ticker)
        async for each in stream:
            self._take(each)

    async def _here(self, resources: AsyncExitStack) -> AsyncIterator[WorkspaceAudit]:
        """Begin an audit in this process."""
        base_url, retry = self.plan.base_url, RetryPolicy()
        if base_url is None:
            base_url, retry = await _sandbox(resources), _DEMO_RETRY
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
            self.progress.show(self._standing())
            await asyncio.sleep(TICK)

    def _standing(self) -> Standing:
        totals, counts = self.overview.totals, self.counts
        before = len(self.done)
        return Standing(
            done=totals.workspaces - before,
            total=self._total,
            requests=totals.requests if counts is None else counts.requests,
            refusals=totals.refused if counts is None else counts.refusals,
            gaps=totals.gaps,
        )

    def _tell_interrupted(self) -> None:
        """Show what was read, and say what is left of it."""
        self.progress.close()
        self.overview.compare(self.plan.judge)
        self.draw()
        count = plural(self.overview.totals.workspaces, "workspace")
        where = "" if self.plan.log is None else f" in {self.plan.log}; go on with --resume"
        tell_interrupted(f"interrupted: {count} complete{where}")

    def draw(self) -> None:
        """Print the tables, where they are what is to be printed."""
        if self.plan.printed == "table":
            self.overview.draw(sys.stdout)

    def finish(self) -> None:
        """Print the tables and the last lines."""
        self.draw()
        log = self.plan.log
        if log is not None:
            page = f"'chatloom-async report {log} --html report.html' makes a page of it"
            self._say(f"Written to {log}; {page}.")
        if self.plan.base_url is None:
            self._say(_NEXT)
        self._say(self._summary())

    def _say(self, text: str) -> None:
        """Write a line below the tables, or beside the data."""
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


def _reached(limits: list[str], totals: AuditTotals) -> bool:
    """Tell whether what --fail-on names was found; a gap always counts, for it may hide that."""
    found = totals.findings
    enough = {
        "gap": False,
        "low": any(found.values()),
        "medium": found["medium"] + found["high"] > 0,
        "high": found["high"] > 0,
    }
    return bool(limits) and (totals.gaps > 0 or any(enough[limit] for limit in limits))
