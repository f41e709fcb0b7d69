"""Audits as a Parquet file, one row per agent (extra ``parquet``)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
from attrs import define, field
from pyarrow import parquet

from chatloom_async.audit.results import AuditRow, WorkspaceAudit, rows

_BATCH = 10_000  # rows held in memory before they are written as one row group

_FINDING = pa.struct([(name, pa.string()) for name in ("rule", "severity", "domain", "message")])
_GAP = pa.struct([("error", pa.string()), ("status", pa.int32()), ("message", pa.string())])
_TEXTS = ("name", "primary_color", "secondary_color", "position", "template", "status")

SCHEMA = pa.schema(
    [
        ("workspace", pa.string()),
        ("agent", pa.string()),
        *((name, pa.string()) for name in _TEXTS),
        ("created_at", pa.timestamp("us", tz="UTC")),
        ("allowed_domains", pa.list_(pa.string())),
        ("findings", pa.list_(_FINDING)),
        ("gaps", pa.list_(_GAP)),
    ]
)
"""The columns. ``agent`` is null in rows about a workspace as a whole, ``allowed_domains`` where
they could not be read."""


@define(eq=False)
class ParquetFile:
    """Writes workspaces as they come, in batches; a context manager, complete once it is left.

    Raises:
        OSError: the file cannot be written.

    """

    path: str | Path
    _writer: Any = field(init=False)
    _rows: list[dict[str, Any]] = field(factory=list[dict[str, Any]], init=False)

    def __attrs_post_init__(self) -> None:
        """Open the file."""
        self._writer = parquet.ParquetWriter(str(self.path), SCHEMA, compression="zstd")

    def add(self, audit: WorkspaceAudit) -> None:
        """Take in one workspace."""
        self._rows.extend(_record(row) for row in rows(audit))
        if len(self._rows) >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            with self._named():
                self._writer.write_table(pa.Table.from_pylist(self._rows, SCHEMA))
            self._rows.clear()

    def close(self) -> None:
        """Write the rest, and the footer without which the file cannot be read."""
        self._flush()
        with self._named():
            self._writer.close()

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            error.filename = str(self.path)  # which of a run's files it was
            raise

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()


def _record(row: AuditRow) -> dict[str, Any]:
    agent = row.agent
    domains = None if agent is None else agent.allowed_domains
    return {
        "workspace": _text(row.workspace),
        "agent": None if agent is None else _text(agent.id),
        **{name: None if agent is None else _text(getattr(agent, name)) for name in _TEXTS},
        "created_at": None if agent is None else agent.created_at,
        "allowed_domains": None if domains is None else [_text(domain) for domain in domains],
        "findings": [
            {
                "rule": finding.rule,
                "severity": finding.severity,
                "domain": None if finding.domain is None else _text(finding.domain),
                "message": _text(finding.message),
            }
            for finding in row.findings
        ],
        "gaps": [
            {"error": gap.error, "status": gap.status, "message": _text(gap.message)}
            for gap in row.gaps
        ],
    }


def _text(text: str) -> str:
    """Return text that UTF-8 can hold: JSON may bring half a surrogate pair."""
    return text.encode("utf-8", "backslashreplace").decode()
