"""API keys: checked early, shown never.

Here: the key as a value, and where a client takes it from. Not here: how it travels
(``network.exchange``, ``network.direct``), when another one is asked for after a 401
(``calls.call``), and how it is taken out of what a server says (``calls.answer``).

Keys, passwords and what holds them are deleted before an error is raised: tracebacks show locals.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import os
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Literal, NoReturn

from multidict import CIMultiDict, CIMultiDictProxy

from chatloom_async.errors import ConfigurationError

KeyHeader = Literal["Authorization", "X-API-Key"]

PREFIX = "clf_"
REDACTED = "clf_[redacted]"
_HOW = "generate one under Settings, API Keys, and pass it or set CHATLOOM_API_KEY"


class ApiKey:
    """A Chatloom API key and the header it is sent in (API reference, Authentication).

    Surrounding white space is dropped. The key is kept in a closure, not in an attribute: what
    prints locals, slots or ``__dict__`` (error reporters, debuggers) has nothing to show. Keys are
    equal when their values are, can be copied, and refuse to be pickled.

    Attributes:
        fingerprint: eight hex digits of its SHA-256: tells keys apart in logs and statistics.
        headers: returns the header to send; for the transport, and never to be kept.
        line: returns that header as a line of HTTP/1.1.

    Raises:
        ConfigurationError: it is empty, does not start with ``clf_`` or holds other than printable
            ASCII; the message never shows it.
    """

    __slots__ = ("__weakref__", "_digest", "fingerprint", "headers", "line")

    def __init__(self, value: str, header: KeyHeader = "Authorization") -> None:
        self.fingerprint: str = ""  # a traceback shows the locals of its frames: self too
        key, problem = _check(value)
        del value
        if header not in ("Authorization", "X-API-Key"):
            problem = "the key's header is either 'Authorization' or 'X-API-Key'"
        if problem:
            del key, header  # either may be the key
            raise ConfigurationError(problem)
        sent = f"Bearer {key}" if header == "Authorization" else key
        headers = CIMultiDictProxy(CIMultiDict([(header, sent)]))  # which aiohttp need not copy
        line = f"{header}: {sent}\r\n"
        self.headers: Callable[[], Mapping[str, str]] = lambda: headers
        self.line: Callable[[], str] = lambda: line
        self._digest: str = hashlib.sha256(key.encode()).hexdigest()
        self.fingerprint = self._digest[:8]

    def name_for(self, server: str) -> str:
        """Return what stands for the key at a server where processes share something about it."""
        return hashlib.sha256(f"{server} {self._digest}".encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        """Tell whether both stand for the same key, in whatever header."""
        if not isinstance(other, ApiKey):
            return NotImplemented
        return self._digest == other._digest

    def __hash__(self) -> int:
        return hash(self._digest)

    def __repr__(self) -> str:
        return f"ApiKey({REDACTED}, fingerprint={self.fingerprint})"

    def __reduce__(self) -> NoReturn:
        """Refuse: a pickle is a file with the key in it."""
        raise TypeError("an ApiKey is not pickled; pass the name of a secret instead")

    def __copy__(self, _: object = None) -> ApiKey:
        """Return itself: a key never changes."""
        return self

    __deepcopy__ = __copy__


KeySource = Callable[[], str | ApiKey | Awaitable[str | ApiKey]]
_Asked = ApiKey | tuple[Exception, TracebackType | None]


def _check(value: object) -> tuple[str, str | None]:
    """Return the stripped key and what is wrong with it; raising here would show it as a local."""
    if not isinstance(value, str):
        return "", f"an API key is text, not {type(value).__name__}"
    key = value.strip()
    if not key:
        return "", f"no API key: {_HOW}"
    if not (key.isascii() and key.isprintable()) or " " in key:
        return "", "the API key holds white space or other than printable ASCII; copy it again"
    if not key.startswith(PREFIX) or key == PREFIX:
        return "", f"an API key starts with {PREFIX} and goes on after it; {_HOW}"
    return key, None


class Credentials:
    """Where a client's key comes from: a fixed key, or a callable asked when needed.

    A callable is asked at the first call and again after a 401, by one task per event loop, however
    many calls need the key: all of them get what it brings, its key or its error, and none of them
    can stop it. It ends when the callable does or with the event loop, not with the client: a
    callable that may hang needs a timeout of its own.
    """

    __slots__ = ("_asking", "_source", "current", "generation", "renewable")

    def __init__(self, api_key: str | ApiKey | KeySource | None) -> None:
        """Take the key, or CHATLOOM_API_KEY if it is None; ConfigurationError: it cannot be one."""
        self.generation: int = 0  # how often the callable was asked
        self.renewable: bool = False  # is there anybody to ask for another key?
        self.current: ApiKey | None = None  # the key in use; None before the callable was asked
        self._asking: dict[asyncio.AbstractEventLoop, asyncio.Task[_Asked]] = {}
        try:
            if isinstance(api_key, ApiKey):
                self.current = api_key
            elif callable(api_key):
                self._source: KeySource = api_key
                self.renewable = True
            elif api_key is None:
                self.current = ApiKey(os.environ.get("CHATLOOM_API_KEY", ""))
            else:
                self.current = ApiKey(api_key)
        finally:
            del api_key  # a traceback shows the locals of its frames

    async def renew(self, generation: int) -> ApiKey:
        """Return the key; ask the callable for it, once for all who want another one than this.

        It is not asked if it was since ``generation``, and who comes while it is being asked waits.
        What the callable raises, every call that waits raises, and a call that comes later uses the
        key there is, or asks again if there is none.

        Raises:
            ConfigurationError: the callable returned something that is not a key, or was cancelled.
        """
        loop = asyncio.get_running_loop()
        asking = self._asking.get(loop)
        if asking is None or asking.done():
            known = not self.renewable or self.generation != generation
            if known and self.current is not None:
                return self.current
            asking = self._asking[loop] = loop.create_task(self._ask())
            asking.add_done_callback(self._asked)
        await asyncio.wait([asking])  # unlike 'await asking': no cancellation crosses it
        if asking.cancelled():
            raise ConfigurationError("the key source was cancelled before it returned a key")
        answer = asking.result()
        if isinstance(answer, ApiKey):
            return answer
        error, way = answer
        try:
            raise error.with_traceback(way)  # else each call would lengthen it for the next
        finally:
            # The traceback holds this frame: each of them would close a circle.
            del error, way, answer, asking

    async def _ask(self) -> _Asked:
        """Return a key, or an error as a value: if all who waited are gone, nobody raises it."""
        try:
            try:
                answer = self._source()
                if inspect.isawaitable(answer):
                    answer = await answer
            finally:
                self.generation += 1
            try:
                self.current = answer if isinstance(answer, ApiKey) else ApiKey(answer)
            finally:
                del answer  # a traceback shows the locals of its frames
        except Exception as error:  # noqa: BLE001 - whatever a callable raises
            return error, error.__traceback__
        return self.current

    def _asked(self, asking: asyncio.Task[_Asked]) -> None:
        loop = asking.get_loop()
        if self._asking.get(loop) is asking:  # not the next one, begun between end and callback
            del self._asking[loop]
