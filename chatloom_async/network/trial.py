"""Whether this aiohttp has what the direct way needs: asked, and tried on answers in memory.

Nothing of it leaves the process. Not here: the direct way itself (``network.direct``).
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine
from http import HTTPStatus
from types import FunctionType
from typing import Any, TypeVar

import aiohttp
from attrs import evolve

from chatloom_async.auth import ApiKey
from chatloom_async.network.translation import untrace
from chatloom_async.transport import Request

Value = TypeVar("Value")

_aiohttp: Any = aiohttp  # with what it has and does not export
# The newest aiohttp that the suite has passed on; with a later one all goes through the session.
NEWEST: tuple[int, ...] = (3, 14)


def session_methods() -> tuple[Any, Any]:
    """Return the methods that recorders and fakes replace (aioresponses, vcrpy)."""
    return _aiohttp.ClientSession._request, _aiohttp.ClientSession.request  # noqa: SLF001 - aioresponses does too


def doubt() -> str | None:
    """Return what speaks against the direct way before it is tried, or None."""
    version = tuple(int(part) for part in aiohttp.__version__.split(".")[:2])
    if version > NEWEST:
        return f"aiohttp {aiohttp.__version__} is newer than those it was tried with"
    if list(inspect.signature(aiohttp.BaseConnector.connect).parameters) != _PARAMETERS:
        return "BaseConnector.connect takes other parameters"
    for method in session_methods():
        source = _aiohttp.client.__file__
        if type(method) is not FunctionType or method.__code__.co_filename != source:
            return "a method of aiohttp.ClientSession is not aiohttp's own"
    return None


def try_out(direct: Any) -> str | None:
    """Return what is not as it should be when known answers are read, or None.

    ``direct`` is a ``Direct``; copies of it make the requests.
    """
    request = Request("GET", "http://trial.invalid/base", "/trial", "/trial")
    for answer, ending in ((_EARLY + _KEPT, "released"), (_LAST, "closed")):
        wire = _Wire(answer)
        trial = evolve(direct, connector=wire, origins={})
        response = _at_once(trial.send(request, ApiKey("clf_trial"), 1.0))
        trial.release()
        first, *lines = wire.written.split(b"\r\n")
        if first != b"GET /base/trial HTTP/1.1" or b"Host: trial.invalid" not in lines:
            return "aiohttp.ClientRequest makes another head"
        seen = response.status, response.headers.get("x-trial"), response.body
        if seen != (HTTPStatus.OK, "yes", b"{}") or wire.ending != ending:
            return "an answer is read in another way"
    trial = evolve(direct, connector=_Wire(b"no answer\r\n\r\n"), origins={})
    try:
        _at_once(trial.send(request, ApiKey("clf_trial"), 1.0))
    except aiohttp.ClientResponseError as error:
        untrace(error)
        return None
    return "what is not HTTP is taken for an answer"


class _Wire:
    """A connector, its connection and transport in memory; the other end answers known bytes."""

    closed = False

    def __init__(self, answer: bytes) -> None:
        self.answer, self.written, self.ending = answer, b"", ""
        self.protocol = _aiohttp.client_proto.ResponseHandler(asyncio.get_running_loop())
        self.protocol.connection_made(self)

    async def connect(self, *_: object) -> _Wire:
        return self

    def write(self, data: bytes) -> None:
        self.written += data
        self.protocol.data_received(self.answer)

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, *_: object) -> None:
        """Answer that there is no socket."""

    def release(self) -> None:
        usable = self.protocol.is_connected() and not self.protocol.should_close
        self.ending = "released" if usable else "closed"

    def close(self) -> None:
        self.ending = "closed"


def _at_once(coroutine: Coroutine[Any, Any, Value]) -> Value:
    """Return what a coroutine returns that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        value: Value = done.value
        return value
    finally:
        coroutine.close()
    raise RuntimeError("an answer is not read when it is there")


_PARAMETERS = ["self", "req", "traces", "timeout"]
_KEPT = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Trial: yes\r\n\r\n{}"
_LAST = _KEPT.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
_EARLY = b"HTTP/1.1 103 Early Hints\r\n\r\n"
