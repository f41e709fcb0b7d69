"""One workspace, from the answers of the API to the finished ``WorkspaceAudit``.

Not here: how a workspace is read (``calls.workspace``), how many are audited at the same time
(``run``), what is a finding (``judge``).
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from attrs import define, field

from chatloom_async.audit.judge import Judge
from chatloom_async.audit.results import AuditedAgent, Finding, Gap, WorkspaceAudit
from chatloom_async.calls.retry import RetryPolicy
from chatloom_async.calls.workspace import gap, read_workspace
from chatloom_async.client import AsyncChatloom

AUDIT_RETRY = RetryPolicy(attempts=8, patience=600.0)
"""What an audit uses in place of the default policy: runs of hours outlive outages of minutes."""

LOOKUPS = 8
"""Calls of one workspace at once, if nothing else is asked for."""


@define(eq=False)
class WorkspaceAuditor:
    """One workspace being read, by several tasks; for one use."""

    name: str
    client: AsyncChatloom
    lookups: int
    judge: Judge
    started: float = field(factory=lambda: asyncio.get_running_loop().time(), init=False)
    refused_before: int | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        """Take a client with counters of its own and no cache; a policy that was chosen is kept."""
        retry = self.client.retry
        self.client = self.client.with_options(
            retry=AUDIT_RETRY if retry == RetryPolicy() else retry, cache=None
        )

    async def audit(self) -> WorkspaceAudit:
        """Read all there is."""
        asyncio.get_running_loop().call_soon(self._note_refusals)
        client = self.client
        try:
            read = await read_workspace(
                client.list_agents, client.get_allowed_domains, lookups=self.lookups
            )
        except Exception as error:  # noqa: BLE001 - also of the source of its key, see gap
            return self._result((), (), (gap(None, error),))
        findings = (
            *self.judge.listing(read.count, len(read.agents)),
            *self.judge.agents(read.agents),
        )
        return self._result(read.agents, findings, read.gaps)

    def _note_refusals(self) -> None:
        """Remember what the limiter, which may be older than the audit, saw before the answer."""
        limiter = self.client.stats().limiter
        self.refused_before = 0 if limiter is None else limiter.refused

    def _result(
        self,
        agents: tuple[AuditedAgent, ...],
        findings: tuple[Finding, ...],
        gaps: tuple[Gap, ...],
    ) -> WorkspaceAudit:
        spent = self.client.stats()
        refused = 0 if spent.limiter is None else spent.limiter.refused
        return WorkspaceAudit(
            self.name,
            agents,
            findings,
            gaps,
            spent.requests,
            spent.retried,
            0 if self.refused_before is None else refused - self.refused_before,
            asyncio.get_running_loop().time() - self.started,
            datetime.now(UTC),
        )
