"""``audit``: its options, checked in full before the first request, and its exit status.

Not here: the audit itself (``cli.run``).
"""

import asyncio
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Coroutine, Mapping
from contextlib import ExitStack, suppress
from itertools import combinations
from pathlib import Path
from typing import Any

from chatloom_async.audit.findings import FINDING_RULES
from chatloom_async.audit.judge import Judge
from chatloom_async.audit.keys import STANDARD_INPUT, KeysFile
from chatloom_async.auth import ApiKey
from chatloom_async.calls.request import check_base_url
from chatloom_async.cli.interrupts import INTERRUPTED
from chatloom_async.cli.options import (
    add_fail_on,
    add_force,
    add_format,
    add_proxy,
    check_free,
    reached,
)
from chatloom_async.cli.progress import Progress
from chatloom_async.cli.run import Run
from chatloom_async.cli.sinks import is_parquet
from chatloom_async.errors import ConfigurationError

_ABOUT = """\
Reads every workspace of a keys file, or the one of CHATLOOM_API_KEY. A keys
file is TOML ("Acme Ltd" = "clf_…" or "env:ACME_KEY") or CSV (name,key). What
cannot be read is a gap in the result and never ends the run.
"""
_EXAMPLE = """\
examples:
  chatloom-async audit --sandbox                     see it work, without a key
  chatloom-async audit keys.toml --out today.jsonl   keep what was found
  chatloom-async audit keys.toml --approved ours.txt --fail-on high

exit status: 0 it ran to its end (gaps and findings are in its output), 1 what
--fail-on names was found, 2 not started or not finished, 130 interrupted
"""


def add_audit(command: ArgumentParser) -> None:
    """Add the options of ``audit``."""
    command.description, command.epilog = _ABOUT, _EXAMPLE
    source = command.add_mutually_exclusive_group()
    source.add_argument("keys", nargs="?", metavar="KEYS", help="keys file; - is standard input")
    source.add_argument(
        "--sandbox", action="store_true", help="audit invented workspaces: no account, no network"
    )
    add = command.add_argument
    add(
        "--out", metavar="FILE", help="write a JSON line per workspace as it completes; - is stdout"
    )
    add("--resume", action="store_true", help="continue a cut run: skip what FILE already holds")
    add_force(command)
    add_format(command)
    add("--parquet", metavar="FILE", help="write a Parquet file (extra: parquet)")
    add("--approved", metavar="FILE", help="domains that are right, one a line; *.example.com too")
    add(
        "--ignore",
        metavar="RULE",
        action="append",
        default=[],
        choices=sorted(FINDING_RULES),
        help=f"leave out findings of a rule; may be repeated: {', '.join(sorted(FINDING_RULES))}",
    )
    told = "exit 1 when there is a gap, or a finding at least this severe; may be repeated"
    add_fail_on(command, ("gap", "low", "medium", "high"), told)
    add(
        "--dask",
        metavar="ADDRESS",
        help="audit on a Dask cluster, or on a 'local' one (extra: dask)",
    )
    add_proxy(command)
    add("-v", "--verbose", action="store_true", help="tell of repeated requests")


def audit(options: Namespace) -> Coroutine[Any, Any, int]:
    """Check the options; return the audit, which writes, prints, and ends with the exit status."""
    return _audit(make_run(options))


async def _audit(run: Run) -> int:
    try:
        with ExitStack() as files:
            run.prepare(files)
            await run.go()
            run.compare()
    except asyncio.CancelledError:
        return INTERRUPTED
    run.finish()
    levels, totals = run.options.fail_on, run.overview.totals
    found = [severity for severity, count in totals.findings.items() if count]
    return int(bool(levels) and reached(levels, found, gap=totals.gaps > 0))


def make_run(options: Namespace) -> Run:
    """Check the options of ``audit`` and read the files they name."""
    if options.out == "-":
        if options.format == "csv":
            raise ConfigurationError("--out - prints JSON lines: drop --format csv, or name a file")
        options.out, options.format = None, "jsonl"
    if options.resume and options.out is None:
        raise ConfigurationError("--resume continues a file: give it with --out FILE")
    if options.resume and options.force:
        raise ConfigurationError("--resume goes on with a file, --force begins it anew: take one")
    _check_files(options)
    if options.dask and (options.sandbox or options.keys in (None, STANDARD_INPUT)):
        raise ConfigurationError(
            "--dask needs a keys file: its workers read their keys from that path themselves"
        )
    if options.dask and options.proxy:
        raise ConfigurationError("--proxy is of no use with --dask: the workers make the requests")
    judge, keys = _judge(options.approved, options.ignore), _keys(options)
    if not options.sandbox:
        check_base_url(None)
    return Run(options, keys, judge, Progress(sys.stderr, notes_anywhere=options.verbose))


def _check_files(options: Namespace) -> None:
    """Refuse to write over what is read, two things into one file, or over an earlier result."""
    places = {
        "KEYS": None if options.keys == STANDARD_INPUT else options.keys,
        "--approved": options.approved,
        "--out": options.out,
        "--parquet": options.parquet,
    }
    given = [(name, path) for name, path in places.items() if path]
    for (one, first), (other, path) in combinations(given, 2):
        if other in ("--out", "--parquet") and _are_same(first, path):
            raise ConfigurationError(f"{one} and {other} are the same file, {path!r}")
    if options.parquet:
        ours = options.resume and is_parquet(options.parquet)
        check_free(options.parquet, force=options.force or ours)


def _are_same(one: str, other: str) -> bool:
    """Tell whether two paths lead to one file, whatever links or spellings they take."""
    with suppress(OSError):  # one of them is still to be made
        return os.path.samefile(one, other)  # noqa: PTH121 - of texts
    return os.path.realpath(one) == os.path.realpath(other)


def _keys(options: Namespace) -> Mapping[str, ApiKey]:
    """Return the keys of the workspaces to audit, by name."""
    if options.sandbox:
        from chatloom_async.testing import demo_workspaces  # noqa: PLC0415 - brings a web server

        return {each.name: ApiKey(each.key) for each in demo_workspaces()}
    if options.keys is not None:
        return KeysFile(options.keys).read()
    if not os.environ.get("CHATLOOM_API_KEY"):
        raise ConfigurationError(
            "nothing to audit: give a keys file, or set CHATLOOM_API_KEY, or try --sandbox"
        )
    try:
        return {"workspace": ApiKey(os.environ["CHATLOOM_API_KEY"])}  # the API tells no name
    except ConfigurationError as error:
        raise ConfigurationError(f"CHATLOOM_API_KEY: {error.message}") from None


def _judge(path: str | None, ignored: list[str]) -> Judge:
    if path is None:
        return Judge.of(None, ignored)
    try:
        lines = tuple(Path(path).read_text(encoding="utf-8-sig").splitlines())
    except OSError as error:
        raise ConfigurationError(f"cannot read approved list {path!r}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"approved list {path!r} is not text: save it as UTF-8") from None
    if any("clf_" in line for line in lines):  # the message below would show it
        raise ConfigurationError(f"approved list {path!r} holds an API key; is it the keys file?")
    try:
        return Judge.of(lines, ignored)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path!r}: {error.message}") from None
