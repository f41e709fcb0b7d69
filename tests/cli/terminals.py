"""Streams that stand for a terminal, and a process of the command line."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple, Protocol

COMMANDS = ["audit", "agents", "domains", "diff", "report", "doctor", "sandbox", "completion"]
COMMAND = [sys.executable, "-m", "chatloom_async"]
ROOT = Path(__file__).parents[2]
HOSTILE = "[bold]\x1b[2J\u202egnp\ud800\nred[/bold]"


class Shown(NamedTuple):
    out: str
    err: str


class Cli(Protocol):
    def __call__(self, *arguments: object, status: int = 0) -> Shown: ...


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class CtrlC(io.StringIO):
    """A stream whose reader presses Ctrl-C on seeing this text."""

    def __init__(self, at: str) -> None:
        super().__init__()
        self.at = at

    def write(self, text: str) -> int:
        written = super().write(text)
        if self.at in text:
            signal.raise_signal(signal.SIGINT)
        return written


class Failing(io.StringIO):
    """A stream that cannot be written to."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def write(self, _: str) -> int:
        raise OSError(self.number, os.strerror(self.number))


def started(*arguments: str, out: int = subprocess.PIPE) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments], cwd=ROOT, stdout=out, stderr=subprocess.PIPE, encoding="utf-8"
    )
