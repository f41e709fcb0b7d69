"""Delivery: one reply, and how it is put on a connection, well or (on purpose) badly.

What to deliver is decided in ``tenants``.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable

from aiohttp import web
from attrs import define, field

from chatloom_async.testing.api import Reply
from chatloom_async.testing.faults import Drip, Mishap
from chatloom_async.testing.records import NO_ANSWER

# Lingering on, for zero seconds: closing sends RST. Windows has shorts where others have ints.
_NO_LINGER = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)


@define(eq=False)
class Delivery:
    """This reply, after ``wait`` seconds, spoilt in this way; to this workspace, if to any.

    ``held``: what gives a place in flight back to each quota, when the request is over.
    """

    reply: Reply
    workspace: str | None
    wait: float = 0.0
    spoilt: Mishap | Drip | None = None
    held: list[Callable[[], None]] = field(factory=list, repr=False)

    @property
    def status(self) -> int:
        """The status the client will see; 0 when it gets no whole answer."""
        return NO_ANSWER if isinstance(self.spoilt, Mishap) else self.reply.status

    async def carry_out(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request, without the wait."""
        status, body, headers = self.reply.status, self.reply.body, self.reply.headers
        match self.spoilt:
            case Mishap.RESET:
                _end(request, reset=True)
            case Mishap.DISCONNECT:
                _end(request)
            case Mishap.HANG:
                await asyncio.get_running_loop().create_future()
            case Mishap.CUT_BODY | Drip():
                response = web.StreamResponse(status=status, headers=headers)
                response.content_length = len(body)
                await response.prepare(request)
                if isinstance(self.spoilt, Drip):
                    for position in range(len(body)):
                        await response.write(body[position : position + 1])
                        await asyncio.sleep(self.spoilt.pause)
                else:
                    await response.write(body[: len(body) // 2])
                    _end(request)
                return response
        # Where nobody is left to read it, aiohttp wants a response all the same.
        return web.Response(status=status, body=body, headers=headers)


def _end(request: web.BaseRequest, *, reset: bool = False) -> None:
    """Send what is written, then FIN; or at once RST."""
    if request.transport is None:
        return
    if reset:
        peer: socket.socket = request.transport.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        request.transport.abort()
    else:
        request.transport.close()
