"""A visit: one open workspace, from listing its agents to the finished ``WorkspaceAudit``.

How many workspaces are open is decided in ``stream``, whose turn it is to make a call in ``turns``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from attrs import define, field

from chatloom_async.audit.domains import ApprovedDomains
from chatloom_async.audit.findings import agent_findings, list_findings
from chatloom_async.audit.results import AuditedAgent, Finding, Gap, WorkspaceAudit
from chatloom_async.audit.turns import Turns
from chatloom_async.client import AsyncChatloom
from chatloom_async.errors import APIStatusError, AuthenticationError, ChatloomError
from chatloom_async.models import Agent, AgentList

_LONGEST_MESSAGE = 500
_KEY_SOURCE = "the source of the key failed; its words are left out, for they may hold the key"


@define(eq=False)
class WorkspaceAuditor:
    """One workspace being read, by several tasks."""

    name: str
    client: AsyncChatloom
    turns: Turns
    lookups: int
    approved: ApprovedDomains | None
    started: float = field(factory=lambda: asyncio.get_running_loop().time(), init=False)
    refused_before: int | None = field(default=None, init=False)
    agents: list[AuditedAgent] = field(factory=list, init=False)
    found: dict[int, tuple[Finding, ...]] = field(factory=dict, init=False)
    gaps: dict[int, Gap] = field(factory=dict, init=False)
    key_gap: Gap | None = field(default=None, init=False)

    def spent(self) -> WorkspaceAudit:
        """Return what it cost so far, and nothing else."""
        done = self.client.stats()
        refused = 0 if done.limiter is None else done.limiter.refused
        return WorkspaceAudit(
            self.name,
            requests=done.requests,
            retried=done.retried,
            refused=0 if self.refused_before is None else refused - self.refused_before,
            elapsed=asyncio.get_running_loop().time() - self.started,
        )

    async def audit(self) -> WorkspaceAudit:
        """Read all there is; the turn for listing the agents was waited for."""
        asyncio.get_running_loop().call_soon(self._note_refusals)
        turn = self.turns.begin(self.client)
        try:
            listed = await self.client.list_agents()
        except Exception as error:  # noqa: BLE001 - also of the source of its key, see _gap
            self.key_gap = _gap(None, error)
            return self._result(())
        finally:
            self.turns.end(turn)
        await self._read_domains(listed)
        return self._result(list_findings(listed.count, len(listed)))

    def _note_refusals(self) -> None:
        """Remember what the gate, which may be older than the audit, has seen before the answer."""
        limiter = self.client.stats().limiter
        self.refused_before = 0 if limiter is None else limiter.refused

    async def _read_domains(self, listed: AgentList) -> None:
        self.agents = [_audited(agent, None) for agent in listed]
        waiting = enumerate(listed)
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(min(self.lookups, len(listed)) - 1):
                    workers.create_task(self._look_up(waiting))
                await self._look_up(waiting)
        except ExceptionGroup as group:
            error = group.exceptions[0]
        else:
            return
        raise error

    async def _look_up(self, waiting: Iterator[tuple[int, Agent]]) -> None:
        for place, agent in waiting:
            await self.turns.wait()
            turn = self.turns.begin(self.client)
            try:
                if self.key_gap is None:
                    domains = await self.client.get_allowed_domains(agent.id)
                    self.agents[place] = _audited(agent, domains.domains)
            except AuthenticationError as error:
                self.key_gap = _gap(None, error)
            except ChatloomError as error:
                self.gaps[place] = _gap(agent.id, error)
            finally:
                self.turns.end(turn)
            self.found[place] = agent_findings(self.agents[place], self.approved)

    def _result(self, findings: tuple[Finding, ...]) -> WorkspaceAudit:
        spent = self.spent()
        places = range(len(self.agents))
        gaps = () if self.key_gap is None else (self.key_gap,)
        return WorkspaceAudit(
            self.name,
            tuple(self.agents),
            (*findings, *(each for place in places for each in self.found[place])),
            (*gaps, *(self.gaps[place] for place in places if place in self.gaps)),
            spent.requests,
            spent.retried,
            spent.refused,
            spent.elapsed,
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
