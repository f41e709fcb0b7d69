"""The standard streams of the command line, whatever state a shell has left them in.

Not here: what makes text fit for a terminal (``audit.text``).
"""

import codecs
import os
import sys
import traceback
from contextlib import suppress
from io import TextIOWrapper

from chatloom_async.audit.text import visible

_STANDARD = 3  # stdin, stdout, stderr
# Our own signs, for an encoding that has none of them.
_PLAIN = str.maketrans(
    {"\N{MULTIPLICATION SIGN}": "x", "…": "...", "→": "->", "·": "-", "✓": "+", "✗": "!", "↻": "~"}
)


def prepare() -> None:
    """Make the streams usable: closed ones (``>&-``) lead nowhere, and any text can be written."""
    if None in (sys.stdin, sys.stdout, sys.stderr):
        # No file that is opened later may get the number of a standard stream.
        while (number := os.open(os.devnull, os.O_RDWR)) < _STANDARD:
            pass
        os.close(number)
        sys.stdin = sys.stdin or os.fdopen(0, encoding="utf-8", closefd=False)
        sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)
    codecs.register_error("chatloom_async", _plain)
    for stream in (sys.stdout, sys.stderr):
        # Names may hold what the terminal's encoding, or any, has no bytes for.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="chatloom_async")


def _plain(error: UnicodeError) -> tuple[str, int]:
    """Write out what an encoding has no bytes for: our signs readably, all else as escapes."""
    assert isinstance(error, UnicodeEncodeError)  # noqa: S101 - the streams are written to
    text = error.object[error.start : error.end].translate(_PLAIN)
    return text.encode("ascii", "backslashreplace").decode(), error.end


def say(text: str) -> None:
    """Write a line to standard output and let it be seen at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def tell(text: str) -> None:
    """Write a line to standard error, control characters written out; nobody may be listening."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{visible(text)}\n")
        sys.stderr.flush()


def tell_interrupted(text: str) -> None:
    """Write a line to standard error, below the ``^C`` that a terminal shows."""
    if sys.stderr.isatty():
        sys.stderr.write("\n")
    tell(text)


def tell_traceback(error: BaseException) -> None:
    """Write a traceback to standard error; what an exception says stays on one line."""
    for part in traceback.TracebackException.from_exception(error).format():
        text = part.rstrip("\n")
        # Only frames are of several lines by themselves: where, and the source there.
        for line in text.split("\n") if text.startswith("  File ") else [text]:
            tell(line)


def discard_output() -> None:
    """Let standard output lead nowhere: its reader is gone, or its disk full.

    What is still in its buffer would make the interpreter complain when it ends.
    """
    with suppress(OSError, ValueError):
        number = sys.stdout.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)
