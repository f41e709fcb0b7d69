"""Calls that are answered from a cache, or by the request of another call.

Identical calls that no kept answer serves share one request, a flight. It goes on as long as one of
them waits: each has its own deadline, and the flight the latest of theirs. Every loop has flights
of its own.

A call that waits has a record of its own, by which its deadline and its client's closing end it.
The attempts are the flight's: one ``Caller.conclude``, in a task.

Who ends whom:

- A waiting call's deadline, or its client's closing, ends that call alone.
- The flight's deadline, the latest of theirs, ends the flight, and its error is everybody's.
- The last call that leaves ends the flight, unless it is ``unattended``: a renewal of what is kept.
- Closing the pool ends all waiting calls, and unattended flights.
- A flight that is being ended is nobody's to join: a later call starts another.

Not here: what is kept, for how long, and the record of a flight (``cache``).
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, TypeVar

from attrs import define, evolve

from chatloom_async.auth import ApiKey
from chatloom_async.cache import AnswerStore, Flight, Identity, KeptAnswer
from chatloom_async.calls.attempts import CallRecord
from chatloom_async.calls.call import Caller, enter
from chatloom_async.calls.retry import heals
from chatloom_async.calls.wire import decode
from chatloom_async.errors import (
    APIConnectionError,
    APIStatusError,
    ChatloomError,
    ClientClosedError,
    DeadlineExceededError,
    ResponseDecodeError,
)
from chatloom_async.events import CacheAnswered, Manner
from chatloom_async.transport import Request

Model = TypeVar("Model")


@define(eq=False, repr=False)
class CachedCalls:
    """Makes the calls of one client that has a cache."""

    caller: Caller
    store: AnswerStore

    async def fetch(self, request: Request, model: type[Model]) -> Model:
        """Return the model that the request is answered with, maybe some time ago.

        All but a GET without a body goes past the cache.

        Raises:
            ChatloomError: there is no answer, not even an old one.
        """
        if request.method != "GET" or request.body is not None:
            return await self.caller.fetch(request, model)
        self.caller.begin()
        answer = await self._answer(request, model)
        if not isinstance(answer, ChatloomError):
            return answer  # type: ignore[no-any-return]  # of any model
        try:
            raise answer
        finally:
            del answer  # the traceback holds this frame

    async def _answer(self, request: Request, model: type[Any]) -> Any:
        """Return the model, or an error as a value."""
        store, credentials = self.store, self.caller.credentials
        key, give_up_at = credentials.current, self.caller.give_up_at()
        if key is None:
            asking = credentials.renew(credentials.generation)
            key = await self._wait(CallRecord(request), asking, give_up_at)
            if isinstance(key, ChatloomError):
                return key
        identity = ((key, request.base_url), request.resource, request.target, model)
        kept, now = store.get(identity), asyncio.get_running_loop().time()
        if kept is not None and now < kept.fresh_until:
            store.hits += 1
            self._tell(request, key, "hit")
            return kept.answer()
        if kept is not None and now >= kept.usable_until:
            kept = None
        if kept is not None and store.is_failing(kept, identity[0]):
            if identity not in store.flights_here() and store.take_retry(kept, identity[0], now):
                self._start(request, identity, give_up_at, unattended=True)
            return self._old(kept, request, key)
        answer = await self._fly(request, identity, give_up_at)
        if not isinstance(answer, ChatloomError):
            return answer()
        return self._old(kept, request, key) if kept and _serves_old(answer) else answer

    def _old(self, kept: KeptAnswer, request: Request, key: ApiKey) -> Any:
        self.store.stale += 1
        self._tell(request, key, "stale")
        answer = kept.answer()
        return evolve(answer, is_stale=True) if hasattr(answer, "is_stale") else answer

    def _tell(self, request: Request, key: ApiKey, how: Manner) -> None:
        notify = self.caller.transport.shared.notify
        if notify is not None:
            method, route, path = request.method, request.route, request.resource
            notify(CacheAnswered(method, route, path, key.fingerprint, how))

    async def _fly(self, request: Request, identity: Identity, give_up_at: float) -> Any:
        """Join a flight or start one; return what it brings, an error as a value."""
        caller, store, joined = self.caller, self.store, 0
        while True:
            flight = store.flights_here().get(identity)
            leads = flight is None or flight.call.ending is not None  # too late to join it
            if flight is None or leads:
                store.misses += 1
                flight = self._start(request, identity, give_up_at)
            else:
                flight.call.give_up_at = max(flight.call.give_up_at, give_up_at)
            flight.waiting += 1
            try:
                answer = await self._wait(
                    flight.call, asyncio.shield(flight.task), give_up_at, shared=True
                )
            finally:
                flight.waiting -= 1
                if not flight.waiting and not flight.unattended and not flight.task.done():
                    flight.task.cancel()
                    store.land(identity, flight)
            if leads:
                return answer
            joined += 1
            patient = flight.attempts < caller.retry.attempts > joined
            if patient and isinstance(answer, ChatloomError) and heals(answer):
                continue  # this call would have tried more often
            if flight.call.key in (identity[0][0], caller.credentials.current, None):
                store.joined += 1
                self._tell(request, identity[0][0], "joined")
                return self._shared(flight.call, answer)
            # The key was renewed on the way, and the new one is not this client's.

    def _shared(self, call: CallRecord, answer: Any) -> Any:
        """Return what another call's request brought, an error in this call's own words."""
        late = isinstance(answer, DeadlineExceededError) and answer.retry_after is None
        if late and self.caller.retry.deadline is not None:
            return call.finished(self.caller.too_late(call))
        return copy.copy(answer) if isinstance(answer, ChatloomError) else answer

    async def _wait(
        self, tried: CallRecord, answer: Awaitable[Any], give_up_at: float, *, shared: bool = False
    ) -> Any:
        """Wait as a call of this client, for as long as its deadline allows.

        ``tried`` is the record of the attempts; of those that are ``shared``, the flight's.
        """
        in_flight = self.caller.transport.shared.in_flight
        call = CallRecord(tried.request, give_up_at, tried if shared else None)
        enter(call, in_flight, self.caller.state)
        try:
            return await answer
        except asyncio.CancelledError:
            error = self.caller.why_ended(call, tried)
            if error is None:
                raise
            return (call if isinstance(error, ClientClosedError) else tried).finished(error)
        finally:
            in_flight.calls.discard(call)
            call.task = None  # which may hold an error that holds this frame
            call.silence()

    def _start(
        self, request: Request, identity: Identity, give_up_at: float, *, unattended: bool = False
    ) -> Flight:
        """Begin a flight, in a task of its own."""
        loop = asyncio.get_running_loop()
        call = CallRecord(request, give_up_at=give_up_at)
        flight = self.store.flights_here()[identity] = Flight(
            call, self.caller.retry.attempts, unattended=unattended
        )
        flight.task = loop.create_task(self._run(flight, identity))
        flight.task.add_done_callback(_heard)
        return flight

    async def _run(self, flight: Flight, identity: Identity) -> Any:
        """Make the request of a flight, and keep what it brings."""
        caller, call = self.caller, flight.call
        owner = flight if flight.unattended else None
        store, loop = self.store, asyncio.get_running_loop()
        began = loop.time()
        answer: tuple[Any, bytes] | ChatloomError
        try:
            answer = await caller.conclude(call, identity[3], owner)
        finally:
            store.land(identity, flight)
        if call.key is not None:
            identity = ((call.key, identity[0][1]), *identity[1:])
        if isinstance(answer, ChatloomError):
            self._note(identity, answer, began)
            return answer
        model, body = answer
        kept = _kept(model, body, identity[3], caller.transport.shared.clock.wall())
        now = loop.time()
        store.answered(identity[0], now)
        if not flight.outdated:
            store.keep(identity, len(body), kept, now)
        return kept

    def _note(self, identity: Identity, error: ChatloomError, began: float) -> None:
        """Draw from an error what it says of the answers that are kept."""
        if isinstance(error, DeadlineExceededError) and error.retry_after is not None:
            return  # the client's own RateLimit: nothing was asked
        if _serves_old(error):
            self.store.failed(identity, began, asyncio.get_running_loop().time())
        elif isinstance(error, APIStatusError):
            refused = error.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
            self.store.forget(identity[0], None if refused else identity[1])


def _kept(answer: Any, body: bytes, kind: type[Any], wall: float) -> Callable[[], Any]:
    """Return what makes the answer for each caller."""
    if hasattr(answer, "answered_at"):
        model = evolve(answer, answered_at=datetime.fromtimestamp(wall, UTC))
        return lambda: model
    # Plain values, or what holds them: a caller may change them, so each gets its own.
    return lambda: None if answer is None else decode(body, kind)


def _serves_old(error: ChatloomError) -> bool:
    """Tell whether an old answer is better than this error: the API fails, or is asked too much.

    It is not after a definite answer: the key is refused, there is no such agent.
    """
    return heals(error) or isinstance(
        error, APIConnectionError | DeadlineExceededError | ResponseDecodeError
    )


def _heard(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()  # all who waited may be gone: asyncio would call it unheard
