"""Audit files: one line for each workspace, appended, resumed and read again.

A line is written in one piece when its workspace is complete. A process that is killed leaves at
most one torn line behind, the last; whoever reads or resumes the file passes over it. Files may be
concatenated: of each workspace the latest line counts. Not here: what a line says (``lines``), what
is kept of a cut run (``resume``).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Self

from attrs import define, evolve, field, frozen

from chatloom_async.audit.draft import lock, write
from chatloom_async.audit.judge import Judge
from chatloom_async.audit.lines import (
    dump_audit,
    dump_run,
    read_lines,
    unusable,
)
from chatloom_async.audit.results import AuditRun, Finding, WorkspaceAudit
from chatloom_async.audit.resume import take_over
from chatloom_async.errors import ConfigurationError


@frozen
class AuditFile:
    """What an audit file holds.

    Attributes:
        audits: every workspace once, from its latest line.
        runs: what those who wrote the file were made with, as far as they have said.
        missing: names of workspaces that a run was to read and that are in no line.
        lacking: how many are missing, also where their names are not known.
    """

    audits: tuple[WorkspaceAudit, ...]
    runs: tuple[AuditRun, ...]
    missing: tuple[str, ...]
    lacking: int

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a file at once; ConfigurationError as for ``read_audits``."""
        audits: dict[str, WorkspaceAudit] = {}
        runs: dict[datetime, AuditRun] = {}
        expected = 0
        for line in read_lines(path):
            if line.workspace is not None:
                audits.pop(line.workspace, None)
                audits[line.workspace] = line.audit()
                expected = line.of or expected  # the latest run to go on with it knows best
            else:
                run = line.run()
                runs[run.began_at] = run
                expected = len(run.workspaces) or expected
        names = {name: None for run in runs.values() for name in run.workspaces}
        missing = tuple(name for name in names if name not in audits)
        # An empty file is of a run that was cut.
        cut = not audits and not any(run.ended_at for run in runs.values())
        lacking = max(len(missing), expected - len(audits), int(cut))
        return cls(tuple(audits.values()), tuple(runs.values()), missing, lacking)


def read_audits(path: str | Path) -> Iterator[WorkspaceAudit]:
    """Read a file line by line, in memory that grows with the names alone; each workspace once.

    Raises:
        ConfigurationError: the file cannot be read or is a pipe, or a line before the last is none
            of an audit.
    """
    return (line.audit() for line in read_lines(path, latest=True) if line.workspace is not None)


def load_audits(path: str | Path) -> tuple[list[WorkspaceAudit], bool]:
    """Read a file at once; return also whether nothing is missing from it, see ``AuditFile``.

    A file whose lines do not say how many there should be counts as complete, an empty one as cut.
    ConfigurationError as for ``read_audits``.
    """
    file = AuditFile.read(path)
    return list(file.audits), not file.lacking


@define(eq=False)
class AuditLog:
    """An audit file being written; use it as a context manager.

    Attributes:
        of: how many workspaces the file will hold when the run reaches its end, if that is known.
        done: names of the workspaces in the file when it was opened.
        again: names of those which only an outage had hidden, and which were taken out: nothing
            was answered for them, or only 408, 429 or 5xx.
        oldest: when the first of those ``done`` was read; None: there are none, or no line says it.
    """

    path: str | Path
    _file: FileIO = field(repr=False)
    _run: AuditRun = field(repr=False)
    of: int | None = None
    done: frozenset[str] = frozenset()
    again: frozenset[str] = frozenset()
    oldest: datetime | None = None
    _begun: bool = field(default=False, alias="begun", repr=False)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        resume: bool = False,
        force: bool = False,
        workspaces: Collection[str] | None = None,
        judge: Judge | None = None,
    ) -> AuditLog:
        """Open a new file, or with ``resume`` one of a cut run, which then holds a workspace once.

        Args:
            path: where it is.
            resume: go on with the file if it holds something.
            force: begin it anew if it holds something, which ``begin`` takes out and not this.
            workspaces: names of all that are to be in the file, written down first with ``judge``.
            judge: judges anew the workspaces that the file holds.

        Raises:
            ConfigurationError: it cannot be written; another run writes to it; it is not empty and
                neither ``resume`` nor ``force`` is given; it holds something else than an audit, or
                workspaces that are none of ``workspaces``.
        """
        judged, names = judge or Judge(), tuple(workspaces or ())
        run = AuditRun(datetime.now(UTC), None, names, judged.approved, judged.ignored)
        of = len(names) or None
        file = _opened(path)
        if force or not file.tell():
            return cls(path, file, run, of)
        with file:  # locked until another one is in its place
            if not resume:
                raise ConfigurationError(
                    f"{path} exists; resume it, begin it anew (--force), or write to another file"
                )
            new, done, again, oldest = take_over(path, run, judge)
            return cls(path, new, run, of, done, again, oldest, begun=True)

    def begin(self) -> None:
        """Begin the file anew unless it was resumed, and write down what the run is made with.

        The first line does it, or entering the block; idempotent. Until then the file is as it was.

        ConfigurationError: it cannot be written; the file is closed.
        """
        if self._begun:
            return
        self._begun = True
        try:
            if self._file.tell():
                self._file.truncate(0)
            if self._run.workspaces:
                self._write(dump_run(self._run))
        except OSError as error:
            self.close()
            raise unusable(self.path, error) from None

    def append(self, audit: WorkspaceAudit) -> None:
        """Write one line to the file, all of it, or nothing and raise OSError."""
        self._write(dump_audit(audit, self.of))

    def finish(self, findings: Iterable[Finding] = ()) -> None:
        """Write down that the run has come to its end, and what belongs to no single workspace."""
        self._write(
            dump_run(evolve(self._run, ended_at=datetime.now(UTC), findings=tuple(findings)))
        )

    def close(self) -> None:
        """Close the file; idempotent."""
        self._file.close()

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, line: str) -> None:
        """Write a line, or take back what a disk that was full has let in of it."""
        self.begin()
        size = os.fstat(self._file.fileno()).st_size
        try:
            write(self._file, f"{line}\n".encode())
        except BaseException as error:
            with suppress(OSError):  # a device cannot
                os.ftruncate(self._file.fileno(), size)
            if isinstance(error, OSError):
                error.filename = str(self.path)  # which of a run's files it was
            raise


def _opened(path: str | Path) -> FileIO:
    """Open and lock a file, unbuffered: a line is with the system as soon as it is written."""
    try:
        if Path(path).is_fifo():  # opening it would wait for its reader
            raise ConfigurationError(f"{path} is a pipe: print to standard output, and to no file")
        file = FileIO(path, "a")
    except OSError as error:
        raise unusable(path, error) from None
    if not file.seekable():  # a terminal
        file.close()
        raise ConfigurationError(f"{path} is no plain file: name one, or print to standard output")
    lock(path, file)
    return file
