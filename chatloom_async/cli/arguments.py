"""What may be written on the command line; what it does lives in the modules of the commands."""

from __future__ import annotations

import re
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from typing import TYPE_CHECKING

from chatloom_async.errors import ConfigurationError
from chatloom_async.version import __version__

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    _Commands = _SubParsersAction[ArgumentParser]

_KEY = re.compile(r"(?<![\w./\\])clf_|^--?\w*clf_")  # quoted or glued; not in a file's name

_ABOUT = """\
Chatloom workspaces from the command line: which agents exist, on which domains
each may load, what is wrong with that, and what changed.
"""

_ENVIRONMENT = """\
environment:
  CHATLOOM_API_KEY    the key of one workspace (dashboard: Settings, API Keys)
  CHATLOOM_BASE_URL   another server, such as that of 'chatloom-async sandbox'

exit status: 0 done, 1 what --fail-on names or a difference was found, 2 not
started or not finished, 130 interrupted

example, without a key:
  chatloom-async audit --sandbox
"""

_AUDIT = """\
Reads every workspace of a keys file, or the one of CHATLOOM_API_KEY. A keys
file is TOML ("Acme Ltd" = "clf_…" or "env:ACME_KEY") or CSV (name,key). What
cannot be read is a gap in the result and never ends the run.
"""

_AUDIT_EXAMPLE = """\
examples:
  chatloom-async audit --sandbox                     see it work, without a key
  chatloom-async audit keys.toml --out today.jsonl   keep what was found
  chatloom-async audit keys.toml --approved ours.txt --fail-on high

exit status: 0 it ran to its end (gaps and findings are in its output), 1 what
--fail-on names was found, 2 not started or not finished, 130 interrupted
"""

_AGENTS_EXAMPLE = """\
example, with CHATLOOM_API_KEY set:
  chatloom-async agents --format csv > agents.csv
"""

_DOMAINS_EXAMPLE = """\
example, with CHATLOOM_API_KEY set:
  chatloom-async domains agt_abc123
"""

_DIFF_EXAMPLE = """\
example:
  chatloom-async diff yesterday.jsonl today.jsonl

exit status: 0 no difference, 1 differences, 2 a file cannot be read
"""

_REPORT_EXAMPLE = """\
example:
  chatloom-async audit keys.toml --out today.jsonl
  chatloom-async report today.jsonl --html audit.html
"""

_SANDBOX_EXAMPLE = """\
example; it prints what to export:
  chatloom-async sandbox --keys demo.toml
  chatloom-async audit demo.toml      in another terminal
"""


def check_no_key(argv: list[str]) -> None:
    """Refuse a key among the arguments, before anything repeats it.

    Raises:
        ConfigurationError: an argument holds one.

    """
    if any(_KEY.search(argument) for argument in argv):
        raise ConfigurationError(
            "an API key does not belong on the command line, where other users and the shell's "
            "history see it: set CHATLOOM_API_KEY, or put it in a keys file"
        )


def parser() -> ArgumentParser:
    """Return the parser of all commands."""
    top = ArgumentParser(
        "chatloom-async",
        description=_ABOUT,
        epilog=_ENVIRONMENT,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_audit(
        _command(commands, "audit", "audit one workspace or thousands", _AUDIT_EXAMPLE, _AUDIT)
    )
    _add_agents(_command(commands, "agents", "list the agents of one workspace", _AGENTS_EXAMPLE))
    _add_domains(
        _command(commands, "domains", "list the domains an agent may load on", _DOMAINS_EXAMPLE)
    )
    _add_diff(
        _command(commands, "diff", "compare two audits; exit 1 when they differ", _DIFF_EXAMPLE)
    )
    _add_report(_command(commands, "report", "make a web page of an audit", _REPORT_EXAMPLE))
    _add_sandbox(
        _command(commands, "sandbox", "serve a local API to try things on", _SANDBOX_EXAMPLE)
    )
    return top


def _command(
    commands: _Commands, name: str, summary: str, example: str, description: str = ""
) -> ArgumentParser:
    command = commands.add_parser(
        name,
        help=summary,
        description=description or f"{summary[0].upper()}{summary[1:]}.",
        epilog=example,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return command


def _add_audit(audit: ArgumentParser) -> None:
    source = audit.add_mutually_exclusive_group()
    source.add_argument("keys", nargs="?", metavar="KEYS", help="keys file; - is standard input")
    source.add_argument(
        "--sandbox", action="store_true", help="audit invented workspaces: no account, no network"
    )
    audit.add_argument(
        "--out", metavar="FILE", help="write a JSON line per workspace as it completes; - is stdout"
    )
    audit.add_argument(
        "--resume", action="store_true", help="continue a cut run: skip what FILE already holds"
    )
    audit.add_argument(
        "--format",
        choices=("table", "jsonl", "csv"),
        default="table",
        help="what to print (default: table)",
    )
    audit.add_argument("--parquet", metavar="FILE", help="write a Parquet file (extra: parquet)")
    audit.add_argument(
        "--approved", metavar="FILE", help="domains that are right, one a line; *.example.com too"
    )
    audit.add_argument(
        "--fail-on",
        choices=("gap", "low", "medium", "high"),
        help="exit 1 when there is a gap, or a finding at least this severe",
    )
    audit.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="audit on a Dask cluster, or on a 'local' one (extra: dask)",
    )
    audit.add_argument("-v", "--verbose", action="store_true", help="tell about repeated requests")


def _add_agents(agents: ArgumentParser) -> None:
    agents.add_argument(
        "--format",
        choices=("table", "jsonl", "csv"),
        default="table",
        help="what to print (default: table)",
    )


def _add_domains(domains: ArgumentParser) -> None:
    domains.add_argument("agent_id", metavar="AGENT_ID", help="an id that 'agents' shows")


def _add_diff(diff: ArgumentParser) -> None:
    diff.add_argument("old", metavar="OLD", help="an earlier audit's --out file")
    diff.add_argument("new", metavar="NEW", help="a later one")
    diff.add_argument(
        "--format", choices=("text", "json"), default="text", help="what to print (default: text)"
    )


def _add_report(report: ArgumentParser) -> None:
    report.add_argument("file", metavar="FILE", help="an audit's --out file")
    report.add_argument("--html", metavar="OUT", required=True, help="the page to write")


def _add_sandbox(sandbox: ArgumentParser) -> None:
    sandbox.add_argument(
        "--port", type=_port, default=0, help="where to serve (default: any free port)"
    )
    sandbox.add_argument("--keys", metavar="FILE", help="write a keys file for its workspaces")


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= 65535:  # noqa: PLR2004 - 16 bits
        raise ArgumentTypeError(f"a port is a number up to 65535, not {text!r}")
    return int(text)
