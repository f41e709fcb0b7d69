"""A shared limit on one machine: a file of fixed records, one lock around it.

The kernel gives the lock back when its holder dies, however it dies. All times are
``time.monotonic()``, which the processes of one machine have in common. After a restart of the
machine it begins anew: a file that nobody has written to since is emptied, and a record of a time
that is yet to come counts as unset. Not here: what a limiter does with the answers
(``ratelimit.shared``).
"""

from __future__ import annotations

import asyncio
import math
import os
import stat
import struct
import sys
import time
from collections.abc import Callable
from hashlib import blake2b
from io import FileIO
from typing import TypeVar

from attrs import define, field, frozen

from chatloom_async.errors import ConfigurationError
from chatloom_async.ratelimit.shared import PROBE, this_process
from chatloom_async.ratelimit.values import Grant, RateLimit

if sys.platform == "win32":
    import msvcrt

    _LOCK, _UNLOCK = msvcrt.LK_NBLCK, msvcrt.LK_UNLCK

    def _lock(file: FileIO, how: int) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), how, 1)
else:
    import fcntl

    _LOCK, _UNLOCK = fcntl.LOCK_EX | fcntl.LOCK_NB, fcntl.LOCK_UN

    def _lock(file: FileIO, how: int) -> None:
        fcntl.flock(file, how)


T = TypeVar("T")

_MAGIC = b"chatloom limits\x03"
_GROUPS, _GROUP = 1024, 8  # of records; of more keys in a group, those longest unused begin anew
_MEMBERS = 32  # processes told apart for one key; of more, some are not counted
_HEAD = struct.Struct("<16sddd")  # name, last use, used until, closed until
_MEMBER = struct.Struct("<Qd")  # each process, and when it asked last
_SIZE = _HEAD.size + _MEMBERS * _MEMBER.size

_PRESENT = 60.0  # seconds for which a process counts after its last request
_SPIN, _PAUSE, _PATIENCE = 20, 0.0005, 1.0  # tries at once, seconds between more, and in all


@define(eq=False, repr=False)
class Record:
    """What the processes know together of one key.

    Departures are granted by the generic cell rate algorithm: each uses ``60 / per_minute``
    seconds; up to ``burst`` of them may be used ahead of time.
    """

    used_until: float = 0.0
    closed_until: float = 0.0  # later than that, until it is opened: a probe may leave; 0: open
    members: dict[int, float] = field(factory=dict)  # when each process asked last

    def take(self, limit: RateLimit, wanted: int, member: int, now: float) -> Grant:
        """Use up to so many departures; see ``SharedStore``."""
        present = self.members | {member: now}
        self.members = {each: at for each, at in present.items() if at > now - _PRESENT}
        processes, probe = len(self.members), self.closed_until > 0
        if now < self.closed_until:
            return Grant(0, self.closed_until - now, processes=processes)
        count, wait, interval = min(wanted, 1) if probe else wanted, 0.0, limit.interval
        if count and interval:
            begin = max(self.used_until, now)
            free = math.floor((now - begin) / interval + limit.burst + 1e-9)
            count = max(1, min(count, free))
            self.used_until = begin + count * interval
            if free < 1:
                wait = self.used_until - limit.burst * interval - now
        if probe:
            self.closed_until = now + wait + PROBE
        return Grant(count, wait, probe, processes)

    def close(self, until: float) -> None:
        """Let nothing leave until then."""
        self.closed_until = max(until, self.closed_until)

    def open(self) -> None:
        """Let requests leave again."""
        self.closed_until = 0.0


@frozen
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

    async def take(self, name: str, limit: RateLimit, wanted: int) -> Grant:
        """Use up to ``wanted`` departures; see ``SharedStore``."""
        return await self._change(name, lambda it, now: it.take(limit, wanted, this_process(), now))

    async def close(self, name: str, seconds: float) -> None:
        """Let nothing leave for so long."""
        await self._change(name, lambda it, now: it.close(now + seconds))

    async def open(self, name: str) -> None:
        """Let requests leave again."""
        await self._change(name, lambda it, _: it.open())

    async def _change(self, name: str, change: Callable[[Record, float], T]) -> T:
        """Change a record, alone; wait for that without holding up the event loop.

        The file is opened anew each time: somebody may have removed it, and a forked process that
        inherited it open would keep the lock.
        """
        path, tries, begun = os.fspath(self.path), 0, time.monotonic()
        while time.monotonic() <= begun + _PATIENCE:
            with _open(path) as file:
                try:
                    _lock(file, _LOCK)
                except (BlockingIOError, PermissionError):
                    tries += 1
                else:
                    try:
                        return _changed(file, name, change)
                    finally:
                        _lock(file, _UNLOCK)
            await asyncio.sleep(0 if tries < _SPIN else _PAUSE)
        raise TimeoutError(f"{path!r} was locked for more than {_PATIENCE:g} s")


def _open(path: str) -> FileIO:
    try:
        file = FileIO(path, "r+", opener=_create)
    except OSError as error:
        raise ConfigurationError(
            f"the file of the shared limit, {path!r}, cannot be opened: {error.strerror}"
        ) from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise _stranger(path)
    return file


def _create(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT, 0o600)


def _stranger(path: object) -> ConfigurationError:
    return ConfigurationError(f"{path!r} is no file of a shared limit; give another path")


def _changed(file: FileIO, name: str, change: Callable[[Record, float], T]) -> T:
    """Change the record of a name, or else the one of its group that is longest unused."""
    now = time.monotonic()
    file.seek(0)
    if not (head := file.read(len(_MAGIC))):
        file.write(_MAGIC)
    elif head != _MAGIC:
        raise _stranger(file.name)
    elif time.time() - os.fstat(file.fileno()).st_mtime > now:  # last written before a restart
        file.truncate(len(_MAGIC))
    digest = blake2b(name.encode(), digest_size=16).digest()
    group = len(_MAGIC) + int.from_bytes(digest[:4], "little") % _GROUPS * _GROUP * _SIZE
    file.seek(group)
    data = file.read(_GROUP * _SIZE).ljust(_GROUP * _SIZE, b"\0")
    heads = {place: _HEAD.unpack_from(data, place) for place in range(0, len(data), _SIZE)}
    # One of before a restart, when the clock was ahead, counts as unused for the longest.
    ages = {place: (head[0] != digest, head[1] <= now, head[1]) for place, head in heads.items()}
    place = min(ages, key=lambda each: ages[each])
    owner, touched, used_until, closed_until = heads[place]
    record = Record()
    if owner == digest and touched <= now:
        members = _MEMBER.iter_unpack(data[place + _HEAD.size : place + _SIZE])
        record = Record(used_until, closed_until, {each: at for each, at in members if each})
    answer = change(record, now)
    parts = [_HEAD.pack(digest, now, record.used_until, record.closed_until)]
    parts += [_MEMBER.pack(*member) for member in [*record.members.items()][-_MEMBERS:]]
    file.seek(group + place)
    file.write(b"".join(parts).ljust(_SIZE, b"\0"))
    return answer
