"""Audit files, read: as a stream of lines or workspaces, or whole.

Files may be concatenated: of each workspace the latest line counts. Not here: what a line says
(``lines``), writing (``log``).
"""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Self

from attrs import frozen

from chatloom_async.audit.lines import Line, lines_of
from chatloom_async.audit.results import AuditRun, WorkspaceAudit
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


def read_lines(path: str | Path, *, latest: bool = False) -> Iterator[Line]:
    """Yield the lines of a file, but for blank ones and for a torn last one.

    With ``latest`` those of runs, and of each workspace the latest, in memory that grows with the
    names alone.

    ConfigurationError: the file cannot be read (with ``latest`` also: is a pipe), or a line before
    the last is none of an audit.
    """
    places: dict[str | None, int] = {}
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - of the type that is promised
            if latest:
                places = {line.workspace: place for place, line in enumerate(lines_of(path, file))}
                file.seek(0)
            for place, line in enumerate(lines_of(path, file)):
                # A run that still writes may have added lines meanwhile.
                if line.workspace is None or places.get(line.workspace, 0) <= place:
                    yield line
    except OSError as error:
        raise unusable(path, error) from None


def unusable(path: str | Path, error: OSError) -> ConfigurationError:
    """Return the error for a file that cannot be opened, read or written."""
    return ConfigurationError(f"{str(path) or repr('')}: {error.strerror or type(error).__name__}")
