"""One workspace, from listing its agents to the finished ``WorkspaceAudit``.

Not here: how many workspaces are audited at the same time (``run``), the rules (``findings``).
"""

from __future__ import annotations

import asyncio

from attrs import define, evolve, field

from chatloom_async.audit.approved import ApprovedDomains
from chatloom_async.audit.findings import agent_findings, list_findings
from chatloom_async.audit.results import AuditedAgent, Finding, Gap, WorkspaceAudit
from chatloom_async.calls.retry import RetryPolicy
from chatloom_async.client import AsyncChatloom
from chatloom_async.errors import APIStatusError, AuthenticationError, ChatloomError
from chatloom_async.fanout import Failure, FanOut
from chatloom_async.models import Agent, AgentList

AUDIT_RETRY = RetryPolicy(attempts=8, patience=600.0)
"""What an audit uses in place of the default policy: runs of hours outlive outages of minutes."""

_LONGEST_MESSAGE = 500
_KEY_SOURCE = "the source of the key failed; its words are left out, for they may hold the key"


@define(eq=False)
class WorkspaceAuditor:
    """One workspace being read, by several tasks; for one use."""

    name: str
    client: AsyncChatloom
    lookups: int
    approved: ApprovedDomains | None
    started: float = field(factory=lambda: asyncio.get_running_loop().time(), init=False)
    refused_before: int | None = field(default=None, init=False)
    agents: list[AuditedAgent] = field(factory=list, init=False)
    found: dict[int, tuple[Finding, ...]] = field(factory=dict, init=False)
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
        await self._read_domains(listed)
        return self._result(list_findings(listed.count, len(listed)))

    def _note_refusals(self) -> None:
        """Remember what the limiter, which may be older than the audit, saw before the answer."""
        limiter = self.client.stats().limiter
        self.refused_before = 0 if limiter is None else limiter.refused

    async def _read_domains(self, listed: AgentList) -> None:
        self.agents = [_audited(agent, None) for agent in listed]
        places = range(len(listed))
        async with FanOut(self._look_up, places, concurrency=self.lookups) as answers:
            async for answer in answers:
                if isinstance(answer, Failure):
                    raise answer.error

    async def _look_up(self, place: int) -> None:
        agent = self.agents[place]
        try:
            if self.key_gap is None:
                domains = await self.client.get_allowed_domains(agent.id)
                agent = self.agents[place] = evolve(agent, allowed_domains=domains.domains)
        except AuthenticationError as error:
            self.key_gap = _gap(None, error)
        except ChatloomError as error:
            self.gaps[place] = _gap(agent.id, error)
        self.found[place] = agent_findings(agent, self.approved)

    def _result(self, findings: tuple[Finding, ...]) -> WorkspaceAudit:
        spent = self.client.stats()
        refused = 0 if spent.limiter is None else spent.limiter.refused
        places = range(len(self.agents))
        gaps = () if self.key_gap is None else (self.key_gap,)
        return WorkspaceAudit(
            self.name,
            tuple(self.agents),
            (*findings, *(each for place in places for each in self.found[place])),
            (*gaps, *(self.gaps[place] for place in places if place in self.gaps)),
            spent.requests,
            spent.retried,
            0 if self.refused_before is None else refused - self.refused_before,
            asyncio.get_running_loop().time() - self.started,
        )


def _audited(agent: Agent, domains: tuple[str, ...] | None) -> AuditedAgent:
    return AuditedAgent(
        agent.id,
        agent.name,
        agent.primary_color,
        agent.secondary_color,
        agent.position,
        agent.template,
        agent.status,
        agent.created_at,
        domains,
    )


def _gap(agent: str | None, error: Exception) -> Gap:
    kind = type(error).__name__
    if not isinstance(error, ChatloomError):
        # A call raises nothing else by itself, only what the caller's source of keys raised.
        return Gap(agent, kind, None, _KEY_SOURCE)
    status = error.status if isinstance(error, APIStatusError) else None
    return Gap(agent, kind, status, error.message[:_LONGEST_MESSAGE])
