"""Where an audit's workspaces go as they complete: files, and standard output as data."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, TextIO

from attrs import define, field

from chatloom_async.audit.files import dump_audit
from chatloom_async.audit.results import AuditRow, Finding, Gap, WorkspaceAudit, rows
from chatloom_async.audit.text import say, spreadsheet
from chatloom_async.errors import ConfigurationError

if TYPE_CHECKING:
    from _csv import Writer

Sink = Callable[[WorkspaceAudit], None]

_COLUMNS = (
    "workspace",
    "agent",
    "name",
    "status",
    "template",
    "position",
    "created_at",
    "allowed_domains",
    "findings",
    "gaps",
)


def printing(what: str, stream: TextIO) -> list[Sink]:
    """Return what prints workspaces as ``jsonl`` or ``csv``; nothing for a table: it comes last."""
    if what == "jsonl":
        return [lambda audit: say(dump_audit(audit), stream)]
    return [CsvPrinter(stream).add] if what == "csv" else []


def parquet_sink(path: str, resources: ExitStack) -> Sink:
    """Return what writes workspaces to a Parquet file.

    Raises:
        ConfigurationError: pyarrow is not installed, or the file cannot be written.

    """
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


@define
class CsvPrinter:
    """Prints one row per agent, several values of a cell separated by spaces or semicolons."""

    stream: TextIO = field(factory=lambda: sys.stdout)
    _writer: Writer = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Print the header."""
        self._writer = csv.writer(self.stream, lineterminator="\n")
        self._writer.writerow(_COLUMNS)

    def add(self, audit: WorkspaceAudit) -> None:
        """Print a workspace."""
        for row in rows(audit):
            self._writer.writerow([spreadsheet(cell) for cell in _cells(row)])
        self.stream.flush()


def _cells(row: AuditRow) -> tuple[str, ...]:
    agent = row.agent
    concern = ("; ".join(map(_finding, row.findings)), "; ".join(map(_gap, row.gaps)))
    if agent is None:
        return (row.workspace, *[""] * 7, *concern)
    return (
        row.workspace,
        agent.id,
        agent.name,
        agent.status,
        agent.template,
        agent.position,
        agent.created_at.isoformat(),
        " ".join(agent.allowed_domains or ()),
        *concern,
    )


def _finding(finding: Finding) -> str:
    return f"{finding.severity} {finding.rule}: {finding.message}"


def _gap(gap: Gap) -> str:
    return f"{gap.error}: {gap.message}"
