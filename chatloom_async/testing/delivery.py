"""Delivery: one reply put on a connection, well or (on purpose) badly.

What to deliver and when is decided in ``tenants``.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct

from aiohttp import web

from chatloom_async.testing.api import Reply
from chatloom_async.testing.faults import Drip, Mishap

# Lingering on, for zero seconds: closing sends RST. Windows has shorts where others have ints.
_NO_LINGER = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)


def whole(reply: Reply) -> web.Response:
    """The reply as it should be."""
    return web.Response(status=reply.status, body=reply.body, headers=reply.headers)


async def spoilt(request: web.BaseRequest, reply: Reply, how: Mishap | Drip) -> web.StreamResponse:
    """The reply as a fault wants it."""
    match how:
        case Mishap.RESET:
            _end(request, reset=True)
        case Mishap.DISCONNECT:
            _end(request)
        case Mishap.HANG:
            await asyncio.get_running_loop().create_future()
        case Mishap.CUT_BODY:
            response = await _head(request, reply)
            await response.write(reply.body[: len(reply.body) // 2])
            _end(request)
            return response
        case Drip(pause):
            response = await _head(request, reply)
            for position in range(len(reply.body)):
                await response.write(reply.body[position : position + 1])
                await asyncio.sleep(pause)
            return response
    # Nobody is left to read it; aiohttp wants a response all the same.
    return whole(reply)


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


async def _head(request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
    response = web.StreamResponse(status=reply.status, headers=reply.headers)
    response.content_length = len(reply.body)
    await response.prepare(request)
    return response
