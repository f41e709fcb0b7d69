"""Audit files: what a line of one says, and reading them as a stream or whole.

A line is a ``WorkspaceAudit`` or, under "run", an ``AuditRun``. A process that is killed while it
writes leaves at most one torn line behind, the last; whoever reads the file passes over it. Files
may be concatenated: of each workspace the latest line counts. Not here: writing (``log``).
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeVar

from attrs import frozen

from chatloom_async.audit.judge import Judge
from chatloom_async.audit.results import AuditRun, WorkspaceAudit
from chatloom_async.calls.wire import from_dict
from chatloom_async.errors import ConfigurationError, ResponseDecodeError

Value = TypeVar("Value")

# json.dumps would make an encoder for every line.
_dump = json.JSONEncoder(separators=(",", ":")).encode

_OF = "of"
_RUN = "run"
_STARTS = (b'{"run":', b'{"workspace":')
_START = re.compile(b"|".join(map(re.escape, _STARTS)))
_LISTS = ("agents", "findings", "gaps")


def dump_audit(audit: WorkspaceAudit, of: int | None = None) -> str:
    """Return the line of a workspace, without its end; ASCII only, so that any text survives.

    ``of`` is the number of workspaces in its run, where that is known.
    """
    line = audit.to_dict()
    for agent in line["agents"]:
        if not agent["extra"]:
            del agent["extra"]
    if of is not None:
        line[_OF] = of
    return _dump(line)


def dump_run(run: AuditRun) -> str:
    """Return the line of a run, without its end."""
    return _dump({_RUN: run.to_dict()})


@frozen
class Line:
    """What a line says; fields that this release does not know are in ``sent`` alone."""

    place: str  # path and number; the first is 1
    sent: Mapping[str, Any]  # the JSON object

    @property
    def workspace(self) -> str | None:
        """The name of its workspace; None in the line of a run."""
        name = self.sent.get("workspace")
        return name if isinstance(name, str) else None

    @property
    def of(self) -> int | None:
        """How many workspaces there are in its run, as far as it says."""
        of = self.sent.get(_OF)
        return of if isinstance(of, int) and of > 0 else None

    def audit(self) -> WorkspaceAudit:
        """Return the workspace; a severity of a later release is read as "low".

        ConfigurationError: it is none; the message names the place.
        """
        for name in _LISTS:
            if name not in self.sent:
                raise _none(self.place, f"$.{name}: missing")
        return self._read(self.sent, WorkspaceAudit)

    def run(self) -> AuditRun:
        """Return the run; ConfigurationError as for ``audit``."""
        return self._read(self.sent[_RUN], AuditRun)

    def again(self, judge: Judge | None, of: int | None) -> str:
        """Return the line to be written once more, its agents judged anew if there is a judge.

        ``of`` is as for ``dump_audit``.
        """
        line = {**self.sent, _OF: of} if of else dict(self.sent)
        if judge is not None:
            kept = [each for each in self.sent["findings"] if judge.keeps(each["rule"])]
            found = judge.agents(self.audit().agents)
            line["findings"] = [*kept, *(each.to_dict() for each in found)]
        return _dump(line)

    def _read(self, sent: Any, kind: type[Value]) -> Value:
        try:
            return from_dict(sent, kind)
        except ResponseDecodeError as error:
            raise _none(self.place, error.message) from None


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
                places = {line.workspace: place for place, line in enumerate(_lines(path, file))}
                file.seek(0)
            for place, line in enumerate(_lines(path, file)):
                # A run that still writes may have added lines meanwhile.
                if line.workspace is None or places.get(line.workspace, 0) <= place:
                    yield line
    except OSError as error:
        raise unusable(path, error) from None


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


def unusable(path: str | Path, error: OSError) -> ConfigurationError:
    """Return the error for a file that cannot be opened, read or written."""
    return ConfigurationError(f"{str(path) or repr('')}: {error.strerror or type(error).__name__}")


def _lines(path: str | Path, file: BinaryIO) -> Iterator[Line]:
    """Yield what the lines of an open file say, but for blank ones and for a torn last one.

    ConfigurationError: a line before the last is none of an audit.
    """
    torn = None
    for number, text in enumerate(file, start=1):
        if not text.strip():
            continue
        if torn is not None:
            raise torn
        place, objects = f"{path}, line {number}", _objects(text)
        for sent in objects:
            line = Line(place, sent)
            if line.workspace is None and _RUN not in sent:
                raise _none(place, "no workspace is named")
            yield line
        if not objects:
            torn = _none(place, "not JSON")
            if not _is_torn(text):
                raise torn


def _none(place: str, problem: str) -> ConfigurationError:
    return ConfigurationError(f"{place}: no line of an audit: {problem}")


def _is_torn(line: bytes) -> bool:
    """Tell what is left of a line whose writer was killed; a power cut may leave null bytes."""
    return not line.strip(b"\0") or any(start.startswith(line[: len(start)]) for start in _STARTS)


def _objects(line: bytes) -> list[Mapping[str, Any]]:
    """Return what is on a line, an empty object in place of other values; nothing: it is no JSON.

    Behind a line without its end, whole or torn, stands the first of a file that was appended.
    """
    found: list[Mapping[str, Any]] = []
    end = len(line)
    # Inside a string of JSON the quotes would be escaped.
    starts = [each.start() for each in _START.finditer(line)]
    for start in (0, *reversed(starts), 0):  # almost always the first, for it is one object
        with suppress(ValueError, RecursionError):
            sent = json.loads(line[start:end])
            found.append(sent if isinstance(sent, dict) else {})
            end = start
        if not end:
            break
    return found[::-1]
