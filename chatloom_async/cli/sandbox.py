"""``sandbox``: a local API with the workspaces of the demonstration, until Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path

from chatloom_async.audit.text import say
from chatloom_async.errors import ConfigurationError
from chatloom_async.testing import Sandbox, Workspace, demo_faults, demo_workspaces

_TIP = "# all of its workspaces: chatloom-async sandbox --keys demo.toml, then audit demo.toml"


def sandbox(options: Namespace) -> int:
    """Serve until interrupted."""
    workspaces = demo_workspaces()
    if options.keys:
        _write_keys(options.keys, workspaces)
    try:
        asyncio.run(_serve(workspaces, options.port, options.keys))
    except KeyboardInterrupt:
        say("\nchatloom-async: sandbox stopped", sys.stderr)
    return 0


async def _serve(workspaces: tuple[Workspace, ...], port: int, keys: str | None) -> None:
    async with Sandbox(workspaces, faults=demo_faults(), port=port) as server:
        say(_setting("CHATLOOM_BASE_URL", server.base_url), sys.stdout)
        say(_setting("CHATLOOM_API_KEY", workspaces[0].key), sys.stdout)
        say(f"# now, elsewhere: chatloom-async audit {keys}" if keys else _TIP, sys.stdout)
        say("# serving until Ctrl-C", sys.stdout)
        await asyncio.Event().wait()


def _setting(name: str, value: str) -> str:
    return f'$env:{name} = "{value}"' if os.name == "nt" else f"export {name}={value}"


def _write_keys(path: str, workspaces: Iterable[Workspace]) -> None:
    lines = [f"{json.dumps(each.name)} = {json.dumps(each.key)}\n" for each in workspaces]
    try:
        Path(path).write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"cannot write {path!r}: {error.strerror}") from None
