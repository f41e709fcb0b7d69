"""Audit files: one ``WorkspaceAudit`` per line of JSON, appended, repaired and read again.

A line is written in one piece when its workspace is complete. A process that is killed leaves at
most one torn line behind, the last; whoever reads or resumes the file passes over it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from io import FileIO
from pathlib import Path
from typing import Any, Self, TypeVar

from attrs import asdict, define, field, fields_dict

from chatloom_async.audit.values import AuditedAgent, Finding, Gap, WorkspaceAudit
from chatloom_async.errors import ConfigurationError

if sys.platform != "win32":
    import fcntl

Value = TypeVar("Value")


def dump_audit(audit: WorkspaceAudit) -> str:
    """Return the line of JSON, without its end; ASCII only, so that any text survives."""
    return json.dumps(asdict(audit), separators=(",", ":"), default=_plain)


def parse_audit(line: str | bytes) -> WorkspaceAudit:
    """Return what a line says; fields this release does not know are left out.

    Raises:
        ValueError: it is not such a line.

    """
    try:
        sent = json.loads(line)
        agents = tuple(map(_agent, sent["agents"]))
        findings = tuple(_value(Finding, each) for each in sent["findings"])
        gaps = tuple(_value(Gap, each) for each in sent["gaps"])
        lists = {"agents": agents, "findings": findings, "gaps": gaps}
        audit = _value(WorkspaceAudit, {**sent, **lists})
    except (TypeError, KeyError, AttributeError, RecursionError):
        raise ValueError("not a line of an audit") from None
    if isinstance(audit.workspace, str):
        return audit
    raise ValueError("a workspace without a name")


def read_audits(path: str | Path) -> Iterator[WorkspaceAudit]:
    """Read a file line by line, leaving out blank lines and a torn last one.

    Raises:
        ConfigurationError: the file cannot be read, or a line before the last is none of an audit.

    """
    for audit, *_ in _read(path):
        yield audit


@define(eq=False)
class AuditLog:
    """An audit file being written; use it as a context manager.

    Attributes:
        path: where it is.
        done: names of the workspaces the file held when it was opened.

    """

    path: str | Path
    done: frozenset[str]
    _file: FileIO = field(repr=False)

    @classmethod
    def open(cls, path: str | Path, *, resume: bool = False) -> Self:
        """Open a new file, or with ``resume`` one of a cut run, whose torn last line is taken off.

        Raises:
            ConfigurationError: it cannot be written; another run writes to it; it is not empty and
                ``resume`` is not given; it holds something else than an audit.

        """
        file = _opened(path)
        log = cls(path, frozenset(), file)
        try:
            _lock(path, file)
            if file.tell():
                log.done = _repaired(path, file, resume=resume)
        except BaseException:
            file.close()
            raise
        return log

    def append(self, audit: WorkspaceAudit) -> None:
        """Write one line to the file.

        Raises:
            OSError: it could not be written, or not all of it.

        """
        left = memoryview(f"{dump_audit(audit)}\n".encode())
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            error.filename = str(self.path)  # which of a run's files it was
            raise

    def close(self) -> None:
        """Close the file; idempotent."""
        self._file.close()

    def __enter__(self) -> Self:
        """Return the log."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()


def _opened(path: str | Path) -> FileIO:
    """Open a file to append to, unbuffered: a line is with the system as soon as it is written."""
    if Path(path).is_fifo():  # opening it would wait for its reader
        raise ConfigurationError(f"{path} is a pipe: print to standard output, and to no file")
    try:
        return FileIO(path, "a")
    except OSError as error:
        raise _unusable(path, error) from None


def _lock(path: str | Path, file: FileIO) -> None:
    """Keep other runs out until the file is closed, where the system knows how (flock)."""
    if sys.platform == "win32":
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigurationError(f"{path}: another run writes to it") from None
    except OSError:
        return  # some network file systems have no locks


def _repaired(path: str | Path, file: FileIO, *, resume: bool) -> frozenset[str]:
    """Return the workspaces in a file, and leave it with a whole last line."""
    if not resume:
        raise ConfigurationError(f"{path} exists; resume it, or write to another file")
    done: set[str] = set()
    end, whole = 0, True
    for audit, line_end, line_whole in _read(path):
        done.add(audit.workspace)
        end, whole = line_end, line_whole
    file.truncate(end)
    if not whole:
        file.write(b"\n")  # nothing but the line's end was lost
    return frozenset(done)


def _read(path: str | Path) -> Iterator[tuple[WorkspaceAudit, int, bool]]:
    """Yield each audit with where its line ends, and whether it does."""
    try:
        file = open(path, "rb")  # noqa: PTH123, SIM115 - closed by the block below
    except OSError as error:
        raise _unusable(path, error) from None
    with file:
        end = 0
        for number, line in enumerate(file, start=1):
            end += len(line)
            if not line.strip():
                continue
            try:
                audit = parse_audit(line)
            except ValueError:
                if line.endswith(b"\n"):
                    raise ConfigurationError(
                        f"{path}, line {number}: no line of an audit"
                    ) from None
                return  # torn when its writer was killed
            yield audit, end, line.endswith(b"\n")


def _unusable(path: str | Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"{path}: {error.strerror or type(error).__name__}")


def _agent(sent: Mapping[str, Any]) -> AuditedAgent:
    domains = sent["allowed_domains"]
    created_at = datetime.fromisoformat(sent["created_at"])
    return _value(
        AuditedAgent,
        {
            **sent,
            "created_at": created_at,
            "allowed_domains": None if domains is None else tuple(domains),
        },
    )


def _value(kind: type[Value], sent: Mapping[str, Any]) -> Value:
    known = fields_dict(kind)  # type: ignore[arg-type]  # attrs types "a class made by attrs" so
    return kind(**{name: value for name, value in sent.items() if name in known})


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no form in an audit file")
