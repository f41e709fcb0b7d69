"""GETs on aiohttp's connections without its session: the same bytes at half the cost.

aiohttp's session makes some twenty objects for each request; a GET without a body needs none of
them. Here a request takes a connection from the same connector, writes its head, and reads the
answer through aiohttp's own protocol and parser.

aiohttp does not promise all of the names that this needs. ``Direct.of`` tries them first, and where
anything is out of the ordinary every request is the session's (``network.exchange``).
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Coroutine
from types import FunctionType
from typing import Any, TypeVar, cast

import aiohttp
from attrs import define, field, frozen
from yarl import URL

from chatloom_async.auth import ApiKey
from chatloom_async.network.connector import Connector
from chatloom_async.network.exchange import connecting, read_body, unanswered, within_limit
from chatloom_async.transport import MAX_ERROR_BODY, Request, Response

Value = TypeVar("Value")

_log = logging.getLogger("chatloom_async")
_aiohttp: Any = aiohttp  # with what it has and does not export
# The newest aiohttp that the suite has passed on; with a later one all goes through the session.
NEWEST: tuple[int, ...] = (3, 14)
# Statuses below 200 are interim answers, all but 101, which ends HTTP there (RFC 9110 §15.2).
_FINAL, _SWITCHING = 200, 101


@frozen(eq=False, repr=False)
class _Origin:
    """What requests to one base URL have in common.

    Attributes:
        request: what the connector connects for: a ``ClientRequest``, in effect.
        path: the path of the base URL.
        head: what follows the path, up to the key's line.

    """

    request: Any
    path: str
    head: str


class _Template:
    """A request of aiohttp's; which connections it may use is found out once, not each time."""

    def __init__(self, request: aiohttp.ClientRequest) -> None:
        self._request, self.proxy = request, request.proxy
        self.connection_key = request.connection_key

    def __getattr__(self, name: str) -> Any:
        return getattr(self._request, name)


@define(eq=False, repr=False)
class Direct:
    """Sends what a session would send, on the session's connector."""

    session: aiohttp.ClientSession
    connector: Any  # the session's
    _methods: tuple[Any, Any]  # of aiohttp's session, to see whether somebody replaces one
    _origins: dict[str, _Origin] = field(factory=dict)

    @classmethod
    def of(cls, session: aiohttp.ClientSession) -> Direct | None:
        """Return the direct way beside a session; None if it is not certain to work.

        A pool with a proxy, or with ``direct=False``, does not ask.
        """
        connector = session.connector
        if not isinstance(connector, Connector) or session.trace_configs or session.trust_env:
            return None
        direct = cls(session, connector, _session_methods())
        try:
            problem = _doubt() or _try_out(direct)
        except Exception as error:  # noqa: BLE001 - whatever a changed aiohttp raises
            problem = f"{type(error).__name__}: {error}"
        if problem is None:
            return direct
        _log.info("requests go through aiohttp's session, for the direct way is off: %s", problem)
        return None

    def takes(self, request: Request) -> bool:
        """Tell whether a request can go this way: a GET without a body.

        No request can while a recorder or a fake has replaced a method of aiohttp's session.
        """
        return (
            request.method == "GET"
            and request.body is None
            and _aiohttp.ClientSession._request is self._methods[0]  # noqa: SLF001 - see _session_methods
            and _aiohttp.ClientSession.request is self._methods[1]
        )

    async def send(  # noqa: C901, PLR0912 - calls cost each request more than branches do
        self, request: Request, key: ApiKey, timeout: float
    ) -> Response:
        """Make exactly one request and return its whole answer; raise as ``exchange.send`` does."""
        if self.connector.closed:
            raise RuntimeError("Session is closed")
        origin = self._origins.get(request.base_url) or self._learn(request.base_url)
        try:
            connection = await self.connector.connect(origin.request, [], connecting(timeout))
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError from error
        target = request.target if request.query else request.resource
        head = f"GET {origin.path}{target}{origin.head}{key.line()}\r\n".encode("ascii")
        protocol = connection.protocol
        try:
            protocol.set_response_params(read_until_eof=True, auto_decompress=True)
            transport = protocol.transport
            if transport is None or transport.is_closing():
                raise aiohttp.ServerDisconnectedError  # noqa: TRY301 - as if a read had raised it
            transport.write(head)
            message, content = await protocol.read()
            while (status := message.code) < _FINAL and status != _SWITCHING:
                message, content = await protocol.read()
            if content.is_eof():  # all of it has arrived, as nearly always
                body, whole = content.read_nowait(), True
                if len(body) > MAX_ERROR_BODY:  # which no limit is below
                    body = within_limit(status, body)
            else:
                body, whole = await read_body(status, content)
        except BaseException as error:
            connection.close()  # what else arrives there belongs to no other request
            if isinstance(error, _aiohttp.http_exceptions.HttpProcessingError):
                message = cast("Any", error).message  # of a class that aiohttp does not export
                raise _aiohttp.ClientResponseError(None, (), message=message) from error
            if not isinstance(error, aiohttp.ClientOSError | aiohttp.ServerDisconnectedError):
                raise
        else:
            if whole:
                connection.release()  # which closes it where the answer says so
            else:
                connection.close()
            return Response(status, message.headers, body)
        raise unanswered(self.connector)

    def _learn(self, base_url: str) -> _Origin:
        """Let aiohttp make a request without a key; its head serves all that follow."""
        url = URL(base_url, encoded=True)
        template = aiohttp.ClientRequest(
            "GET", url, headers=self.session.headers, loop=asyncio.get_running_loop()
        )
        lines = "".join(f"{name}: {value}\r\n" for name, value in template.headers.items())
        origin = _Origin(_Template(template), url.raw_path.rstrip("/"), f" HTTP/1.1\r\n{lines}")
        self._origins[base_url] = origin
        return origin


