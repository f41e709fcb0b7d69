"""Where ``chatloom-async`` begins: ready for signals, and quick to help, before any import.

An import of anything below ``chatloom_async`` imports the whole client first, which takes a while.
So this file is installed beside the package, as ``_chatloom_async``. It handles signals before it
imports anything else, and shows ``--help`` and ``--version`` without the client.

Not here: the commands (``cli.main``), and what signals lead to once one runs (``cli.interrupts``).
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False  # the import of typing alone would take longer than those above

if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

# ruff: noqa: PLC0415 - nothing more is imported before signals are handled

_INTERRUPTED = 130
_QUICK = (["--help"], ["-h"], ["--version"])


def main() -> int:
    """Run the command that the process's arguments name, and return the exit status."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        each = getattr(signal, name, signal.SIGINT)  # Windows has no SIGHUP
        if signal.getsignal(each) is not signal.SIG_IGN:
            signal.signal(each, _leave)
    from importlib import import_module

    if sys.argv[1:] in _QUICK and _shown():
        return 0
    status: int = import_module("chatloom_async.cli.main").main()
    return status


def _leave(_number: int, _frame: FrameType | None) -> None:
    """End the process: no command has begun, and an import takes no exception well."""
    try:
        os.write(2, b"\n" * os.isatty(2) + b"chatloom-async: interrupted\n")
    finally:
        os._exit(_INTERRUPTED)


def _shown() -> bool:
    """Show help or version; if something is in the way, return False: the command says what."""
    from contextlib import redirect_stdout, suppress
    from io import StringIO

    parser = _alone("cli/parser.py")
    if not parser.has_extra():
        return False
    with redirect_stdout(StringIO()) as shown, suppress(SystemExit):
        parser.parser(_alone("version.py").__version__, needed=()).parse_args()
    with suppress(OSError):
        os.write(1, shown.getvalue().encode())
        return True
    return False


def _alone(path: str) -> Any:
    """Return a module of the package, loaded without the package."""
    from importlib.util import find_spec, module_from_spec, spec_from_file_location

    package: Any = find_spec("chatloom_async")
    spec: Any = spec_from_file_location(path, f"{package.submodule_search_locations[0]}/{path}")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
