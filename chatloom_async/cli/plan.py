"""What an audit is going to do, checked in full before the first request."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

from attrs import frozen

from chatloom_async.audit.domains import ApprovedDomains
from chatloom_async.audit.keys import STANDARD_INPUT, KeysFile
from chatloom_async.auth import ApiKey
from chatloom_async.calls.request import check_base_url
from chatloom_async.errors import ConfigurationError

ONLY_WORKSPACE = "workspace"
"""The name of the one workspace of CHATLOOM_API_KEY, which the API does not tell."""

_STDOUT = "-"


@frozen
class Plan:
    """An audit's sources and limits.

    Attributes:
        keys: of every workspace, by name; of the sandbox's if ``sandbox``.
        keys_file: path of the file they come from, absolute, for workers run in other folders; ""
            if from somewhere else.
        base_url: the server; None: the sandbox's, known when it serves.
        approved: domains that are right, as lines; None: any.
        log: path of the file of JSON lines, or None.
        printed: "table", "jsonl" or "csv".

    """

    keys: Mapping[str, ApiKey]
    keys_file: str
    base_url: str | None
    approved: tuple[str, ...] | None
    log: str | None
    printed: str


def make_plan(options: Namespace) -> Plan:
    """Check the options of ``audit`` and read the files they name.

    Raises:
        ConfigurationError: something does not fit or cannot be read.

    """
    printed = _printed(options)
    log = None if options.out == _STDOUT else options.out
    if options.resume and log is None:
        raise ConfigurationError("--resume continues a file: give it with --out FILE")
    _check_files(options, log)
    if options.dask and (options.sandbox or options.keys in (None, STANDARD_INPUT)):
        raise ConfigurationError(
            "--dask needs a keys file: its workers read their keys from that path themselves"
        )
    approved = None if options.approved is None else _approved(options.approved)
    if options.sandbox:
        return Plan(_demo_keys(), "", None, approved, log, printed)
    keys = _only_key() if options.keys is None else KeysFile(options.keys).read()
    path = str(Path(options.keys).absolute()) if options.keys else ""
    return Plan(keys, path, check_base_url(None), approved, log, printed)


def _check_files(options: Namespace, log: str | None) -> None:
    """Refuse to write over what is read, two things into one file, or over an earlier result."""
    places = {
        "KEYS": None if options.keys == STANDARD_INPUT else options.keys,
        "--approved": options.approved,
        "--out": log,
        "--parquet": options.parquet,
    }
    given = [(name, path, Path(path).resolve()) for name, path in places.items() if path]
    for (one, _, place), (other, path, other_place) in combinations(given, 2):
        if place == other_place and other in ("--out", "--parquet"):
            raise ConfigurationError(f"{one} and {other} are the same file, {path!r}")
    parquet = Path(options.parquet or "")
    if parquet.is_file() and parquet.stat().st_size and not options.resume:
        raise ConfigurationError(
            f"{options.parquet} exists; write to another file, or --resume the run of its --out"
        )


def _printed(options: Namespace) -> str:
    printed: str = options.format
    if options.out != _STDOUT:
        return printed
    if printed == "csv":
        raise ConfigurationError("--out - prints JSON lines: drop --format csv, or name a file")
    return "jsonl"


def _only_key() -> dict[str, ApiKey]:
    value = os.environ.get("CHATLOOM_API_KEY")
    if not value:
        raise ConfigurationError(
            "nothing to audit: give a keys file, or set CHATLOOM_API_KEY, or try --sandbox"
        )
    del value
    try:
        return {ONLY_WORKSPACE: ApiKey(os.environ["CHATLOOM_API_KEY"])}
    except ConfigurationError as error:
        raise ConfigurationError(f"CHATLOOM_API_KEY: {error.message}") from None


def _demo_keys() -> dict[str, ApiKey]:
    from chatloom_async.testing import demo_workspaces  # noqa: PLC0415 - brings a web server

    return {each.name: ApiKey(each.key) for each in demo_workspaces()}


def _approved(path: str) -> tuple[str, ...]:
    try:
        lines = tuple(Path(path).read_text(encoding="utf-8-sig").splitlines())
    except OSError as error:
        raise ConfigurationError(f"cannot read approved list {path!r}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"approved list {path!r} is not text: save it as UTF-8") from None
    if any("clf_" in line for line in lines):  # the message below would show it
        raise ConfigurationError(f"approved list {path!r} holds an API key; is it the keys file?")
    try:
        ApprovedDomains.of(lines)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path!r}: {error.message}") from None
    return lines
