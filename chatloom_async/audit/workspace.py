"""One workspace, from listing its agents to the finished ``WorkspaceAudit``.

Not here: how many workspaces are audited at the same time (``run``), what is a finding (``judge``).
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from attrs import define, field

from chatloom_async.audit.judge import Judge
from chatloom_async.audit.results import AuditedAgent, Finding, Gap, WorkspaceAudit
from chatloom_async.calls.retry import RetryPolicy
from chatloom_async.client import AsyncChatloom
from chatloom_async.errors import APIStatusError, AuthenticationError, ChatloomError
from chatloom_async.fanout import Failure, FanOut
from chatloom_async.models import Agent

AUDIT_RETRY = RetryPolicy(attempts=8, patience=600.0)
"""What an audit uses in place of the default policy: runs of hours outlive outages of minutes."""

LOOKUPS = 8
"""Calls of one workspace at once, if nothing else is asked for."""

_LONGEST_MESSAGE = 500
_KEY_SOURCE = "the source of the key failed; its words are left out, for they may hold the key"


@define(eq=False)
class WorkspaceAuditor:
    """One workspace being read, by several tasks; for one use."""

    name: str
    client: AsyncChatloom
    lookups: int
    judge: Judge
    started: float = field(factory=lambda: asyncio.get_running_loop().time(), init=False)
    refused_before: int | None = field(default=None, init=False)
    listed: tuple[Agent, ...] = field(default=(), init=False)
    domains: dict[int, tuple[str, ...]] = field(factory=dict, init=False)
    gaps: dict[int, Gap] = field(factory=dict, init=False)
    key_gap: Gap | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        """Take a client with counters of its own; a policy that somebody chose is kept."""
        retry = self.client.retry
        self.client = self.client.with_options(
            retry=AUDIT_RETRY if retry == RetryPolicy() else retry
        )

    async def audit(self) -> WorkspaceAudit:
        """Read all there is."""
        asyncio.get_running_loop().call_soon(self._note_refusals)
        try:
            listed = await self.client.list_agents()
        except Exception as error:  # noqa: BLE001 - also of the source of its key, see _gap
            self.key_gap = _gap(None, error)
            return self._result(())
        self.listed = listed.agents
        await self._read_domains()
        return self._result(self.judge.listing(listed.count, len(listed)))

    def _note_refusals(self) -> None:
        """Remember what the limiter, which may be older than the audit, saw before the answer."""
        limiter = self.client.stats().limiter
        self.refused_before = 0 if limiter is None else limiter.refused

    async def _read_domains(self) -> None:
        places = range(len(self.listed))
        async with FanOut(self._look_up, places, concurrency=self.lookups) as answers:
            async for answer in answers:
                if isinstance(answer, Failure):
                    raise answer.error

    async def _look_up(self, place: int) -> None:
        if self.key_gap is not None:
            return
        agent_id = self.listed[place].id
        try:
            self.domains[place] = (await self.client.get_allowed_domains(agent_id)).domains
        except AuthenticationError as error:
            self.key_gap = _gap(None, error)
        except ChatloomError as error:
            self.gaps[place] = _gap(agent_id, error)

    def _result(self, findings: tuple[Finding, ...]) -> WorkspaceAudit:
        spent = self.client.stats()
        refused = 0 if spent.limiter is None else spent.limiter.refused
        agents = tuple(
            AuditedAgent.of(agent, self.domains.get(place))
            for place, agent in enumerate(self.listed)
        )
        gaps = () if self.key_gap is None else (self.key_gap,)
        return WorkspaceAudit(
            self.name,
            agents,
            (*findings, *self.judge.agents(agents)),
            (*gaps, *(self.gaps[place] for place in sorted(self.gaps))),
            spent.requests,
            spent.retried,
            0 if self.refused_before is None else refused - self.refused_before,
            asyncio.get_running_loop().time() - self.started,
            datetime.now(UTC),
        )


def _gap(agent: str | None, error: Exception) -> Gap:
    kind = type(error).__name__
    if not isinstance(error, ChatloomError):
        # A call raises nothing else by itself, only what the caller's source of keys raised.
        return Gap(agent, kind, None, _KEY_SOURCE)
    status = error.status if isinstance(error, APIStatusError) else None
    return Gap(agent, kind, status, error.message[:_LONGEST_MESSAGE])
