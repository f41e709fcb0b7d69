"""A shared limit on one machine: a file of fixed records, mapped into memory, one lock around it.

The kernel gives the lock back when its holder dies, however it dies. All times are
``time.monotonic()``, which the processes of one machine have in common. After a restart of the
machine it begins anew, so a record of a time that is yet to come counts as unset. Not here: what a
limiter does with the answers (``ratelimit.shared``).
"""

from __future__ import annotations

import asyncio
import math
import mmap
import os
import struct
import sys
import threading
import time
from hashlib import blake2b
from typing import Any

from attrs import define, field

from chatloom_async.errors import ConfigurationError
from chatloom_async.ratelimit.shared import used_after
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


_MAGIC = b"chatloom limits\x01"
_RECORDS = 4096  # keys; of more, those longest unused begin anew
_NEIGHBOURS = 8  # records in which a key may be found
_MEMBERS = 8  # processes told apart for one key; of more, some are not counted
# Name, used until, closed until, whether it was closed, last use, and each member with its own.
_RECORD = struct.Struct(f"<16sdd?d{'Qd' * _MEMBERS}")
_NOBODY = (0, 0.0) * _MEMBERS
_SIZE = len(_MAGIC) + _RECORDS * _RECORD.size

_PROBE = 2.0  # seconds in which nobody else probes
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
    It may be used from any number of threads, event loops and forked processes.

    What its methods raise is a failure of the store: ``SharedTurns`` logs it, and no call sees it.

    Raises:
        ConfigurationError: on first use: the path is another kind of file, or cannot be opened.
        TimeoutError: a process held the lock for more than a second.

    """

    path: str | os.PathLike[str]
    _lock: threading.Lock = field(factory=threading.Lock, init=False, repr=False)
    _file: int = field(default=-1, init=False, repr=False)
    _map: mmap.mmap | None = field(default=None, init=False, repr=False)
    _process: int = field(factory=os.getpid, init=False, repr=False)

    async def take(self, name: str, limit: RateLimit, wanted: int) -> Grant:
        """Use up to ``wanted`` departures; see ``SharedStore``."""
        records = await self._acquire()
        try:
            now = time.monotonic()
            place, record = _find(records, name, now)
            if record.closed and now < record.closed_until:
                wait = record.closed_until - now
                return Grant(0, wait, processes=_present(record, now))
            if not wanted:
                return Grant(0, processes=_present(record, now))
            count, used = used_after(record.used_until, now, limit, 1 if record.closed else wanted)
            wait = 0.0 if count else used - limit.burst * _interval(limit) - now
            record = _Record(
                record.name,
                used,
                now + wait + _PROBE if record.closed else 0.0,
                record.closed,
                now,
                _joined(record.members, self._process, now),
            )
            _write(records, place, record)
            return Grant(max(count, 1), wait, record.closed, _present(record, now))
        finally:
            self._release()

    async def close(self, name: str, seconds: float) -> None:
        """Let nothing leave for so long."""
        await self._mark(name, seconds, closed=True)

    async def open(self, name: str) -> None:
        """Let requests leave again."""
        await self._mark(name, 0.0, closed=False)

    async def _mark(self, name: str, seconds: float, *, closed: bool) -> None:
        records = await self._acquire()
        try:
            now = time.monotonic()
            place, old = _find(records, name, now)
            until = max(now + seconds, old.closed_until) if closed else 0.0
            record = _Record(old.name, old.used_until, until, closed, now, old.members)
            _write(records, place, record)
        finally:
            self._release()

    async def _acquire(self) -> mmap.mmap:
        """Take the lock without holding up the event loop."""
        if self._process != os.getpid():  # a lock that the parent held at the fork stays locked
            self._lock, self._map, self._process = threading.Lock(), None, os.getpid()
        tries, begun = 0, time.monotonic()
        while True:
            if self._lock.acquire(blocking=False):
                try:
                    records = self._records()
                    _try_lock(self._file)
                except BaseException as error:
                    self._lock.release()
                    if not isinstance(error, BlockingIOError | PermissionError):
                        raise
                else:
                    return records
            tries += 1
            if time.monotonic() - begun > _PATIENCE:
                raise TimeoutError(
                    f"{os.fspath(self.path)!r} was locked for more than {_PATIENCE:g} s"
                )
            await asyncio.sleep(0 if tries < _SPIN else _PAUSE)

    def _release(self) -> None:
        _unlock(self._file)
        self._lock.release()

    def _records(self) -> mmap.mmap:
        """Open the file, again in a forked process: a lock belongs to who opened it.

        Again, too, where somebody removed it or cut it: to touch what is mapped and gone would end
        the process.
        """
        if self._map is not None:
            found = os.fstat(self._file)
            if found.st_size < _SIZE or not found.st_nlink:
                self._map.close()
                os.close(self._file)
                self._map = None
        if self._map is None:
            self._file, self._map = _open(os.fspath(self.path))
        return self._map

    def __reduce__(self) -> tuple[Any, ...]:
        """Be copied and pickled as the path: each opens the file for itself."""
        return type(self), (self.path,)

    def __del__(self) -> None:
        """Close the file; a forked process closes its own."""
        if self._map is not None and self._process == os.getpid():
            self._map.close()
            os.close(self._file)


def _open(path: str) -> tuple[int, mmap.mmap]:
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        file = os.open(path, flags, 0o600)
    except OSError as error:
        raise ConfigurationError(
            f"the file of the shared limit, {path!r}, cannot be opened: {error.strerror}"
        ) from None
    size = os.fstat(file).st_size
    head = os.read(file, len(_MAGIC)) if size else b""
    if size and head != _MAGIC:
        os.close(file)
        raise ConfigurationError(f"{path!r} is no file of a shared limit; give another path")
    if size < _SIZE:  # two processes that make it at once write the same
        os.lseek(file, 0, os.SEEK_SET)
        os.write(file, _MAGIC)
        os.ftruncate(file, _SIZE)
    return file, mmap.mmap(file, _SIZE)


def _find(records: mmap.mmap, name: str, now: float) -> tuple[int, _Record]:
    """Return the record of a name, or the one among its neighbours that is longest unused."""
    digest = blake2b(name.encode(), digest_size=16).digest()
    first = int.from_bytes(digest[:4], "little")
    oldest, oldest_place = math.inf, 0
    for step in range(_NEIGHBOURS):
        place = len(_MAGIC) + (first + step) % _RECORDS * _RECORD.size
        record = _unpack(records[place : place + _RECORD.size], now)
        if record.name == digest:
            return place, record
        if record.touched < oldest:
            oldest, oldest_place = record.touched, place
    return oldest_place, _Record(digest)


def _write(records: mmap.mmap, place: int, record: _Record) -> None:
    records[place : place + _RECORD.size] = record.pack()


def _interval(limit: RateLimit) -> float:
    return 60 / limit.per_minute if limit.per_minute else 0.0


def _joined(
    members: tuple[tuple[int, float], ...], process: int, now: float
) -> tuple[tuple[int, float], ...]:
    others = [member for member in members if member[0] != process and member[1] > now - _PRESENT]
    return ((process, now), *others[: _MEMBERS - 1])


def _present(record: _Record, now: float) -> int:
    return max(1, sum(seen > now - _PRESENT for _, seen in record.members))
