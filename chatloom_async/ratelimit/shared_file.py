"""A shared limit on one machine: a file of fixed records, one lock around it.

The kernel gives the lock back when its holder dies, however it dies. All times are
``time.monotonic()``, which the processes of one machine have in common. After a restart of the
machine it begins anew, so a record of a time that is yet to come counts as unset. Not here: what a
limiter does with the answers (``ratelimit.shared``).
"""

from __future__ import annotations

import asyncio
import math
import os
import secrets
import stat
import struct
import sys
import threading
import time
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, TypeVar
from weakref import WeakSet

from attrs import define, field

from chatloom_async.errors import ConfigurationError
from chatloom_async.ratelimit.shared import PROBE, used_after
from chatloom_async.ratelimit.values import Grant, RateLimit

if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: int) -> None:
        os.lseek(file, 0, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)

    def _unlock(file: int) -> None:
        os.lseek(file, 0, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _try_lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)


T = TypeVar("T")

_MAGIC = b"chatloom limits\x02"
_RECORDS = 4096  # keys; of more, those longest unused begin anew
_NEIGHBOURS = 8  # records in which a key may be found
_MEMBERS = 32  # processes told apart for one key; of more, some are not counted
# Name, used until, closed until, whether it was closed, last use, and each member with its own.
_RECORD = struct.Struct(f"<16sdd?d{'Qd' * _MEMBERS}")
_NOBODY = (0, 0.0) * _MEMBERS

_PRESENT = 60.0  # seconds for which a process counts after its last request
_SPIN, _PAUSE, _PATIENCE = 20, 0.0005, 1.0  # tries at once, seconds between more, and in all


@define(eq=False, repr=False)
class _Record:
    name: bytes
    used_until: float = 0.0
    closed_until: float = 0.0
    closed: bool = False
    touched: float = 0.0
    members: tuple[tuple[int, float], ...] = ()

    def take(self, limit: RateLimit, wanted: int, member: int, now: float) -> Grant:
        others = [each for each in self.members if each[0] != member and each[1] > now - _PRESENT]
        self.members = ((member, now), *others[: _MEMBERS - 1])
        processes = len(self.members)
        if self.closed and now < self.closed_until:
            return Grant(0, self.closed_until - now, processes=processes)
        count, wait = 0, 0.0
        if wanted:
            most = 1 if self.closed else wanted
            count, self.used_until = used_after(self.used_until, now, limit, most)
            if not count:
                count, wait = 1, self.used_until - limit.burst * limit.interval - now
        self.closed_until = now + wait + PROBE if self.closed else 0.0
        return Grant(count, wait, self.closed, processes)

    def close(self, until: float) -> None:
        self.closed, self.closed_until = True, until

    def open(self) -> None:
        self.closed, self.closed_until = False, 0.0

    def pack(self) -> bytes:
        seen = [value for member in self.members for value in member]
        return _RECORD.pack(
            self.name,
            self.used_until,
            self.closed_until,
            self.closed,
            self.touched,
            *seen,
            *_NOBODY[len(seen) :],
        )


def _unpack(data: bytes, now: float) -> _Record:
    name, used_until, closed_until, closed, touched, *rest = _RECORD.unpack(data)
    if touched > now:
        return _Record(name)
    members = tuple(member for member in zip(rest[::2], rest[1::2], strict=True) if member[0])
    return _Record(name, used_until, closed_until, closed, touched, members)


