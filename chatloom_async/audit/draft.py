"""A draft: a file beside its place, which takes that place when it is whole.

Whoever reads the place finds what was there before, or all of the new file.
"""

import os
import sys
from collections.abc import Iterable
from io import FileIO
from pathlib import Path
from stat import S_IMODE
from typing import Self

from attrs import define, field

from chatloom_async.errors import ConfigurationError

if sys.platform != "win32":
    import fcntl

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


@define(eq=False)
class Draft:
    """A file being written, until ``discard``, which also follows ``publish``."""

    place: Path  # where it will be; for a link that is there, what the link points to
    beside: Path  # where it is
    file: FileIO = field(repr=False)  # open for writing, unbuffered; ``publish`` leaves it open
    _published: bool = field(default=False, init=False, repr=False)

    @classmethod
    def begin(cls, path: str | Path, suffix: str = ".draft") -> Self:
        """Create the draft, in place of one that a killed run has left, or ConfigurationError.

        That of a run that still writes is none, where the system knows how to tell (``lock``).

        It is created exclusively: a link that somebody has put there is removed, never followed.
        """
        place = Path(os.path.realpath(path))
        # A device would be replaced by a file, and so would a link that leads back to itself.
        if os.path.lexists(place) and not place.is_file():
            raise ConfigurationError(f"cannot write {str(path)!r}: it is no plain file")
        beside = place.with_name(f"{place.name}{suffix}")
        try:
            if beside.is_file() and not beside.is_symlink():
                with beside.open("rb", buffering=0) as left:
                    lock(beside, left)
            beside.unlink(missing_ok=True)
            draft = cls(place, beside, FileIO(os.open(beside, _FLAGS, 0o666), "w"))
            lock(beside, draft.file)
        except OSError as error:
            named = beside if os.path.lexists(beside) else path
            raise ConfigurationError(f"cannot write {str(named)!r}: {error.strerror}") from None
        if place.exists() and os.chmod in os.supports_fd:
            mode = S_IMODE(place.stat().st_mode)
            os.chmod(draft.file.fileno(), mode)  # noqa: PTH101 - a path could be another's by now
        return draft

    def publish(self) -> None:
        """Put it in its place; after an OSError call ``discard``."""
        os.fsync(self.file.fileno())
        self.beside.replace(self.place)
        self._published = True  # what is beside from here on is another run's

    def discard(self) -> None:
        """Remove it unless it is published; what is in its place stays."""
        self.file.close()
        if not self._published:
            self.beside.unlink(missing_ok=True)


def write_whole(path: str | Path, parts: Iterable[bytes]) -> None:
    """Put a file in its place when all of it is written; ConfigurationError: it cannot be."""
    draft = Draft.begin(path)
    try:
        for part in parts:
            write(draft.file, part)
        draft.publish()
    except OSError as error:
        raise ConfigurationError(f"cannot write {str(path)!r}: {error.strerror}") from None
    finally:
        draft.discard()


def write(file: FileIO, data: bytes) -> None:
    """Write all of it; OSError: not all of it could be written."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def lock(path: str | Path, file: FileIO) -> None:
    """Keep other runs out until the file is closed, where the system knows how (flock).

    ConfigurationError: another run keeps this one out, and the file is closed.
    """
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
        file.close()
        raise ConfigurationError(f"{path}: another run writes to it")
