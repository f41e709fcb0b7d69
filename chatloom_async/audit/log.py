"""An audit file being written: one line for each workspace, begun, resumed and brought to its end.

A line is written in one piece when its workspace is complete. Not here: what a line says, reading
(``files``).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from io import FileIO
from pathlib import Path
from typing import Self

from attrs import define, evolve, field

from chatloom_async.audit.draft import Draft, lock, write
from chatloom_async.audit.files import dump_audit, dump_run, read_lines, unusable
from chatloom_async.audit.judge import Judge
from chatloom_async.audit.results import AuditRun, Finding, WorkspaceAudit
from chatloom_async.errors import ConfigurationError
from chatloom_async.models import Gap

_ANSWERED = ("ConfigurationError", "ResponseDecodeError")  # gaps without a status
_NAMED = 3  # workspaces in a message


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
    _begun: bool = field(default=False, init=False, repr=False)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        resume: bool = False,
        force: bool = False,
        workspaces: Collection[str] | None = None,
        judge: Judge | None = None,
    ) -> Self:
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
            draft = Draft.begin(path, ".resumed")
            log = cls(draft.beside, draft.file, run, of)
            try:
                log._take_over(path, judge)
                draft.publish()
            except BaseException as error:
                draft.discard()
                if isinstance(error, OSError):
                    raise unusable(draft.beside, error) from None
                raise
            log.path = path
            return log

    def _take_over(self, path: str | Path, judge: Judge | None) -> None:
        """Write down what is worth keeping of a cut run's file, its runs if this one has no names.

        ConfigurationError: it holds something else than an audit, or other workspaces.
        """
        names = self._run.workspaces
        read_at: dict[str, datetime | None] = {}
        hidden: set[str] = set()
        self.begin()
        for line in read_lines(path, latest=True):
            if line.workspace is None:
                if not names:
                    self._write(dump_run(line.run()))
                continue
            audit = line.audit()
            if not audit.agents and any(map(_by_outage, audit.gaps)):
                hidden.add(audit.workspace)
            else:
                read_at[audit.workspace] = audit.read_at
                self._write(line.again(judge, self.of))
        foreign = sorted(hidden.union(read_at).difference(names)) if names else []
        if foreign:
            more = f" and {len(foreign) - _NAMED} more" if len(foreign) > _NAMED else ""
            shown = f"{', '.join(map(repr, foreign[:_NAMED]))}{more}"
            raise ConfigurationError(
                f"{path} holds other workspaces, {shown}: write to another file"
            )
        self.done, self.again = frozenset(read_at), frozenset(hidden)
        self.oldest = min(filter(None, read_at.values()), default=None)

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
        run = evolve(self._run, ended_at=datetime.now(UTC), findings=tuple(findings))
        self._write(dump_run(run))

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


def _by_outage(gap: Gap) -> bool:
    """Tell whether a workspace may well be readable now: a refusal is an answer, this is none."""
    return gap.error not in _ANSWERED and (
        gap.status is None
        or gap.status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
        or gap.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    )
