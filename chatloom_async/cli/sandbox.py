"""``sandbox``: a local API with the workspaces of the demonstration, until Ctrl-C."""

import asyncio
import errno
import json
import os
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Coroutine, Iterable
from pathlib import Path
from shlex import quote
from typing import Any

from chatloom_async.audit.draft import write_whole
from chatloom_async.audit.text import visible
from chatloom_async.cli.options import add_force, check_free
from chatloom_async.cli.streams import say, tell_interrupted
from chatloom_async.errors import ConfigurationError
from chatloom_async.testing import Sandbox, Workspace, demo_faults, demo_workspaces

_TAKEN = (errno.EADDRINUSE, errno.EACCES)  # the latter by the system itself
_TIP = "# all of its workspaces: chatloom-async sandbox --keys demo.toml, then audit demo.toml"
_EXAMPLE = """\
example; it prints what to export:
  chatloom-async sandbox --keys demo.toml
  chatloom-async audit demo.toml      in another terminal
"""


def add_sandbox(command: ArgumentParser) -> None:
    """Add the options of ``sandbox``."""
    command.epilog = _EXAMPLE
    add = command.add_argument
    add("--port", type=_port, default=0, help="where to serve (default: any free port)")
    add("--keys", metavar="FILE", help="write a keys file for its workspaces")
    add_force(command)


def sandbox(options: Namespace) -> Coroutine[Any, Any, int]:
    """Write what is wanted; return what serves until it is interrupted."""
    workspaces = demo_workspaces()
    if options.keys:
        _write_keys(options.keys, workspaces, force=options.force)
    return _serve(workspaces, options.port, options.keys)


async def _serve(workspaces: tuple[Workspace, ...], port: int, keys: str | None) -> int:
    try:
        async with Sandbox(workspaces, faults=demo_faults(), port=port) as server:
            say(_setting("CHATLOOM_BASE_URL", server.base_url))
            say(_setting("CHATLOOM_API_KEY", workspaces[0].key))
            elsewhere = f"# now, elsewhere: chatloom-async audit {visible(quote(keys or ''))}"
            say(elsewhere if keys else _TIP)
            say("# serving until Ctrl-C")
            await asyncio.Event().wait()
    except OSError as error:
        if error.errno not in _TAKEN:
            raise
        raise ConfigurationError(f"cannot serve on port {port}: choose another --port") from None
    except asyncio.CancelledError:
        tell_interrupted("chatloom-async: sandbox stopped")
    return 0


def _setting(name: str, value: str) -> str:
    return f'$env:{name} = "{value}"' if os.name == "nt" else f"export {name}={value}"


def _write_keys(path: str, workspaces: Iterable[Workspace], *, force: bool) -> None:
    lines = (f"{json.dumps(each.name)} = {json.dumps(each.key)}\n" for each in workspaces)
    keys = "".join(lines).encode()
    try:
        if Path(path).is_file() and Path(path).read_bytes() == keys:
            return  # it is what an earlier sandbox has written
    except OSError as error:
        raise ConfigurationError(f"cannot write {path!r}: {error.strerror}") from None
    check_free(path, force=force)
    write_whole(path, [keys])


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= 65535:  # noqa: PLR2004 - 16 bits
        raise ArgumentTypeError(f"a port is a number up to 65535, not {text!r}")
    return int(text)
