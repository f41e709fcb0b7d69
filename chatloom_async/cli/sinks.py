"""What commands write: files of rows, and standard output as data."""

import csv
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

from chatloom_async.audit.findings import text_of
from chatloom_async.audit.results import WorkspaceAudit, rows
from chatloom_async.audit.text import spreadsheet
from chatloom_async.errors import ConfigurationError
from chatloom_async.models import Agent, to_plain

_PARQUET = b"PAR1"  # how such a file begins
Sink = Callable[[WorkspaceAudit], None]

AGENT_COLUMNS = ("id", "name", "status", "template", "position", "created_at")
_COLUMNS = ("workspace", "agent", *AGENT_COLUMNS[1:], "allowed_domains", "findings", "gaps")


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
    return resources.enter_context(ParquetFile(path)).add


def csv_writer(stream: TextIO, columns: Sequence[str]) -> Callable[[Sequence[str]], None]:
    """Return what prints rows of a CSV file, which spreadsheets open as it is meant."""
    if isinstance(stream, TextIOWrapper) and not stream.isatty():
        stream.reconfigure(encoding="utf-8")
        stream.write("\ufeff")  # without it Excel takes UTF-8 for something else
    writer = csv.writer(stream, lineterminator="\n")

    def write(row: Sequence[str]) -> None:
        writer.writerow([spreadsheet(cell) for cell in row])
        stream.flush()

    write(columns)
    return write


def agent_cells(agent: Agent) -> list[str]:
    """Return what stands in ``AGENT_COLUMNS``."""
    return [str(to_plain(getattr(agent, name))) for name in AGENT_COLUMNS]


def csv_sink(stream: TextIO) -> Sink:
    """Return what prints a row per agent, several values of a cell separated by " " or "; "."""
    write = csv_writer(stream, _COLUMNS)

    def add(audit: WorkspaceAudit) -> None:
        for row in rows(audit):
            agent = row.agent
            cells = [""] * len(AGENT_COLUMNS) if agent is None else agent_cells(agent)
            domains = "" if agent is None else " ".join(agent.allowed_domains or ())
            found = "; ".join(
                f"{each.severity} {each.rule}: {text_of(each)}" for each in row.findings
            )
            gaps = "; ".join(f"{each.error}: {each.message}" for each in row.gaps)
            write((audit.workspace, *cells, domains, found, gaps))

    return add