# The trial: nothing of it leaves the process.


def _session_methods() -> tuple[Any, Any]:
    """Return the methods that recorders and fakes replace (aioresponses, vcrpy)."""
    return _aiohttp.ClientSession._request, _aiohttp.ClientSession.request  # noqa: SLF001 - aioresponses does too


def _doubt() -> str | None:
    """Return what speaks against the direct way before it is tried, or None."""
    version = tuple(int(part) for part in aiohttp.__version__.split(".")[:2])
    if version > NEWEST:
        return f"aiohttp {aiohttp.__version__} is newer than those it was tried with"
    if list(inspect.signature(aiohttp.BaseConnector.connect).parameters) != _PARAMETERS:
        return "BaseConnector.connect takes other parameters"
    for method in _session_methods():
        source = _aiohttp.client.__file__
        if type(method) is not FunctionType or method.__code__.co_filename != source:
            return "a method of aiohttp.ClientSession is not aiohttp's own"
    return None


def _try_out(direct: Direct) -> str | None:
    """Return what is not as it should be when known answers are read, or None."""
    request = Request("GET", "http://trial.invalid/base", "/trial", "/trial")
    for answer, ending in ((_EARLY + _KEPT, "released"), (_LAST, "closed")):
        wire = _Wire(answer)
        trial = Direct(direct.session, wire, _session_methods())
        response = _at_once(trial.send(request, ApiKey("clf_trial"), 1.0))
        first, *lines = wire.written.split(b"\r\n")
        if first != b"GET /base/trial HTTP/1.1" or b"Host: trial.invalid" not in lines:
            return "aiohttp.ClientRequest makes another head"
        seen = response.status, response.headers.get("x-trial"), response.body
        if seen != (_FINAL, "yes", b"{}") or wire.ending != ending:
            return "an answer is read in another way"
    trial = Direct(direct.session, _Wire(b"no answer\r\n\r\n"), _session_methods())
    try:
        _at_once(trial.send(request, ApiKey("clf_trial"), 1.0))
    except aiohttp.ClientResponseError as error:
        # The protocol keeps what it raised, whose traceback would keep every frame up to the call.
        for raised in (error, error.__cause__, error.__context__):
            if raised is not None:
                raised.__traceback__ = None
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
