"""What commands write: files, none by accident over another, and standard output as data."""

import csv
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

from chatloom_async.audit.figures import told
from chatloom_async.audit.lines import dump_audit, dump_run
from chatloom_async.audit.results import AuditRun, Finding, WorkspaceAudit, rows
from chatloom_async.audit.text import say, spreadsheet
from chatloom_async.errors import ConfigurationError
from chatloom_async.models import Agent, to_plain

_PARQUET = b"PAR1"  # how such a file begins
Sink = Callable[[WorkspaceAudit], None]

AGENT_COLUMNS = ("id", "name", "status", "template", "position", "created_at")
_COLUMNS = ("workspace", "agent", *AGENT_COLUMNS[1:], "allowed_domains", "findings", "gaps")


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


def printing(what: str, run: AuditRun, stream: TextIO) -> list[Sink]:
    """Return what prints workspaces as ``jsonl`` or ``csv``; nothing for a table: it comes last."""
    if what == "jsonl":
        say(dump_run(run), stream)
        return [lambda audit: say(dump_audit(audit, len(run.workspaces)), stream)]
    if what == "csv":
        return [partial(_csv_rows, csv_writer(stream, _COLUMNS))]
    return []


def print_end(what: str, run: AuditRun, stream: TextIO) -> None:
    """Print, as ``jsonl`` or ``csv``, what concerns several workspaces; a table holds it anyway."""
    if what == "jsonl":
        say(dump_run(run), stream)
    elif what == "csv" and run.findings:
        _csv_rows(csv_rows(stream), across(run.findings))


def across(findings: Iterable[Finding]) -> WorkspaceAudit:
    """Return what is written of findings that concern several workspaces, where rows are agents."""
    return WorkspaceAudit("(several)", findings=tuple(findings))


def is_parquet(path: str) -> bool:
    """Tell whether a file is a Parquet file, as an earlier run may have written it."""
    try:
        with Path(path).open("rb") as file:
            return file.read(len(_PARQUET)) == _PARQUET
    except OSError:
        return False


def parquet_sink(path: str, resources: ExitStack) -> Sink:
    """Return what writes workspaces to a Parquet file; pyarrow may not be installed."""
    try:
        from chatloom_async.contrib.parquet import ParquetFile  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigurationError(
            "--parquet needs pyarrow: pip install 'chatloom_async[parquet]'"
        ) from None
    try:
        return resources.enter_context(ParquetFile(path)).add
    except OSError as error:
        raise ConfigurationError(f"cannot write {path!r}: {error.strerror or error}") from None


def csv_writer(stream: TextIO, columns: Sequence[str]) -> Callable[[Sequence[str]], None]:
    """Return what prints rows of a CSV file, which spreadsheets open as it is meant."""
    if isinstance(stream, TextIOWrapper) and not stream.isatty():
        stream.reconfigure(encoding="utf-8")
        stream.write("\ufeff")  # without it Excel takes UTF-8 for something else
    write = csv_rows(stream)
    write(columns)
    return write


def csv_rows(stream: TextIO) -> Callable[[Sequence[str]], None]:
    """Return what prints rows of CSV, none of whose cells is an order."""
    writer = csv.writer(stream, lineterminator="\n")

    def write(row: Sequence[str]) -> None:
        writer.writerow([spreadsheet(cell) for cell in row])
        stream.flush()

    return write


def agent_cells(agent: Agent) -> list[str]:
    """Return what stands in ``AGENT_COLUMNS``."""
    return [str(to_plain(getattr(agent, name))) for name in AGENT_COLUMNS]


def _csv_rows(write: Callable[[Sequence[str]], None], audit: WorkspaceAudit) -> None:
    """Print a row per agent, several values of a cell separated by spaces or semicolons."""
    for row in rows(audit):
        agent = row.agent
        cells = [""] * len(AGENT_COLUMNS) if agent is None else agent_cells(agent)
        domains = "" if agent is None else " ".join(agent.allowed_domains or ())
        findings = "; ".join(f"{each.severity} {each.rule}: {told(each)}" for each in row.findings)
        gaps = "; ".join(f"{each.error}: {each.message}" for each in row.gaps)
        write((row.workspace, *cells, domains, findings, gaps))
