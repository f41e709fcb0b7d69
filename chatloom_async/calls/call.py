"""One call, from its first attempt to its result or its error.

An attempt passes the rate limiter, makes one exchange and judges the answer. The first attempt is
made directly; only a failed one enters the retry engine. Errors travel as values and are raised in
one place, without the inner frames: those hold nothing a caller could use.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TypeVar

from attrs import define

from chatloom_async.auth import ApiKey, Credentials
from chatloom_async.calls.answer import status_error
from chatloom_async.calls.attempts import History
from chatloom_async.calls.retry import (
    Failed,
    NextStep,
    RetryPolicy,
    asked_to_wait,
    heals,
    repeat,
)
from chatloom_async.calls.wire import decode
from chatloom_async.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    ChatloomError,
    ClientClosedError,
    ConfigurationError,
    DeadlineExceededError,
    ResponseDecodeError,
    require_seconds,
)
from chatloom_async.ratelimit.limiter import RateLimiter
from chatloom_async.ratelimit.values import Cost, RateLimit, WaitLimits
from chatloom_async.transport import Response, Transport

Model = TypeVar("Model")

_METHOD = "GET"
_OK = range(200, 300)
_URGENT = 10.0  # a deadline up to this many seconds: a person waits
_TELLING = 1.0  # seconds: an attempt that the deadline ends after fewer says nothing of the server


@define(eq=False, repr=False)
class Caller:
    """Makes the calls of one client; what they share and what they count."""

    transport: Transport
    credentials: Credentials
    base_url: str
    timeout: float
    retry: RetryPolicy
    rate_limit: RateLimit | None
    closed: bool = False
    calls: int = 0
    requests: int = 0
    retried: int = 0
    limiter: RateLimiter | None = None  # of the key and loop of the latest attempt
    _gate: tuple[ApiKey, asyncio.AbstractEventLoop, RateLimiter | None] | None = None

    def __attrs_post_init__(self) -> None:
        """Refuse options that cannot work, before any request."""
        require_seconds("timeout", self.timeout)
        if not isinstance(self.retry, RetryPolicy):
            raise ConfigurationError(
                "retry is a RetryPolicy; to retry nothing: RetryPolicy(attempts=1)"
            )
        if not isinstance(self.rate_limit, RateLimit | None):
            raise ConfigurationError("rate_limit is a RateLimit, or None to switch it off")
        if not callable(getattr(self.transport, "exchange", None)):
            raise ConfigurationError(
                "pool is a ConnectionPool; for an aiohttp session of your own: "
                "ConnectionPool(session=…)"
            )

    async def fetch(self, path: str, model: type[Model]) -> Model:
        """Return the model that the path answers with.

        Raises:
            ChatloomError: the last failure, with the attempts that led to it.

        """
        if self.closed or self.transport.closed:
            raise ClientClosedError("the client is closed; make a new one")
        self.calls += 1
        call = History(_METHOD, path)
        in_flight = self.transport.in_flight
        in_flight.enter(call, self)
        outcome: Response | Failed | None = None
        try:
            deadline = self.retry.deadline
            if deadline is None:
                outcome = await self._attempt(call)
                if type(outcome) is Failed:
                    outcome = await self._repeat(call, outcome)
            else:
                outcome = await self._race(call, deadline)
            if isinstance(outcome, Response):
                return decode(outcome.body, model)
            error = outcome.error
        except ResponseDecodeError as failure:
            error = failure
            elapsed = self.transport.clock.monotonic() - call.started
            call.failed(error, NextStep.FINAL, elapsed)
        except asyncio.CancelledError:
            if not in_flight.was_ended(call):
                raise
            error = ClientClosedError("the client was closed during the call")
        finally:
            in_flight.leave(call)
        try:
            raise call.finished(error)
        finally:
            # The traceback holds this frame: a local that holds the error would close a circle.
            del error, outcome, call

    async def _race(self, call: History, deadline: float) -> Response | Failed:
        """Run the call against its deadline."""
        scope = call.scope = asyncio.timeout(deadline)
        try:
            async with scope:
                outcome = await self._attempt(call)
                if isinstance(outcome, Failed):
                    outcome = await self._repeat(call, outcome)
                return outcome
        except TimeoutError:
            if not scope.expired():  # a TimeoutError of the caller's own key source
                raise
        error = DeadlineExceededError(f"not finished within {deadline:g} s", call.last_failure())
        return Failed(error, NextStep.FINAL, deadline)

    async def _repeat(self, call: History, first: Failed) -> Response | Failed:
        """Make the attempts after the first."""
        if first.verdict is NextStep.FINAL:
            return first

        async def next_attempt() -> Response | Failed:
            return await self._attempt(call)

        return await repeat(next_attempt, first, self.retry, self.transport.clock, call.give_up_at)

    async def _attempt(self, call: History) -> Response | Failed:
        """Make one request: gate, exchange, judgement."""
        clock, credentials = self.transport.clock, self.credentials
        key = credentials.current or await credentials.renew(credentials.generation)
        limiter = call.limiter = self._limiter_of(key)
        departure = None if limiter is None else limiter.try_acquire()
        started = clock.monotonic()
        if limiter is not None and departure is None:
            try:
                departure = await limiter.wait(call.path, self._terms(call), refused=call.refused)
            except ChatloomError as error:
                call.waited_until(clock.monotonic())
                vars(error).pop("__notes__", None)  # the probe's: they tell of its own attempts
                return Failed(error, NextStep.FINAL, 0.0)  # nothing was sent: no attempt
            if credentials.current != key:  # renewed while the call waited
                limiter.abandoned(departure)
                return await self._attempt(call)
            started = departure
        generation = credentials.generation
        call.waited_until(started)
        self.requests += 1
        self.retried += bool(call.failures)
        call.started = started
        try:
            answer = await self.transport.exchange(
                call.method, self.base_url + call.path, key, self.timeout
            )
        except ChatloomError as error:
            failure = error.with_traceback(None)  # whose frame holds the error: a circle
        except BaseException:
            self._cut_short(call, departure)
            raise
        else:
            if answer.status in _OK:
                if limiter is not None and departure is not None:
                    limiter.admitted(departure, call.path)
                return answer
            failure = status_error(answer, key, clock)
        call.failed_at = clock.monotonic()
        verdict = self._judge(call, failure, departure)
        if credentials.renewable and _status(failure) == HTTPStatus.UNAUTHORIZED:
            verdict = await self._renew(call, failure, key, generation)
        return call.failed(failure, verdict, call.failed_at - started)

    def _cut_short(self, call: History, departure: float | None) -> None:
        """Take note of an attempt that was cancelled, maybe by the call's own deadline."""
        elapsed = self.transport.clock.monotonic() - call.started
        late = call.scope is not None and call.scope.expired()
        error = APITimeoutError(f"no answer within the {elapsed:.1f} s that the deadline left")
        if late:
            call.cut = call.failed(error, NextStep.FINAL, elapsed)
        if call.limiter is None or departure is None:
            return
        if late and elapsed >= _TELLING:
            call.limiter.failed(departure, call.path, error)
        else:
            call.limiter.abandoned(departure)

    def _limiter_of(self, key: ApiKey) -> RateLimiter | None:
        loop = asyncio.get_running_loop()
        gate = self._gate
        if gate is None or gate[0] is not key or gate[1] is not loop:
            self.limiter = limiter = (
                None
                if self.rate_limit is None
                else self.transport.gates.get(self.base_url, key, self.rate_limit)
            )
            # In one piece: loops in several threads may share the client.
            gate = self._gate = key, loop, limiter
        return gate[2]

    def _terms(self, call: History) -> WaitLimits:
        deadline = self.retry.deadline
        return WaitLimits(
            give_up_at=call.give_up_at,
            patience=self.retry.patience,
            max_retry_after=self.retry.max_retry_after,
            urgent=deadline is not None and deadline <= _URGENT,
        )

    def _judge(self, call: History, error: ChatloomError, departure: float | None) -> NextStep:
        """Tell the limiter what became of its departure, and the engine what the failure means."""
        status, reason = _status(error), getattr(error, "reason", None)
        limiter, price, asked = call.limiter, Cost.COUNTED, asked_to_wait(error)
        refused = status == HTTPStatus.TOO_MANY_REQUESTS or (
            status == HTTPStatus.FORBIDDEN and asked is not None
        )
        if limiter is not None and departure is not None:
            if refused:
                longest = self.retry.max_retry_after
                price = limiter.refused(departure, error, asked, longest)
            elif reason == "stale" or not isinstance(error, APIStatusError | APIConnectionError):
                limiter.abandoned(departure)  # it says nothing about the server
            elif heals(error):
                price = limiter.failed(departure, call.path, error, asked)
            else:
                limiter.admitted(departure, call.path)
        call.refused = refused
        if price is Cost.FINAL or not heals(error):
            return NextStep.FINAL
        if price is Cost.FREE:
            return NextStep.AT_THE_GATE
        if reason == "stale" and not call.stale:
            call.stale = True
            return NextStep.AT_ONCE
        return NextStep.BACK_OFF

    async def _renew(
        self, call: History, error: ChatloomError, key: ApiKey, generation: int
    ) -> NextStep:
        """After a 401: ask for another key, once per call; only a different one is worth a try."""
        if call.renewed:
            return NextStep.FINAL
        call.renewed = True
        try:
            fresh = await self.credentials.renew(generation)
        except Exception as problem:  # noqa: BLE001 - whatever the caller's key source raises
            error.add_note(f"asking for another key failed: {type(problem).__name__}")
            return NextStep.FINAL
        return NextStep.FINAL if fresh == key else NextStep.AT_ONCE


def _status(error: ChatloomError) -> int | None:
    return error.status if isinstance(error, APIStatusError) else None
