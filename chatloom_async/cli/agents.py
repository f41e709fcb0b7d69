"""``agents`` and ``domains``: one workspace, the one of CHATLOOM_API_KEY."""

import json
import sys
from argparse import ArgumentParser, Namespace

from chatloom_async.audit.text import plural, visible
from chatloom_async.cli.options import add_format, add_proxy, open_pool
from chatloom_async.cli.sinks import AGENT_COLUMNS, agent_cells, csv_writer
from chatloom_async.cli.streams import say, tell
from chatloom_async.cli.tables import Table, draw
from chatloom_async.client import AsyncChatloom

_AGENTS_EXAMPLE = """\
example, with CHATLOOM_API_KEY set:
  chatloom-async agents --format csv > agents.csv
"""

_DOMAINS_EXAMPLE = """\
example, with CHATLOOM_API_KEY set:
  chatloom-async domains agt_abc123
"""


def add_agents(command: ArgumentParser) -> None:
    """Add the options of ``agents``."""
    command.epilog = _AGENTS_EXAMPLE
    add_format(command)
    add_proxy(command)


def add_domains(command: ArgumentParser) -> None:
    """Add the options of ``domains``."""
    command.epilog = _DOMAINS_EXAMPLE
    command.add_argument("agent_id", metavar="AGENT_ID", help="an id that 'agents' shows")
    add_proxy(command)


async def agents(options: Namespace) -> int:
    """List the workspace's agents."""
    async with open_pool(options.proxy, None) as pool, AsyncChatloom(pool=pool) as chatloom:
        found = await chatloom.list_agents()
    if options.format == "jsonl":
        for agent in found:
            say(json.dumps(dict(zip(AGENT_COLUMNS, agent_cells(agent), strict=True))))
    elif options.format == "csv":
        write = csv_writer(sys.stdout, AGENT_COLUMNS)
        for agent in found:
            write(agent_cells(agent))
    else:
        rows = [(*agent_cells(agent)[:-1], agent.created_at.date().isoformat()) for agent in found]
        title = plural(len(found), "agent")
        draw(Table(title, AGENT_COLUMNS, rows, spare=frozenset({3, 4})), sys.stdout)
    return 0


async def domains(options: Namespace) -> int:
    """List an agent's domains, one a line."""
    async with open_pool(options.proxy, None) as pool, AsyncChatloom(pool=pool) as chatloom:
        found = await chatloom.get_allowed_domains(options.agent_id)
    for domain in found:
        say(visible(domain))
    if not found:
        tell("no domain listed")
    return 0
