"""From the shell to a command and back: arguments in, exit status out, errors on one line."""

from __future__ import annotations

import os
import sys
import traceback
from argparse import Namespace
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper

from chatloom_async.audit.text import say, visible
from chatloom_async.cli.arguments import check_no_key, parser
from chatloom_async.errors import ChatloomError

FAILED = 2
_INTERRUPTED = 130  # 128 + SIGINT, as shells do
_NO_READER = 141  # 128 + SIGPIPE

# Imported when asked for: a command pays for what it uses.
_COMMANDS = {
    "audit": "chatloom_async.cli.audit",
    "agents": "chatloom_async.cli.agents",
    "domains": "chatloom_async.cli.agents",
    "diff": "chatloom_async.cli.diff",
    "report": "chatloom_async.cli.report",
    "sandbox": "chatloom_async.cli.sandbox",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status: 0 done, 1 found something, 2 failed."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        # Names may hold what the terminal's encoding, or any, has no bytes for.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    debug = "--debug" in arguments
    try:
        check_no_key(arguments)
        options = parser().parse_args(arguments)
        status = _run(options)
        sys.stdout.flush()
    except SystemExit as ending:  # argparse, for --help and what it does not understand
        return ending.code if isinstance(ending.code, int) else FAILED
    except ChatloomError as error:
        return _explain(str(error), debug=debug)
    except KeyboardInterrupt:
        say("\nchatloom-async: interrupted", sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has enough. The interpreter would complain at its last flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _NO_READER
    except OSError as error:
        return _explain(f"{error.strerror or error}{_file(error)}", debug=debug)
    except Exception:  # noqa: BLE001 - left to Python it ends with 1, which means "found something"
        traceback.print_exc()
        return FAILED
    return status


def _run(options: Namespace) -> int:
    run = getattr(import_module(_COMMANDS[options.command]), options.command)
    status: int = run(options)
    return status


def _explain(message: str, *, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    say(f"chatloom-async: {visible(message)}", sys.stderr)
    return FAILED


def _file(error: OSError) -> str:
    return f": {error.filename!r}" if error.filename else ""
