"""Audits as a Parquet file, one row per agent (extra ``parquet``)."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Self, get_type_hints

import pyarrow as pa
from attrs import define, field
from pyarrow import parquet

from chatloom_async.audit.draft import Draft
from chatloom_async.audit.results import AGENT_FIELDS, AuditRow, WorkspaceAudit, rows
from chatloom_async.models import AuditedAgent

_BATCH = 10_000  # rows held in memory before they are written as one row group
_TOO_LARGE = 2**31
_MOMENT = pa.timestamp("us", tz="UTC")
_COLUMN = {str: pa.string(), datetime: _MOMENT, tuple[str, ...] | None: pa.list_(pa.string())}
_TYPES = get_type_hints(AuditedAgent)
_FINDING = pa.struct([(name, pa.string()) for name in ("rule", "severity", "domain", "message")])
_GAP = pa.struct([("error", pa.string()), ("status", pa.int32()), ("message", pa.string())])

SCHEMA = pa.schema(
    [
        ("workspace", pa.string()),
        ("agent", pa.string()),
        *((name, _COLUMN[_TYPES[name]]) for name in AGENT_FIELDS),
        ("findings", pa.list_(_FINDING)),
        ("gaps", pa.list_(_GAP)),
        ("read_at", _MOMENT),
    ]
)
"""The columns. ``agent`` is null in rows about a workspace as a whole, ``allowed_domains`` where
they could not be read. In a file of the command line a last row of the workspace "(several)" holds
what shows only when workspaces are compared."""


@define(eq=False)
class ParquetFile:
    """Writes workspaces as they come, in batches; a context manager.

    When the block is left, the whole file is in its place; by an exception, what was there before.

    Raises:
        ConfigurationError: the file cannot be made.
        OSError: it cannot be written.
    """

    path: str | Path
    _draft: Draft = field(init=False)
    _writer: Any = field(init=False)
    _rows: list[dict[str, Any]] = field(factory=list[dict[str, Any]], init=False)

    def __attrs_post_init__(self) -> None:
        self._draft = Draft.begin(self.path)
        with self._named():
            self._writer = parquet.ParquetWriter(self._draft.file, SCHEMA, compression="zstd")

    def add(self, audit: WorkspaceAudit) -> None:
        """Take in one workspace."""
        self._rows.extend(_record(audit, row) for row in rows(audit))
        if len(self._rows) >= _BATCH:
            with self._named():
                self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, SCHEMA))
            self._rows.clear()

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            error.filename = str(self.path)  # which of a run's files it was
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Write the rest, and put the file in its place; after an exception leave nothing of it."""
        try:
            if kind is None:
                with self._named():
                    self._flush()
                    self._writer.close()
                    self._draft.publish()
        finally:
            with suppress(OSError, ValueError):
                self._writer.close()
            self._writer.is_open = False  # else it closes itself once more when it is collected
            self._draft.discard()


def _record(audit: WorkspaceAudit, row: AuditRow) -> Any:
    agent = row.agent
    return _cell(
        {
            "workspace": audit.workspace,
            "agent": None if agent is None else agent.id,
            **{name: getattr(agent, name, None) for name in AGENT_FIELDS},
            "findings": [finding.to_dict() for finding in row.findings],
            "gaps": [gap.to_dict() for gap in row.gaps],
            "read_at": audit.read_at,
        }
    )


def _cell(value: Any) -> Any:
    """Return what a column can hold of a value, or of all values in it."""
    match value:
        case str():  # JSON may bring half a surrogate pair, which UTF-8 cannot hold
            return value.encode("utf-8", "backslashreplace").decode()
        case int():  # a status, of any size in a file that somebody has edited
            return value if abs(value) < _TOO_LARGE else None
        case list() | tuple():
            return [_cell(each) for each in value]
        case dict():
            return {name: _cell(each) for name, each in value.items()}
    return value
