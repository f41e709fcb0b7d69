"""Where a client's key comes from: a fixed key, or a callable that is asked for one.

Not here: the key itself (``auth``), and when another one is asked for after a 401 (``calls.call``).
"""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Awaitable, Callable
from types import TracebackType

from chatloom_async.auth import ApiKey
from chatloom_async.errors import ConfigurationError

KeySource = Callable[[], str | ApiKey | Awaitable[str | ApiKey]]
_Asked = ApiKey | tuple[Exception, TracebackType | None]


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
