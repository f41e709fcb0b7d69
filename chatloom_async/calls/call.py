"""One call, from its first attempt to its result or its error.

An attempt passes the rate limiter, makes one exchange and judges the answer. The first attempt is
made directly; only a failed one enters the retry engine. Inside a call errors travel as values.
``fetch`` raises the last one, without the inner frames: those hold nothing a caller could use.

The way of a 429, as an example:

1. ``_attempt`` gets it from the transport like any answer, and ``status_error`` makes an error of
   it.
2. ``judge`` reports it to the limiter as refused. The limiter closes the gate and says what the
   failure costs: no attempt, or the call, if it sent the probe and its patience is over. Without a
   rate limiter it costs an attempt.
3. ``_repeat`` hands the failed attempt to the engine, which ends the call if the wait is longer
   than the policy or the deadline allows.
4. Else the next ``_attempt`` follows at once, finds the gate closed, and waits at it. Without a
   rate limiter it follows after the policy's wait, of which the Retry-After is the least.

Not here: the record of a call (``calls.attempts``), what a failure means (``calls.failures``), when
it is repeated (``calls.retry``), the gate (``ratelimit.limiter``), one exchange
(``network.pool``), calls that share one request (``calls.cached``).
"""

from __future__ import annotations

import asyncio
import logging
import math
import sys
from http import HTTPStatus
from types import NoneType
from typing import TypeVar

from attrs import define, field

from chatloom_async.auth import ApiKey, Credentials
from chatloom_async.cache import Cache
from chatloom_async.calls.answer import status_error
from chatloom_async.calls.attempts import CallRecord, FailedAttempt, NextStep, log
from chatloom_async.calls.failures import TELLING, judge, note, parse_limit
from chatloom_async.calls.retry import RetryPolicy, engine_for
from chatloom_async.calls.wire import decode
from chatloom_async.errors import (
    APIConnectionError,
    APITimeoutError,
    AuthenticationError,
    ChatloomError,
    ClientClosedError,
    ConfigurationError,
    DeadlineExceededError,
    ResponseDecodeError,
    require_seconds,
)
from chatloom_async.ratelimit.limiter import RateLimiter
from chatloom_async.ratelimit.values import RateLimit
from chatloom_async.ratelimit.waiting import WaitLimits
from chatloom_async.transport import QUEUED, Alarm, Request, Response, Transport

Model = TypeVar("Model")

_Gate = tuple[ApiKey, asyncio.AbstractEventLoop, RateLimiter | None]

_OK = range(200, 300)
_UNDONE = ("", "identity", "gzip", "deflate", "br", "zstd")  # codings that the transport undoes
_SAFE = ("GET", "HEAD")  # RFC 9110 §9.2.1
_NO_CONTENT = (HTTPStatus.NO_CONTENT, HTTPStatus.RESET_CONTENT)
_URGENT = 10.0  # a deadline up to this many seconds: a person waits
# If the deadline cuts an attempt off before so many seconds, it does not count as a failure of the
# server, which hardly had time to answer.
_LEAST = 1.0


@define(eq=False, repr=False)
class ClientState:
    """What one client has done so far, and whether it was closed."""

    closed: bool = False
    calls: int = 0
    requests: int = 0
    retried: int = 0
    limiter: RateLimiter | None = None  # of the key and loop of the latest attempt


