"""From the shell to a command and back: arguments in, exit status out, errors on one line.

Not here: a command's options and its work (a module each), signals (``cli.interrupts``), and the
standard streams (``cli.streams``).
"""

from __future__ import annotations

import errno
import io
import re
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import redirect_stderr
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from chatloom_async.cli.interrupts import INTERRUPTED, Interrupts
from chatloom_async.cli.streams import (
    discard_output,
    prepare,
    tell,
    tell_interrupted,
    tell_traceback,
)
from chatloom_async.errors import ChatloomError, ConfigurationError
from chatloom_async.version import __version__

FAILED = 2
_NO_READER = 141  # 128 + SIGPIPE
_NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO, errno.EBADF)
_KEY = re.compile(r"(?<![\w./\\])clf_|^--?\w*clf_")  # quoted or glued; not in a file's name

# Name, module, summary. A module is imported when its command is asked for: --help stays quick.
# It holds the command as a function NAME, and add_NAME, which adds its options to a parser.
_COMMANDS = (
    ("audit", "audit", "audit one workspace or thousands"),
    ("agents", "agents", "list the agents of one workspace"),
    ("domains", "agents", "list the domains an agent may load on"),
    ("diff", "diff", "compare two audits; exit 1 when they differ"),
    ("report", "report", "make a web page of an audit"),
    ("doctor", "doctor", "find out why it does not work, and what helps"),
    ("sandbox", "sandbox", "serve a local API to try things on"),
    ("completion", "completion", "print what makes a shell complete these commands"),
)

_ABOUT = """\
Chatloom workspaces from the command line: which agents exist, on which domains
each may load, what is wrong with that, and what changed.
"""

_ENVIRONMENT = """\
environment:
  CHATLOOM_API_KEY       the key of one workspace (dashboard: Settings, API Keys)
  CHATLOOM_BASE_URL      another server, such as that of 'chatloom-async sandbox'
  HTTPS_PROXY, NO_PROXY  the way to the server, as other tools have it

exit status: 0 done, 1 what --fail-on names or a difference was found, 2 not
started or not finished, 130 interrupted, 141 nobody read the output to its end

example, without a key:
  chatloom-async audit --sandbox
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status: 0 done, 1 found something, 2 failed."""
    interrupts = Interrupts()
    arguments = list(sys.argv[1:] if argv is None else argv)
    with interrupts.installed(for_good=argv is None):
        try:
            prepare()
            status = _guarded(arguments, interrupts)
        except KeyboardInterrupt:
            tell_interrupted("chatloom-async: interrupted")
            status = INTERRUPTED
        if status == INTERRUPTED and argv is None:
            interrupts.leave()
        return status


def _guarded(arguments: list[str], interrupts: Interrupts) -> int:
    """Run a command; what it raises becomes a line and an exit status."""
    try:
        try:
            return _run(arguments, interrupts)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output has enough
        discard_output()
        return _NO_READER
    except Exception as error:  # noqa: BLE001 - left to Python it ends with 1, "found something"
        if _of_output(error):
            discard_output()
        if "--debug" in arguments:
            tell_traceback(error)
        tell(f"chatloom-async: {_explained(error)}")
        return FAILED


def parser(*, with_options: Callable[[str], bool]) -> ArgumentParser:
    """Return the parser of all commands, with the options of those that are needed."""
    top = ArgumentParser(
        "chatloom-async",
        description=_ABOUT,
        epilog=_ENVIRONMENT,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module, summary in _COMMANDS:
        command = commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            formatter_class=RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
        if with_options(name):
            found = import_module(f"chatloom_async.cli.{module}")
            getattr(found, f"add_{name}")(command)
            command.set_defaults(run=getattr(found, name))
    return top


def _run(arguments: list[str], interrupts: Interrupts) -> int:
    _check_extra()
    _check_no_key(arguments)
    options = _parsed(arguments)
    if isinstance(options, int):
        return options
    result: int | Coroutine[Any, Any, int] = options.run(options)
    return result if isinstance(result, int) else interrupts.run(result)


def _check_extra() -> None:
    """Refuse to begin what could not draw its table.

    Raises:
        ConfigurationError: the extra ``cli`` is not installed.

    """
    if any(find_spec(each) is None for each in ("rich", "jinja2", "shtab")):
        raise ConfigurationError("the command line is an extra: pip install 'chatloom_async[cli]'")


def _check_no_key(arguments: list[str]) -> None:
    """Refuse a key among the arguments, before anything repeats it.

    Raises:
        ConfigurationError: an argument holds one.

    """
    if any(_KEY.search(argument) for argument in arguments):
        raise ConfigurationError(
            "an API key does not belong on the command line, where other users and the shell's "
            "history see it: set CHATLOOM_API_KEY, or put it in a keys file"
        )


def _parsed(arguments: list[str]) -> Namespace | int:
    """Return the options, or the exit status after --help and what cannot be understood."""
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            return parser(with_options=arguments.__contains__).parse_args(arguments)
    except SystemExit as ending:
        # argparse repeats arguments as they are, below a usage of many lines.
        _, _, problem = said.getvalue().strip("\n").partition(": error: ")
        if problem:
            tell(f"chatloom-async: {problem} (see --help)")
        return ending.code if isinstance(ending.code, int) else FAILED


def _explained(error: Exception) -> str:
    if isinstance(error, ChatloomError):
        return str(error)
    if isinstance(error, OSError):
        where = "standard output" if _of_output(error) else error.filename
        return f"{error.strerror or error}{f': {where}' if where else ''}"
    return f"unexpected {type(error).__name__}: {error}; --debug shows where, please report it"


def _of_output(error: Exception) -> bool:
    """Tell whether standard output could not be written: other files name themselves."""
    return isinstance(error, OSError) and error.filename is None and error.errno in _NO_ROOM
