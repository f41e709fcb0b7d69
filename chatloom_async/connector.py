"""What aiohttp keeps open: which of its connections may carry another request, and which did.

Not here: sessions and their loops (``pool``), the request itself (``exchange``).
"""

from __future__ import annotations

import os
import ssl
from weakref import WeakSet

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.tracing import Trace


class Connector(aiohttp.TCPConnector):
    """Hands out a kept connection only while nothing speaks against it.

    Bytes that arrive while nobody waits for an answer belong to no request of ours; aiohttp would
    take them for the next one's answer, whoever's key that carries.

    A subclass, because ``connect`` is aiohttp's only public place between a kept connection and its
    next request.
    """

    def __init__(self, context: ssl.SSLContext | None) -> None:
        """Make it in its running loop; without a context, the usual authorities are trusted."""
        super().__init__(limit=0, ssl=context or _default_context())  # the pool has slots
        self.opened = 0
        self._known: WeakSet[ResponseHandler] = WeakSet()
        self._reused: WeakSet[aiohttp.ClientRequest] = WeakSet()

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        """Return a connection for this request: a kept one that is sound, or a new one."""
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = connection.protocol
            assert protocol is not None  # noqa: S101 - it has just been handed out
            if protocol not in self._known:
                self._known.add(protocol)
                self.opened += 1
                return connection
            if not protocol.should_close:
                self._reused.add(req)
                return connection
            connection.close()

    def was_kept(self, request: aiohttp.ClientRequest) -> bool:
        """Tell whether this request went out on a connection kept from an earlier one."""
        return request in self._reused


def _default_context() -> ssl.SSLContext | bool:
    """Honour certificates named in the environment: aiohttp's own context was made at import."""
    named = "SSL_CERT_FILE" in os.environ or "SSL_CERT_DIR" in os.environ
    return ssl.create_default_context() if named else True
