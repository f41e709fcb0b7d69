"""Audits: every agent of many workspaces with its allowed domains.

Not here: how a workspace is read (``calls.workspace``), the values (``results``), what counts as a
finding (``judge``), files (``files``, ``log``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Self

from attrs import define

from chatloom_async.audit.findings import list_findings
from chatloom_async.audit.judge import Judge
from chatloom_async.audit.results import AuditReport, AuditTotals, WorkspaceAudit
from chatloom_async.calls.retry import RetryPolicy
from chatloom_async.calls.workspace import gap, read_workspace
from chatloom_async.client import AsyncChatloom
from chatloom_async.errors import ConfigurationError, require_whole
from chatloom_async.fanout import Failure, FanOut
from chatloom_async.models import Gap, WorkspaceSnapshot

AUDIT_RETRY = RetryPolicy(attempts=8, patience=600.0)
"""What an audit uses in place of the default policy: runs of hours outlive outages of minutes."""

LOOKUPS = 8  # calls of one workspace at once, if nothing else is asked for

Workspaces = (
    Mapping[str, AsyncChatloom]
    | Iterable[tuple[str, AsyncChatloom]]
    | AsyncIterable[tuple[str, AsyncChatloom]]
)


async def audit(
    workspaces: Workspaces,
    *,
    concurrency: int = 250,
    lookups: int = LOOKUPS,
    approved: Iterable[str] | None = None,
    ignore: Iterable[str] = (),
) -> AuditReport:
    """Audit workspaces and return everything at once; see ``stream_audit`` for the arguments.

    Beyond what the stream yields, the report compares the workspaces with each other.

    Raises:
        ConfigurationError: an option or one of the workspaces cannot work.
    """
    judge = Judge.of(approved, ignore)
    started = asyncio.get_running_loop().time()
    done: list[WorkspaceAudit] = []
    totals = AuditTotals()
    async with _stream(workspaces, concurrency, lookups, judge) as stream:
        async for workspace in stream:
            done.append(workspace)
            totals = totals.plus(workspace)
    findings = judge.across(done)
    elapsed = asyncio.get_running_loop().time() - started
    return AuditReport(tuple(done), findings, totals.plus_findings(findings), elapsed)


def stream_audit(
    workspaces: Workspaces,
    *,
    concurrency: int = 250,
    lookups: int = LOOKUPS,
    approved: Iterable[str] | None = None,
    ignore: Iterable[str] = (),
) -> AuditStream:
    """Audit workspaces and yield each as soon as it is complete, in flat memory.

    ::

        async with stream_audit(workspaces) as results:
            async for workspace in results: ...

    The unit of failure is one agent or one workspace: any ``ChatloomError`` becomes a ``Gap``. A
    key that is refused ends its workspace with one gap, and so does any error of a callable that a
    client takes its key from: its class is told and its words are not. An error of ``workspaces``
    itself ends the iteration. Leaving the block cancels what is under way.

    Clients with the default ``RetryPolicy`` use ``AUDIT_RETRY``, others their own. None is closed.

    Args:
        workspaces: names and clients; a mapping, or pairs that are read only as fast as the audit
            goes, so that clients can be made on the way. Let them share a ``ConnectionPool``.
        concurrency: workspaces audited at the same time, those that wait for their own rate limit
            among them. While fewer than this are slow, they hold nobody up; when as many are, the
            others wait until one of them is complete: give a fleet of slow keys a higher number.
            Requests in flight are bounded by ``ConnectionPool(limit=…)``.
        lookups: calls of one workspace at once.
        approved: domains that may be listed, as for ``ApprovedDomains``; None: any.
        ignore: ids of ``FINDING_RULES`` to tell nothing of.

    Raises:
        ConfigurationError: an option cannot work.
    """
    return _stream(workspaces, concurrency, lookups, Judge.of(approved, ignore))


def _stream(workspaces: Workspaces, concurrency: int, lookups: int, judge: Judge) -> AuditStream:
    require_whole("concurrency", concurrency)
    require_whole("lookups", lookups)

    async def audit_one(workspace: object) -> WorkspaceAudit:
        match workspace:
            case (str() as name, AsyncChatloom() as client):
                return await audit_workspace(name, client, lookups, judge)
        raise ConfigurationError("a workspace is a name and an AsyncChatloom, in a mapping or pair")

    pairs = workspaces.items() if isinstance(workspaces, Mapping) else workspaces
    return AuditStream(FanOut(audit_one, pairs, concurrency=concurrency))


@define(eq=False)
class AuditStream:
    """A ``FanOut`` that yields audits: enter it once, then iterate.

    What its calls raise ends the iteration, for they turn into gaps all that may go wrong.
    """

    _audits: FanOut[Any, WorkspaceAudit]

    async def __aenter__(self) -> Self:
        """Start; nothing was read from the workspaces before."""
        await self._audits.__aenter__()
        return self

    async def __aexit__(self, *problem: object) -> None:
        """Cancel what is under way and wait until it is gone."""
        await self._audits.__aexit__(*problem)

    def __aiter__(self) -> AsyncIterator[WorkspaceAudit]:
        return self

    async def __anext__(self) -> WorkspaceAudit:
        """Return the next workspace, in the order in which they are finished.

        Raises:
            ConfigurationError: it is read outside its block, or by two tasks at once.
        """
        answer = await anext(self._audits)
        if isinstance(answer, Failure):
            raise answer.error
        return answer.value


async def audit_workspace(
    name: str, client: AsyncChatloom, lookups: int, judge: Judge
) -> WorkspaceAudit:
    """Read all there is of one workspace, and judge it; ``lookups`` calls at once."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    # With counters of its own and no cache; a policy that was chosen is kept.
    retry = AUDIT_RETRY if client.retry == RetryPolicy() else client.retry
    client = client.with_options(retry=retry, cache=None)
    try:
        read = await read_workspace(client.list_agents, client.get_allowed_domains, lookups=lookups)
    except Exception as error:  # noqa: BLE001 - also of the source of its key, see gap
        read = WorkspaceSnapshot((), (gap(None, error),), 0)
    listed, gaps = len(read.agents), read.gaps
    if read.count > listed:  # agents that nobody has looked at
        (missing,) = list_findings(read.count, listed)
        gaps = (Gap(None, "ResponseDecodeError", None, missing.message), *gaps)
    spent = client.stats()
    return WorkspaceAudit(
        name,
        read.agents,
        (*judge.listing(read.count, listed), *judge.agents(read.agents)),
        gaps,
        spent.requests,
        spent.retried,
        spent.refused,
        loop.time() - started,
        datetime.now(UTC),
    )