@define(eq=False, repr=False)
class Caller:
    """Makes the calls of one client; what they share and what they count."""

    transport: Transport
    credentials: Credentials
    base_url: str
    timeout: float
    retry: RetryPolicy
    rate_limit: RateLimit | None
    cache: Cache | None = None
    until: float = math.inf  # when all its calls end, on the loop's clock
    state: ClientState = field(factory=ClientState)
    _gate: _Gate | None = field(default=None, init=False)
    _limits: WaitLimits = field(init=False)  # of its calls, but for their deadline

    def __attrs_post_init__(self) -> None:
        require_seconds("timeout", self.timeout)
        if not isinstance(self.retry, RetryPolicy):
            raise ConfigurationError(
                "retry is a RetryPolicy; to retry nothing: RetryPolicy(attempts=1)"
            )
        if not isinstance(self.rate_limit, RateLimit | None):
            raise ConfigurationError("rate_limit is a RateLimit, or None to switch it off")
        if not isinstance(self.cache, Cache | None):
            raise ConfigurationError("cache is a Cache, or None to keep no answers")
        transport = self.transport
        if isinstance(transport, type) or not callable(getattr(transport, "exchange", None)):
            raise ConfigurationError(
                "pool is a ConnectionPool; for an aiohttp session of your own: "
                "ConnectionPool(session=…)"
            )
        retry = self.retry
        urgent = retry.deadline is not None and retry.deadline <= _URGENT
        self._limits = WaitLimits(math.inf, retry.patience, retry.max_retry_after, urgent)

    async def fetch(self, request: Request, model: type[Model]) -> Model:
        """Return the model that the request is answered with.

        What may change something drops what caches keep of its workspace.

        ``model`` is an attrs class, ``object`` for plain JSON values, or ``NoneType`` where the
        body does not matter.

        Raises:
            ChatloomError: the last failure, with the attempts that led to it.
        """
        state, call = self.begin(), CallRecord(request)
        if self.retry.deadline is not None:
            call.give_up_at = self.give_up_at()
        try:
            answer = await self.conclude(call, model, state)
        finally:
            if request.method not in _SAFE and call.key is not None:
                self.transport.shared.forget((call.key, request.base_url))
        if not isinstance(answer, ChatloomError):
            return answer[0]
        try:
            raise answer
        finally:
            # The traceback holds this frame: a local that holds the error would close a circle.
            del answer, call

    def begin(self) -> ClientState:
        """Count one more call.

        Raises:
            ClientClosedError: the client, or its pool, was closed.
        """
        state = self.state
        if state.closed or self.transport.closed:
            what = "client" if state.closed else "client's pool"
            raise ClientClosedError(f"the {what} is closed; make a new one")
        state.calls += 1
        return state

    async def conclude(  # noqa: C901 - as for ``_attempt``
        self, call: CallRecord, model: type[Model], owner: object | None
    ) -> tuple[Model, bytes] | ChatloomError:
        """Run a call; return its model and the body, or its error as a value.

        Closing the ``owner`` ends the call. It is None for the request that several cached calls
        share: each of those is ended by its own client (``CachedCalls``).
        """
        shared, loop = self.transport.shared, asyncio.get_running_loop()
        logs = log.isEnabledFor(logging.DEBUG)
        if logs or shared.notify is not None:
            call.begin(shared, self.credentials.current)
        if owner is not None:
            call.owner, call.task = owner, asyncio.current_task(loop)  # slow to find the loop
            call.cancelling = 0 if call.task is None else call.task.cancelling()
            shared.in_flight.calls.add(call)
        error: ChatloomError | None = None
        answered = False
        try:
            if call.give_up_at == math.inf:
                outcome = await self._attempt(call)
                if type(outcome) is FailedAttempt:
                    outcome = await self._repeat(call, outcome)
            else:
                outcome = await self._until_deadline(call)
            if isinstance(outcome, Response):
                answer = _structured(outcome, call.request, model)
                answered = True
                if logs:
                    call.log_success(loop.time())
                return answer, outcome.body
            error = outcome.error
        except ResponseDecodeError as failure:
            error = failure
            call.failures.append(FailedAttempt(error, NextStep.FINAL, loop.time() - call.started))
        except asyncio.CancelledError:
            if not call.claim_cancellation():
                raise
            error = ClientClosedError("the client was closed during the call")
        finally:
            shared.in_flight.calls.discard(call)
            call.task = None  # which holds the error that holds this frame
            if call.notify is not None:
                call.end(error or sys.exception(), loop.time(), answered=answered)
        assert error is not None  # noqa: S101 - all else has returned or raised
        return call.finished(error)

    def give_up_at(self) -> float:
        """Return when a call that begins now is to end, on the loop's clock."""
        deadline = self.retry.deadline
        if deadline is None:
            return self.until
        return min(asyncio.get_running_loop().time() + deadline, self.until)

    def too_late(self, call: CallRecord) -> DeadlineExceededError:
        """Return the error of a call whose deadline has come."""
        return DeadlineExceededError(
            f"not finished within {self.retry.deadline:g} s", call.last_failure()
        )

    async def _until_deadline(self, call: CallRecord) -> Response | FailedAttempt:
        """Run the call until its deadline.

        A request that several cached calls share ends with the latest of their deadlines, which
        moves when another call joins them.
        """
        loop = asyncio.get_running_loop()
        scope, armed = asyncio.timeout(None), call.give_up_at
        call.scope = scope
        if armed <= loop.time():
            return FailedAttempt(self.too_late(call), NextStep.FINAL, 0.0)
        alarm: Alarm

        def due() -> None:
            nonlocal alarm, armed
            if call.give_up_at <= armed:
                scope.reschedule(loop.time())
            elif call.give_up_at < math.inf:
                armed = call.give_up_at
                alarm = Alarm(armed, alarm.callback)

        alarm = Alarm(armed, due)
        try:
            async with scope:
                return await self._repeat(call, await self._attempt(call))
        except TimeoutError:
            if not scope.expired():  # a TimeoutError of the caller's own key source
                raise
        finally:
            alarm.cancel()
            del alarm  # which holds ``due``, and that holds its variable: a circle
        return FailedAttempt(self.too_late(call), NextStep.FINAL, self.retry.deadline or 0.0)

    async def _repeat(
        self, call: CallRecord, first: Response | FailedAttempt
    ) -> Response | FailedAttempt:
        """Make the attempts after the first, if it failed and others may follow.

        The first failure is replayed into tenacity as attempt 1, so that its stop, wait and hooks
        see every attempt while a call that succeeds at once never meets them.
        """
        if isinstance(first, Response) or first.next_step is NextStep.FINAL:
            return first

        replayed = [first]

        async def next_attempt() -> Response | FailedAttempt:
            return replayed.pop() if replayed else await self._attempt(call)

        engine = engine_for(call, self.retry)
        try:
            return await engine(next_attempt)
        finally:
            engine.iter_state.reset()  # it holds the engine: a circle with the errors

    async def _attempt(  # noqa: C901, PLR0912 - calls cost each request more than branches do
        self, call: CallRecord
    ) -> Response | FailedAttempt:
        """Make one request: gate, exchange, judgement."""
        clock, credentials = self.transport.shared.clock, self.credentials
        key = credentials.current or await credentials.renew(credentials.generation)
        gate, loop = self._gate, asyncio.get_running_loop()
        if gate is None or gate[0] is not key or gate[1] is not loop:
            gate = self._find_gate(key, loop)
        limiter = call.limiter = gate[2]
        call.key = key
        if limiter is not None:
            departure = limiter.try_acquire()
            if departure is None:
                waited = await self._wait(call, limiter, key)
                if isinstance(waited, Response | FailedAttempt):
                    return waited
                departure = waited
            call.departure = departure
        generation = credentials.generation
        started = loop.time()
        if call.failures:
            call.failures[-1].wait = started - call.failed_at
            self.state.retried += 1
        self.state.requests += 1
        call.sent += 1
        call.started = started
        try:
            answer = await self.transport.exchange(call.request, key, self.timeout)
        except ChatloomError as error:
            failure = error.with_traceback(None)  # whose frame holds the error: a circle
        except BaseException as error:
            self._cut_short(call, error)
            raise
        else:
            if answer.status in _OK:
                if limiter is not None:
                    for name in TELLING:
                        if name in answer.headers:
                            limiter.heard(call.departure, parse_limit(answer.headers, clock))
                            break
                    limiter.admitted(call.departure, call.request.resource)
                if call.notify is not None:
                    call.attempt_ended(str(answer.status), loop.time())
                return answer
            failure = status_error(answer, key, clock)
        call.failed_at = loop.time()
        next_step = judge(call, failure, self.retry.max_retry_after, clock)
        failed = note(call, failure, next_step, call.failed_at - started)
        if next_step is NextStep.FINAL:  # noted before: the deadline may end the asking for a key
            failed.next_step = await self._renew(call, failure, key, generation)
        return failed

    async def _wait(
        self, call: CallRecord, limiter: RateLimiter, key: ApiKey
    ) -> float | Response | FailedAttempt:
        """Wait at the rate limiter; return when the attempt left, or why it cannot.

        If the key was renewed meanwhile, return what an attempt with the new one brings.
        """
        loop = asyncio.get_running_loop()
        since = loop.time()
        try:
            while True:
                limits = self._limits
                if call.give_up_at < math.inf:
                    limits = WaitLimits(
                        call.give_up_at, limits.patience, limits.max_retry_after, limits.urgent
                    )
                try:
                    departure = await limiter.wait(
                        call.request.resource, limits, refused=call.refused
                    )
                    break
                except ChatloomError as error:
                    if call.give_up_at > limits.give_up_at:
                        continue  # another caller joined meanwhile, and may wait for longer
                    if call.failures:
                        call.failures[-1].wait = loop.time() - call.failed_at
                    vars(error).pop("__notes__", None)  # those of the call that sent the probe
                    return FailedAttempt(error, NextStep.FINAL, 0.0)  # nothing was sent: no attempt
        finally:
            if call.notify is not None:
                call.waited(loop.time() - since)
        if self.credentials.current is key or self.credentials.current == key:
            return departure
        limiter.abandoned(departure)
        return await self._attempt(call)

    def _cut_short(self, call: CallRecord, ending: BaseException) -> None:
        """Take note of an attempt that ended without an answer, maybe by the call's own deadline.

        To the limiter it is a failure of the server if the deadline cut it off after some time, and
        an attempt that was given up otherwise.
        """
        now = asyncio.get_running_loop().time()
        elapsed = now - call.started
        queued = QUEUED in getattr(ending, "__notes__", ())
        late = call.scope is not None and call.scope.expired()
        error = _cut_off(elapsed, queued=queued)
        if late:
            call.cut = note(call, error, NextStep.FINAL, elapsed)
        else:
            call.attempt_ended("cancelled", now)
        if call.limiter is None:
            return
        if late and not queued and elapsed >= _LEAST:
            call.limiter.failed(call.departure, call.request.resource, error)
        else:
            call.limiter.abandoned(call.departure)

    def _find_gate(self, key: ApiKey, loop: asyncio.AbstractEventLoop) -> _Gate:
        """Return the limiter of this key in the running loop, and remember it."""
        self.state.limiter = limiter = (
            None
            if self.rate_limit is None
            else self.transport.shared.limiters.get(self.base_url, key, self.rate_limit)
        )
        # In one piece: loops in several threads may share the client.
        self._gate = key, loop, limiter
        return self._gate

    async def _renew(
        self, call: CallRecord, error: ChatloomError, key: ApiKey, generation: int
    ) -> NextStep:
        """After a 401: ask for another key, once per call; only a different one is worth a try."""
        refused = isinstance(error, AuthenticationError)
        refusals = sum(isinstance(each.error, AuthenticationError) for each in call.failures)
        if not refused or refusals > 1 or not self.credentials.renewable:
            return NextStep.FINAL
        try:
            fresh = await self.credentials.renew(generation)
        except Exception as problem:  # noqa: BLE001 - whatever the caller's key source raises
            error.add_note(f"asking for another key failed: {type(problem).__name__}")
            return NextStep.FINAL
        return NextStep.FINAL if fresh == key else NextStep.AT_ONCE


def _structured(answer: Response, request: Request, model: type[Model]) -> Model:
    """Return what the answer says.

    For ``object`` and ``NoneType`` that is None where the answer has no content (RFC 9110 §15.3.5).
    Any other model needs a body. Many servers answer a POST or PUT with 200 or 201 and no body.
    """
    empty = answer.status in _NO_CONTENT or (request.method != "GET" and not answer.body)
    if model is NoneType or (empty and model is object):
        return None  # type: ignore[return-value]  # the model is NoneType or object: None is one
    try:
        return decode(answer.body, model)
    except ResponseDecodeError as error:
        if answer.headers.get("content-encoding", "").strip().lower() in _UNDONE:
            raise
        message = f"{error.message}; its Content-Encoding is none that is understood"
    raise ResponseDecodeError(message)


def _cut_off(elapsed: float, *, queued: bool) -> APIConnectionError:
    """Return the error of an attempt that the deadline ended."""
    if queued:
        return APIConnectionError(f"{QUEUED}, in {elapsed:.1f} s until the deadline", "queued")
    return APITimeoutError(f"no answer within the {elapsed:.1f} s that the deadline left")
