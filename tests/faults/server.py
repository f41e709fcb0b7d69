"""A server of raw sockets that does what its script says, however wrong.

What it is told to send it sends byte by byte; nothing here knows HTTP beyond the end of a request's
head. The cases are elsewhere.
"""

import asyncio
import socket
import struct
from collections.abc import Sequence
from ssl import SSLContext
from typing import Self

from attrs import define, field, frozen

HOST = "127.0.0.1"
_NO_LINGER = struct.pack("ii", 1, 0)  # closing sends RST


@frozen
class Pause:
    """Wait before the next step."""

    seconds: float


@frozen
class Flood:
    """Send the same bytes over and over, as fast as they are taken."""

    data: bytes
    times: int


@frozen
class Reset:
    """End the connection with RST."""


@frozen
class Close:
    """End the connection with FIN."""


@frozen
class Hang:
    """Say nothing more until the client goes away."""


@frozen
class Tunnel:
    """Be a proxy after CONNECT: pass bytes to the port it asked for."""


Step = bytes | Pause | Flood | Reset | Close | Hang | Tunnel
Script = tuple[Step, ...]


def drip(data: bytes, pause: float) -> Script:
    """Send byte by byte, with a pause after each."""
    return tuple(step for byte in data for step in (bytes((byte,)), Pause(pause)))


class _EndedError(Exception):
    """The script ended the connection."""


@define(eq=False)
class Server:
    """Plays one script for each request, in the order of arrival; the last one repeats.

    ``greeting`` is played on every connection before anything is read.
    """

    scripts: Sequence[Script]
    ssl: SSLContext | None = None
    greeting: Script = ()
    requests: list[bytes] = field(factory=list, init=False)
    connections: int = field(default=0, init=False)
    port: int = field(default=0, init=False)
    _server: asyncio.Server | None = field(default=None, init=False)
    _tasks: set[asyncio.Task[None]] = field(factory=set, init=False)

    @property
    def url(self) -> str:
        """Where it is, as a base URL without TLS."""
        return f"http://{HOST}:{self.port}"

    def play(self, *scripts: Script) -> None:
        """Forget what was asked and play these from now on."""
        self.scripts, self.greeting = scripts, ()
        self.requests.clear()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, HOST, 0, ssl=self.ssl)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Also when it is cancelled before its first step.
        task.add_done_callback(lambda _: writer.transport.abort())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for step in self.greeting:
                await _do(step, b"", reader, writer)
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.requests.append(head)
                script = self.scripts[min(len(self.requests), len(self.scripts)) - 1]
                for step in script:
                    await _do(step, head, reader, writer)
        except (_EndedError, OSError, asyncio.IncompleteReadError):
            pass


async def _do(
    step: Step, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    match step:
        case bytes():
            writer.write(step)
            await writer.drain()
        case Pause(seconds):
            await asyncio.sleep(seconds)
        case Flood(data, times):
            for _ in range(times):
                writer.write(data)
                await writer.drain()
        case Hang():
            await reader.read()
            raise _EndedError
        case Tunnel():
            await _tunnel(head, reader, writer)
            raise _EndedError
        case Close():
            writer.close()
            await writer.wait_closed()
            raise _EndedError
        case Reset():
            peer: socket.socket = writer.get_extra_info("socket")
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            raise _EndedError


async def _tunnel(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    port = int(head.split()[1].rpartition(b":")[2])
    there_reader, there_writer = await asyncio.open_connection(HOST, port)
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_pipe(reader, there_writer))
            group.create_task(_pipe(there_reader, writer))
    finally:
        there_writer.transport.abort()


async def _pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(65536):
        sink.write(data)
        await sink.drain()
    sink.transport.abort()
