"""``agents`` and ``domains``: one workspace, the one of CHATLOOM_API_KEY."""

from __future__ import annotations

import asyncio
import csv
import json
import sys
from argparse import Namespace

from chatloom_async.audit.text import plural, say, spreadsheet, visible
from chatloom_async.cli.tables import Table, draw
from chatloom_async.client import AsyncChatloom
from chatloom_async.models import Agent, AgentList, AllowedDomains

_COLUMNS = ("id", "name", "status", "template", "position", "created_at")


def agents(options: Namespace) -> int:
    """List the workspace's agents."""
    found = asyncio.run(_list_agents())
    if options.format == "jsonl":
        for agent in found:
            say(json.dumps(dict(zip(_COLUMNS, _row(agent), strict=True))), sys.stdout)
    elif options.format == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows([spreadsheet(cell) for cell in _row(agent)] for agent in found)
    else:
        rows = [(*_row(agent)[:-1], agent.created_at.date().isoformat()) for agent in found]
        title = plural(len(found), "agent")
        draw(Table(title, _COLUMNS, rows, spare=frozenset({3, 4})), sys.stdout)
    return 0


def domains(options: Namespace) -> int:
    """List an agent's domains, one a line."""
    found = asyncio.run(_get_domains(options.agent_id))
    for domain in found:
        say(visible(domain), sys.stdout)
    if not found:
        say("no domain listed", sys.stderr)
    return 0


async def _list_agents() -> AgentList:
    async with AsyncChatloom() as chatloom:
        return await chatloom.list_agents()


async def _get_domains(agent_id: str) -> AllowedDomains:
    async with AsyncChatloom() as chatloom:
        return await chatloom.get_allowed_domains(agent_id)


def _row(agent: Agent) -> tuple[str, ...]:
    created = agent.created_at.isoformat()
    return (agent.id, agent.name, agent.status, agent.template, agent.position, created)
