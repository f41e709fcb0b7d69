"""Audit files: one ``WorkspaceAudit`` per line, appended, resumed and read again.

A line is written in one piece when its workspace is complete. A process that is killed leaves at
most one torn line behind, the last; whoever reads or resumes the file passes over it. Each line
says how many there are when the run has reached its end.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import datetime
from http import HTTPStatus
from io import FileIO
from pathlib import Path
from typing import Any, Self, TypeVar

from attrs import asdict, define, field, fields_dict

from chatloom_async.audit.results import SEVERITIES, AuditedAgent, Finding, Gap, WorkspaceAudit
from chatloom_async.errors import ConfigurationError

Value = TypeVar("Value")

_OF = "of"


def dump_audit(audit: WorkspaceAudit, of: int | None = None) -> str:
    """Return the line of JSON, without its end; ASCII only, so that any text survives.

    ``of`` is the number of workspaces in its run, where that is known.
    """
    line = asdict(audit) if of is None else {**asdict(audit), _OF: of}
    return json.dumps(line, separators=(",", ":"), default=_plain)


def parse_audit(line: str | bytes) -> tuple[WorkspaceAudit, int | None]:
    """Return what a line says, and of how many; fields this release does not know are left out.

    A severity it does not know is read as "low": it counts, and is no reason to fail.

    Raises:
        ValueError: it is not such a line.

    """
    try:
        sent = json.loads(line)
        agents = tuple(map(_agent, sent["agents"]))
        findings = tuple(map(_finding, sent["findings"]))
        gaps = tuple(_value(Gap, each) for each in sent["gaps"])
        lists = {"agents": agents, "findings": findings, "gaps": gaps}
        audit, of = _value(WorkspaceAudit, {**sent, **lists}), sent.get(_OF)
    except (TypeError, KeyError, AttributeError, RecursionError):
        raise ValueError("not a line of an audit") from None
    if isinstance(audit.workspace, str):
        return audit, of if isinstance(of, int) else None
    raise ValueError("a workspace without a name")


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


def _finding(sent: Mapping[str, Any]) -> Finding:
    severity = sent["severity"]
    return _value(Finding, {**sent, "severity": severity if severity in SEVERITIES else "low"})


def _value(kind: type[Value], sent: Mapping[str, Any]) -> Value:
    known = fields_dict(kind)  # type: ignore[arg-type]  # attrs types "a class made by attrs" so
    return kind(**{name: value for name, value in sent.items() if name in known})


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no form in an audit file")


if sys.platform != "win32":
    import fcntl


def read_audits(path: str | Path) -> Iterator[WorkspaceAudit]:
    """Read a file line by line, leaving out blank lines and a torn last one.

    Raises:
        ConfigurationError: the file cannot be read, or a line before the last is none of an audit.

    """
    for _, audit, _ in _read(path):
        yield audit


def load_audits(path: str | Path) -> tuple[list[WorkspaceAudit], bool]:
    """Read a file at once; return also whether its run reached its end.

    A file whose lines do not say how many there should be counts as complete, an empty one as cut.

    Raises:
        ConfigurationError: as for ``read_audits``.

    """
    audits: list[WorkspaceAudit] = []
    expected = 1
    for _, audit, of in _read(path):
        audits.append(audit)
        expected = of or expected  # the latest run to go on with the file knows best
    return audits, len(audits) >= expected


@define(eq=False)
class AuditLog:
    """An audit file being written; use it as a context manager.

    Attributes:
        path: where it is.
        of: how many workspaces the file will hold when the run reaches its end, if that is known.
        done: names of the workspaces in the file when it was opened.
        again: names of those which only an outage had hidden, and which were taken out: nothing
            was answered for them, or only 429 or 5xx.

    """

    path: str | Path
    _file: FileIO = field(repr=False)
    done: frozenset[str] = frozenset()
    again: frozenset[str] = frozenset()
    of: int | None = field(default=None, init=False)

    @classmethod
    def open(cls, path: str | Path, *, resume: bool = False) -> AuditLog:
        """Open a new file, or with ``resume`` one of a cut run, which then holds a workspace once.

        Raises:
            ConfigurationError: it cannot be written; another run writes to it; it is not empty and
                ``resume`` is not given; it holds something else than an audit.

        """
        with ExitStack() as resources:
            file = resources.enter_context(_opened(path, "a"))
            _lock(path, file)
            if file.tell():
                return _resumed(path, resume=resume)
            resources.pop_all()
        return cls(path, file)

    def append(self, audit: WorkspaceAudit) -> None:
        """Write one line to the file.

        Raises:
            OSError: it could not be written, or not all of it.

        """
        try:
            _write(self._file, f"{dump_audit(audit, self.of)}\n".encode())
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


def _opened(path: str | Path, mode: str) -> FileIO:
    """Open a file unbuffered: a line is with the system as soon as it is written."""
    if Path(path).is_fifo():  # opening it would wait for its reader
        raise ConfigurationError(f"{path} is a pipe: print to standard output, and to no file")
    try:
        return FileIO(path, mode)
    except OSError as error:
        raise _unusable(path, error) from None


def _lock(path: str | Path, file: FileIO) -> None:
    """Keep other runs out until the file is closed, where the system knows how (flock)."""
    if sys.platform == "win32":
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another run may have put its own file in this one's place meanwhile.
        alone = os.path.samestat(os.fstat(file.fileno()), Path(path).stat())
    except BlockingIOError:
        alone = False
    except OSError:
        return  # some network file systems have no locks
    if not alone:
        raise ConfigurationError(f"{path}: another run writes to it")


def _resumed(path: str | Path, *, resume: bool) -> AuditLog:
    """Put a file with what is worth keeping in the old one's place, all of it or nothing."""
    if not resume:
        raise ConfigurationError(f"{path} exists; resume it, or write to another file")
    place = Path(path).resolve()  # a link goes on pointing to it
    beside = place.with_name(f"{place.name}.resumed")
    file = _opened(beside, "w")
    try:
        _lock(beside, file)
        beside.chmod(place.stat().st_mode)
        done, again = _copied(path, file)
        os.fsync(file.fileno())
        beside.replace(place)
    except BaseException as error:
        file.close()
        beside.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _unusable(beside, error) from None
        raise
    return AuditLog(path, file, done, again)


