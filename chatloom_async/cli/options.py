"""Options that several commands have, and what they ask for.

Not here: --proxy (``cli.proxy``).
"""

from argparse import ArgumentParser
from collections.abc import Iterable
from pathlib import Path

from chatloom_async.audit.results import SEVERITIES
from chatloom_async.errors import ConfigurationError

# How many severities count at each level of --fail-on, the gravest first.
_COUNTING = {"gap": 0, "high": 1, "medium": 2, "low": 3, "new-finding": 3}


def add_fail_on(command: ArgumentParser, levels: Iterable[str], told: str) -> None:
    """Add --fail-on to a command's options."""
    command.add_argument("--fail-on", action="append", default=[], choices=levels, help=told)


def reached(levels: Iterable[str], found: Iterable[str], *, gap: bool) -> bool:
    """Tell whether what --fail-on names was found; a gap always counts, for it may hide that."""
    counting = {each for level in levels for each in SEVERITIES[: _COUNTING[level]]}
    return gap or not counting.isdisjoint(found)


def add_force(command: ArgumentParser) -> None:
    """Add --force to a command's options."""
    command.add_argument("--force", action="store_true", help="write over files that exist")


def check_free(path: str, *, force: bool) -> None:
    """Refuse (ConfigurationError) to write over a file that holds something, unless wanted."""
    if path == "-":
        raise ConfigurationError("'-' is standard output after --out only: name a file")
    file = Path(path)
    if not force and file.is_file() and file.stat().st_size:
        raise ConfigurationError(f"{path} exists; write to another file, or replace it: --force")


def add_format(command: ArgumentParser) -> None:
    """Add --format to a command's options."""
    command.add_argument(
        "--format",
        choices=("table", "jsonl", "csv"),
        default="table",
        help="what to print (default: table)",
    )
