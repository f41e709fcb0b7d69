"""``completion``: what makes a shell complete commands, options and file names."""

import sys
from argparse import ArgumentParser, Namespace, _SubParsersAction
from collections.abc import Iterator

import shtab

from chatloom_async.audit.text import say
from chatloom_async.cli.parser import parser
from chatloom_async.version import __version__

_FILES = ("FILE", "KEYS", "OLD", "NEW", "OUT")  # how arguments that are files are called

_EXAMPLE = """\
examples:
  eval "$(chatloom-async completion bash)"      in ~/.bashrc
  chatloom-async completion zsh > ~/.zfunc/_chatloom-async
"""


def add_completion(command: ArgumentParser) -> None:
    """Add the options of ``completion``."""
    command.epilog = _EXAMPLE
    command.add_argument("shell", choices=shtab.SUPPORTED_SHELLS, help="the shell you use")


def completion(options: Namespace) -> int:
    """Print the script that a shell reads."""
    top = parser(__version__, with_options=lambda _: True)
    for each in _parsers(top):
        for action in each._actions:  # noqa: SLF001 - argparse has no other list of them
            if action.metavar in _FILES:
                action.complete = shtab.FILE  # type: ignore[attr-defined]  # shtab's protocol
    say(shtab.complete(top, options.shell), sys.stdout)
    return 0


def _parsers(top: ArgumentParser) -> Iterator[ArgumentParser]:
    for action in top._actions:  # noqa: SLF001 - argparse has no other list of them
        if isinstance(action, _SubParsersAction):
            yield from action.choices.values()