def _copied(path: str | Path, file: FileIO) -> tuple[frozenset[str], frozenset[str]]:
    """Write the lines worth keeping, each workspace once; return the names kept and left out."""
    done: set[str] = set()
    hidden: set[str] = set()
    for line, audit, _ in _read(path):
        if any(map(_by_outage, audit.gaps)):
            hidden.add(audit.workspace)
        elif audit.workspace not in done:
            done.add(audit.workspace)
            _write(file, line.rstrip() + b"\n")
    return frozenset(done), frozenset(hidden - done)


def _by_outage(gap: Gap) -> bool:
    """Tell whether a workspace may well be readable now: a refusal is an answer, this is none."""
    return gap.agent is None and (
        gap.status is None
        or gap.status == HTTPStatus.TOO_MANY_REQUESTS
        or gap.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    )


def _write(file: FileIO, line: bytes) -> None:
    left = memoryview(line)
    while left:
        left = left[file.write(left) :]


def _read(path: str | Path) -> Iterator[tuple[bytes, WorkspaceAudit, int | None]]:
    """Yield each line with its audit, and with the number of lines that it says."""
    try:
        file = open(path, "rb")  # noqa: PTH123, SIM115 - closed by the block below
    except OSError as error:
        raise _unusable(path, error) from None
    with file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                audit, of = parse_audit(line)
            except ValueError:
                if line.endswith(b"\n"):
                    raise ConfigurationError(
                        f"{path}, line {number}: no line of an audit"
                    ) from None
                return  # torn when its writer was killed
            yield line, audit, of


def _unusable(path: str | Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"{path}: {error.strerror or type(error).__name__}")
