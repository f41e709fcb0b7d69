"""What can be asked of the command: its commands, their summaries, and the help of all.

It stands on the standard library only: it is loaded without the package too (``cli.start``).

Not here: a command's own options (a module each).
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Container
from importlib import import_module
from importlib.util import find_spec

# Module and summary by name. A module is imported when its command is asked for, which keeps --help
# quick.
# It holds the command as a function NAME, and add_NAME, which adds its options to a parser.
COMMANDS = {
    "audit": ("audit", "audit one workspace or thousands"),
    "agents": ("agents", "list the agents of one workspace"),
    "domains": ("agents", "list the domains an agent may load on"),
    "diff": ("diff", "compare two audits; exit 1 when they differ"),
    "report": ("report", "make a web page of an audit"),
    "doctor": ("doctor", "find out why it does not work, and what helps"),
    "sandbox": ("sandbox", "serve a local API to try things on"),
    "completion": ("completion", "print what makes a shell complete these commands"),
}

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


def has_extra() -> bool:
    """Tell whether the extra ``cli`` is installed, without which no table can be drawn."""
    return all(find_spec(each) for each in ("rich", "jinja2", "shtab"))


def parser(version: str, needed: Container[str]) -> ArgumentParser:
    """Return the parser of all commands, with the options of those that are needed."""
    top = ArgumentParser(
        "chatloom-async",
        description=_ABOUT,
        epilog=_ENVIRONMENT,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"%(prog)s {version}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, summary) in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            formatter_class=RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
        if name in needed:
            found = import_module(f"chatloom_async.cli.{module}")
            getattr(found, f"add_{name}")(command)
            command.set_defaults(run=getattr(found, name))
    return top
