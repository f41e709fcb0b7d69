"""Audits: every agent of many workspaces with its allowed domains, one workspace at a time.

Here: opening workspaces and handing out what was found. Not here: reading one of them (``visit``),
the values (``values``), what counts as a finding (``findings``), files (``log``).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Coroutine, Iterable, Mapping
from typing import Any, Self, cast

from attrs import define, field, frozen

from chatloom_async.audit.domains import ApprovedDomains
from chatloom_async.audit.findings import shared_domains
from chatloom_async.audit.results import AuditReport, AuditTotals, WorkspaceAudit
from chatloom_async.audit.turns import Turns
from chatloom_async.audit.workspace import WorkspaceAuditor
from chatloom_async.calls.retry import RetryPolicy
from chatloom_async.client import AsyncChatloom
from chatloom_async.errors import ConfigurationError, require_whole
from chatloom_async.network.slots import Slots

Workspaces = (
    Mapping[str, AsyncChatloom]
    | Iterable[tuple[str, AsyncChatloom]]
    | AsyncIterable[tuple[str, AsyncChatloom]]
)

AUDIT_RETRY = RetryPolicy(attempts=8, patience=600.0)
"""What an audit uses in place of the default policy: runs of hours outlive outages of minutes."""

_OPEN = 1000  # workspaces at once that wait for their own keys' sake: bounds memory


async def audit(
    workspaces: Workspaces,
    *,
    concurrency: int = 100,
    lookups: int = 8,
    approved: Iterable[str] | None = None,
) -> AuditReport:
    """Audit workspaces and return everything at once; see ``stream_audit`` for the arguments.

    Beyond what the stream yields, the report compares the workspaces with each other.

    Raises:
        ConfigurationError: an option or one of the workspaces cannot work.

    """
    started = asyncio.get_running_loop().time()
    done: list[WorkspaceAudit] = []
    totals = AuditTotals()
    async with stream_audit(
        workspaces, concurrency=concurrency, lookups=lookups, approved=approved
    ) as stream:
        async for workspace in stream:
            done.append(workspace)
            totals = totals.plus(workspace)
    findings = shared_domains(done)
    elapsed = asyncio.get_running_loop().time() - started
    return AuditReport(tuple(done), findings, totals.plus_findings(findings), elapsed)


def stream_audit(
    workspaces: Workspaces,
    *,
    concurrency: int = 100,
    lookups: int = 8,
    approved: Iterable[str] | None = None,
) -> AuditStream:
    """Audit workspaces and yield each as soon as it is complete, in flat memory.

    ::

        async with stream_audit(workspaces) as results:
            async for workspace in results: ...

    The unit of failure is one agent or one workspace: any ``ChatloomError`` becomes a ``Gap``. A
    key that is refused ends its workspace with one gap, and so does any error of a callable that a
    client takes its key from: its class is told and its words are not. An error of ``workspaces``
    itself ends the iteration. Leaving the block cancels what is under way.

    Clients with the default ``RetryPolicy`` are used with ``AUDIT_RETRY``, others as they are. The
    clients are not closed.

    Args:
        workspaces: names and clients; a mapping, or pairs that are read only as fast as the audit
            goes, so that clients can be made on the way. Let them share a ``ConnectionPool``.
        concurrency: calls begun and not ended over all workspaces, of those that get on. A call
            found waiting at its own key's rate limiter, or after a second backing off, does not
            count, also not when it goes on: up to 1,000 workspaces are open for the sake of such
            calls, and more requests than this may be in flight. What bounds the requests, whatever
            waits, is ``ConnectionPool(limit=…)``.
        lookups: calls of one workspace at once.
        approved: domains that may be listed, as for ``ApprovedDomains``; None: any.

    Raises:
        ConfigurationError: an option cannot work.

    """
    require_whole("concurrency", concurrency)
    require_whole("lookups", lookups)
    return AuditStream(
        workspaces,
        concurrency,
        lookups,
        None if approved is None else ApprovedDomains.of(approved),
    )


@frozen
class AuditProgress:
    """Where a running audit stands.

    Attributes:
        finished: workspaces complete, read by the caller or not.
        open: workspaces under way.
        requests: requests sent, those of open workspaces included; so for the next two.
        retried: those of them that repeated another one.
        refused: answers with status 429.

    """

    finished: int
    open: int
    requests: int
    retried: int
    refused: int


@define(eq=False)
class AuditStream:
    """What ``stream_audit`` returns: enter it once, then iterate."""

    _workspaces: Workspaces
    _concurrency: int
    _lookups: int
    _approved: ApprovedDomains | None
    _turns: Turns = field(init=False)
    _tasks: set[asyncio.Task[None]] = field(factory=set, init=False)
    _open: dict[WorkspaceAuditor, None] = field(factory=dict, init=False)
    _results: deque[WorkspaceAudit] = field(factory=deque, init=False)
    _totals: AuditProgress = field(default=AuditProgress(0, 0, 0, 0, 0), init=False)
    _entered: bool = field(default=False, init=False)
    _left: bool = field(default=False, init=False)
    _broken: BaseException | None = field(default=None, init=False)
    _reader: asyncio.Future[None] | None = field(default=None, init=False)
    _opener: asyncio.Future[None] | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        """Make room for as many turns as calls may be under way."""
        self._turns = Turns(Slots(self._concurrency))

    async def __aenter__(self) -> Self:
        """Start; nothing was read from the workspaces before."""
        if self._entered:
            raise ConfigurationError("an audit runs once; call stream_audit again")
        self._entered = True
        self._start(self._open_all())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Cancel what is under way and wait until it is gone."""
        self._left = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._turns.close()

    def __aiter__(self) -> AsyncIterator[WorkspaceAudit]:
        """Return itself."""
        return self

    async def __anext__(self) -> WorkspaceAudit:
        """Return the next workspace, in the order in which they are finished."""
        if not self._entered:
            raise ConfigurationError("enter the audit first: async with stream_audit(…) as results")
        while not self._results:
            if self._broken is not None:
                raise self._broken
            if not self._tasks:
                raise StopAsyncIteration
            if self._reader is not None and not self._reader.done():
                raise ConfigurationError("an audit has one reader; let it hand on what it reads")
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        result = self._results.popleft()
        _wake(self._opener)
        return result

    def progress(self) -> AuditProgress:
        """Take a snapshot."""
        total = self._totals
        spent = [workspace.spent() for workspace in self._open]
        return AuditProgress(
            finished=total.finished,
            open=len(spent),
            requests=total.requests + sum(each.requests for each in spent),
            retried=total.retried + sum(each.retried for each in spent),
            refused=total.refused + sum(each.refused for each in spent),
        )

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            if not self._left:
                self._broken = asyncio.CancelledError("a task of this audit was cancelled")
        elif self._broken is None:
            self._broken = task.exception()
        _wake(self._reader)
        _wake(self._opener)

    async def _open_all(self) -> None:
        source = self._workspaces
        if isinstance(source, AsyncIterable):
            async for name, client in source:
                await self._open_one(name, client)
        else:
            for name, client in _pairs(source):
                await self._open_one(name, client)

    async def _open_one(self, name: str, client: AsyncChatloom) -> None:
        if not isinstance(name, str) or not isinstance(client, AsyncChatloom):
            raise ConfigurationError(
                "a workspace is a name and an AsyncChatloom, "
                f"not {type(name).__name__} and {type(client).__name__}"
            )
        while len(self._open) >= _OPEN or len(self._results) >= self._concurrency:
            self._opener = asyncio.get_running_loop().create_future()
            await self._opener
        await self._turns.wait()
        workspace = WorkspaceAuditor(
            name, _patient(client), self._turns, self._lookups, self._approved
        )
        self._open[workspace] = None
        self._start(self._finish(workspace))

    async def _finish(self, workspace: WorkspaceAuditor) -> None:
        result = await workspace.audit()
        del self._open[workspace]
        total = self._totals
        self._totals = AuditProgress(
            finished=total.finished + 1,
            open=0,
            requests=total.requests + result.requests,
            retried=total.retried + result.retried,
            refused=total.refused + result.refused,
        )
        self._results.append(result)


def _pairs(
    source: Mapping[str, AsyncChatloom] | Iterable[tuple[str, AsyncChatloom]],
) -> Iterable[tuple[str, AsyncChatloom]]:
    if isinstance(source, Mapping):
        return cast("Mapping[str, AsyncChatloom]", source).items()
    return source


def _patient(client: AsyncChatloom) -> AsyncChatloom:
    """Return a client with counters of its own, and with patience unless it has its own policy."""
    return client.with_options(retry=AUDIT_RETRY if client.retry == RetryPolicy() else client.retry)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
