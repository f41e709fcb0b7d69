"""From the shell to a command and back: arguments in, exit status out, errors on one line.

Not here: where the process begins (``cli.start``), which commands there are (``cli.parser``, and a
module each), signals (``cli.interrupts``), and the standard streams (``cli.streams``).
"""

import errno
import io
import os
import re
import sys
from argparse import Namespace
from collections.abc import Coroutine, Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

from chatloom_async.cli import streams
from chatloom_async.cli.interrupts import INTERRUPTED, Interrupts, leave
from chatloom_async.cli.parser import has_extra, parser
from chatloom_async.errors import ChatloomError, ConfigurationError
from chatloom_async.version import __version__

FAILED = 2
_NO_READER = 141  # 128 + SIGPIPE
_NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO, errno.EBADF)
_EMPTY = re.compile(r"|--[\w-]+=")
_KEY = re.compile(r"(?<![\w./\\])clf_|^--?\w*clf_")  # quoted or glued; not in a file's name


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status: 0 done, 1 found something, 2 failed."""
    interrupts = Interrupts()
    arguments = list(sys.argv[1:] if argv is None else argv)
    with interrupts.handled():
        try:
            streams.prepare()
            status = _guarded(arguments, interrupts)
        except KeyboardInterrupt:
            streams.tell_interrupted("chatloom-async: interrupted")
            status = INTERRUPTED
        if argv is None:
            leave(status)
    return status


def _guarded(arguments: list[str], interrupts: Interrupts) -> int:
    """Run a command; what it raises becomes a line and an exit status."""
    try:
        try:
            return _run(arguments, interrupts)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output has enough
        streams.discard_output()
        return _NO_READER
    except Exception as error:  # noqa: BLE001 - left to Python it ends with 1, "found something"
        if _of_output(error):
            streams.discard_output()
        if "--debug" in arguments:
            streams.tell_traceback(error)
        streams.tell(f"chatloom-async: {_explained(error)}")
        return FAILED


def _run(arguments: list[str], interrupts: Interrupts) -> int:
    if not has_extra():
        raise ConfigurationError("the command line is an extra: pip install 'chatloom_async[cli]'")
    # Before anything repeats them. A file of that name is no key; Path.is_file may raise.
    named = [each for each in arguments if not os.path.isfile(each)]  # noqa: PTH113 - as said
    if any(map(_KEY.search, named)):
        raise ConfigurationError(
            "an API key does not belong on the command line, where other users and the shell's "
            "history see it: set CHATLOOM_API_KEY, or put it in a keys file"
        )
    if any(map(_EMPTY.fullmatch, arguments)):
        raise ConfigurationError("an argument is empty: is a variable of the shell not set?")
    options = _parsed(arguments)
    if isinstance(options, int):
        return options
    result: int | Coroutine[Any, Any, int] = options.run(options)
    return result if isinstance(result, int) else interrupts.run(result)


def _parsed(arguments: list[str]) -> Namespace | int:
    """Return the options, or the exit status after --help and what cannot be understood."""
    shown, said = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(shown), redirect_stderr(said):
            return parser(__version__, arguments).parse_args(arguments)
    except SystemExit as ending:
        sys.stdout.write(shown.getvalue())  # argparse itself would not tell that it cannot
        # It repeats arguments as they are, below a usage of many lines.
        _, _, problem = said.getvalue().strip("\n").partition(": error: ")
        if problem:
            streams.tell(f"chatloom-async: {problem} (see --help)")
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