@define(eq=False)
class SharedFile:
    """A ``SharedStore`` for the processes of one machine.

    The file is made on first use, readable by its owner only, and holds hashes of keys, no key.
    It may be used from any number of threads, event loops and forked processes. Up to 32 processes
    of one key are told apart: of more, each keeps 1/32 of the limit while the file fails.

    What its methods raise is a failure of the store: ``SharedTurns`` logs it, and no call sees it.

    Raises:
        ConfigurationError: on first use: the path is another kind of file, or cannot be opened.
        OSError: the disk is full, for example.
        TimeoutError: a process held the lock for more than a second.

    """

    path: str | os.PathLike[str]
    _lock: threading.Lock = field(factory=threading.Lock, init=False, repr=False)
    _file: int = field(default=-1, init=False, repr=False)
    # A process id alone may be that of another container's process, which has the same file.
    _member: int = field(factory=lambda: secrets.randbits(32), init=False, repr=False)

    async def take(self, name: str, limit: RateLimit, wanted: int) -> Grant:
        """Use up to ``wanted`` departures; see ``SharedStore``."""
        member = self._member << 32 | os.getpid() & 0xFFFFFFFF
        return await self._change(name, lambda it, now: it.take(limit, wanted, member, now))

    async def close(self, name: str, seconds: float) -> None:
        """Let nothing leave for so long."""
        await self._change(name, lambda it, now: it.close(max(now + seconds, it.closed_until)))

    async def open(self, name: str) -> None:
        """Let requests leave again."""
        await self._change(name, lambda it, _: it.open())

    async def _change(self, name: str, change: Callable[[_Record, float], T]) -> T:
        file = await self._acquire()
        try:
            now = time.monotonic()
            place, record = _find(file, name, now)
            answer, record.touched = change(record, now), now
            _put(file, place, record.pack())
            return answer
        finally:
            _unlock(self._file)
            self._lock.release()

    async def _acquire(self) -> int:
        """Take the lock without holding up the event loop; return the open file."""
        tries, begun = 0, time.monotonic()
        while True:
            if self._lock.acquire(blocking=False):
                try:
                    self._look()
                    _try_lock(self._file)
                except BaseException as error:
                    self._lock.release()
                    if not isinstance(error, BlockingIOError | PermissionError):
                        raise
                else:
                    return self._file
            tries += 1
            if time.monotonic() - begun > _PATIENCE:
                raise TimeoutError(
                    f"{os.fspath(self.path)!r} was locked for more than {_PATIENCE:g} s"
                )
            await asyncio.sleep(0 if tries < _SPIN else _PAUSE)

    def _look(self) -> None:
        """Open the file, again where somebody removed or emptied it."""
        if self._file >= 0:
            found = os.fstat(self._file)
            if not (found.st_size and found.st_nlink):
                self._shut()
        if self._file < 0:
            self._file = _open(os.fspath(self.path))
            _opened.add(self)

    def _shut(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def forked(self) -> None:
        """Begin anew in a child: what it inherits keeps the lock that its parent holds or held."""
        self._lock = threading.Lock()
        self._shut()

    def __reduce__(self) -> tuple[Any, ...]:
        """Be copied and pickled as the path: each opens the file for itself."""
        return type(self), (self.path,)

    def __del__(self) -> None:
        """Close the file."""
        self._shut()


_opened = WeakSet[SharedFile]()  # a fork asks nobody: what is open must be known beforehand


def _forked() -> None:
    for store in list(_opened):
        store.forked()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forked)


def _open(path: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        file = os.open(path, flags, 0o600)
    except OSError as error:
        raise ConfigurationError(
            f"the file of the shared limit, {path!r}, cannot be opened: {error.strerror}"
        ) from None
    try:
        regular = stat.S_ISREG(os.fstat(file).st_mode)
        head = os.read(file, len(_MAGIC)) if regular else b""
        ours = regular and _MAGIC.startswith(head)
        if ours and head != _MAGIC:  # two processes that make it at once write the same
            _put(file, 0, _MAGIC)
    except BaseException:
        os.close(file)
        raise
    if not ours:
        os.close(file)
        raise ConfigurationError(f"{path!r} is no file of a shared limit; give another path")
    return file


def _put(file: int, place: int, data: bytes) -> None:
    os.lseek(file, place, os.SEEK_SET)
    os.write(file, data)


def _find(file: int, name: str, now: float) -> tuple[int, _Record]:
    """Return the record of a name, or the one among its neighbours that is longest unused."""
    digest = blake2b(name.encode(), digest_size=16).digest()
    first = int.from_bytes(digest[:4], "little")
    oldest, oldest_place = math.inf, 0
    for step in range(_NEIGHBOURS):
        place = len(_MAGIC) + (first + step) % _RECORDS * _RECORD.size
        os.lseek(file, place, os.SEEK_SET)
        record = _unpack(os.read(file, _RECORD.size).ljust(_RECORD.size, b"\0"), now)
        if record.name == digest:
            return place, record
        if record.touched < oldest:
            oldest, oldest_place = record.touched, place
    return oldest_place, _Record(digest)
