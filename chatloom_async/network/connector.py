"""Which of the connections that aiohttp keeps open may carry another request, and which did.

Not here: sessions and their loops (``network.pool``), the request itself
(``network.direct``, ``network.exchange``).
"""

from __future__ import annotations

import asyncio
import math
import os
import ssl
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import aiohttp

from chatloom_async.transport import LATE

if TYPE_CHECKING:  # names that aiohttp does not export
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

_BLOCK = 64 * 1024
# The generation of the kept connection that the task's latest request met; None if it was new.
_KEPT_SINCE: ContextVar[int | None] = ContextVar("_KEPT_SINCE", default=None)


class Connector(aiohttp.TCPConnector):
    """Hands out a kept connection only while nothing speaks against it.

    Bytes that arrive while nobody waits for an answer belong to no request of ours; aiohttp would
    take them for the next one's answer, whoever's key that carries. And what ends one kept
    connection, a balancer that forgot it, say, has often ended them all.

    So connections have generations. Three are opened, of generation 0, and kept. A request takes
    the first and finds it dead: generation 0 is over. The next request is handed the second, which
    is closed untried, as is the third; the connection opened then is of generation 1.

    A subclass, because ``connect`` is aiohttp's only public place between a kept connection and its
    next request.
    """

    def __init__(self, context: ssl.SSLContext | None) -> None:
        """Make it in its running loop; without a context, the usual authorities are trusted."""
        super().__init__(limit=0, ssl=context or _default_context())  # the pool has slots
        self.opened: int = 0
        self._time = asyncio.get_running_loop().time
        # A kept connection found dead ends the generation of all that were opened before.
        self._generation = 0
        self._opened_in: WeakKeyDictionary[ResponseHandler, int] = WeakKeyDictionary()

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        """Return a connection for this request: a kept one that is sound, or a new one."""
        judge_at = self._time() + (timeout.connect or 0.0) + LATE
        while True:
            try:
                connection = await super().connect(req, traces, timeout)
            except BaseException as error:
                _KEPT_SINCE.set(None)
                match error:
                    case KeyError(args=(tuple(),)):  # the name was forgotten since its look-up
                        continue
                # The name may belong to another address by now. Not at once: who waited for the
                # same look-up is about to use it, and aiohttp would fail there.
                asyncio.get_running_loop().call_soon(self.clear_dns_cache)
                if not isinstance(error, TimeoutError) or self._time() < judge_at:
                    raise
                # A blocked loop held the timer up, and nobody looked whether the connection was
                # there. Nothing has been sent: connect once more.
                judge_at = math.inf
                continue
            protocol = connection.protocol
            assert protocol is not None  # noqa: S101 - it has just been handed out
            generation = self._opened_in.get(protocol)
            if generation is None:
                self._opened_in[protocol] = self._generation
                self.opened += 1
                _read_in_small_blocks(protocol.transport)
                _KEPT_SINCE.set(None)
            elif generation != self._generation or protocol.should_close:
                connection.close()
                continue
            elif _KEPT_SINCE.get() != generation:
                _KEPT_SINCE.set(generation)
            return connection

    def is_sound(self, protocol: ResponseHandler) -> bool:
        """Tell whether a connection at hand may carry the task's next request; take note of it."""
        generation = self._opened_in.get(protocol)
        if generation != self._generation or protocol.should_close or not protocol.is_connected():
            return False
        if _KEPT_SINCE.get() != generation:
            _KEPT_SINCE.set(generation)
        return True

    def count(self) -> int:
        """Return how many connections are open."""
        protocols = (ref() for ref in self._opened_in.keyrefs())
        return sum(protocol is not None and protocol.is_connected() for protocol in protocols)

    def lost_kept(self) -> bool:
        """Report that the connection of the running request died or fell silent.

        Returns whether it was a kept one. If so, its generation ends: those as old are not handed
        out again. The host's name is looked up again in any case.
        """
        self.clear_dns_cache()
        generation = _KEPT_SINCE.get()
        if generation == self._generation:
            self._generation += 1
        return generation is not None


def _read_in_small_blocks(transport: Any) -> None:
    """Let asyncio read 64 KiB at a time, not 256: answers are small.

    So large a block is mapped and unmapped by the system for each read, which costs an answer three
    system calls and two page faults. Other loops, and TLS, keep a buffer.
    """
    if hasattr(transport, "max_size"):
        transport.max_size = _BLOCK


def _default_context() -> ssl.SSLContext | bool:
    """Honour certificates named in the environment: aiohttp's own context was made at import."""
    named = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    return True if named == (None, None) else _authorities(*map(_version, named))


def _version(path: str | None) -> tuple[str | None, int | None]:
    """Return the path of a file and when it was written, if it is there."""
    try:
        return path, None if path is None else Path(path).stat().st_mtime_ns
    except OSError:
        return path, None


@lru_cache(maxsize=1)
def _authorities(*_versions: tuple[str | None, int | None]) -> ssl.SSLContext:
    """Read them once: it takes tens of milliseconds, in which the loop stands still."""
    return ssl.create_default_context()
