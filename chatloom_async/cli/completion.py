"""``completion``: what makes a shell complete commands, options and file names."""

from argparse import ArgumentParser, Namespace, _SubParsersAction

import shtab

from chatloom_async.cli.parser import COMMANDS, parser
from chatloom_async.cli.streams import say
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
    top = parser(__version__, COMMANDS)
    (commands,) = (each for each in top._actions if isinstance(each, _SubParsersAction))  # noqa: SLF001 - no other list
    for command in commands.choices.values():
        for action in command._actions:  # noqa: SLF001 - as above
            if action.metavar in _FILES:
                action.complete = shtab.FILE  # shtab's protocol
    say(shtab.complete(top, options.shell))
    return 0
