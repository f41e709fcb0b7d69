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

Closing and the deadline end a call by cancelling its task (``CallRecord.end``), from ``enter`` on
until the call forgets its task.

Not here: the record of a call (``calls.attempts``), what a failure means and when it is repeated
(``calls.retry``), the gate (``ratelimit.limiter``), one exchange (``network.pool``), calls that
share one request (``calls.cached``).
"""

from __future__ import annotations

import asyncio
import logging
import math
from asyncio import CancelledError
from http import HTTPStatus
from types import NoneType
from typing import TypeVar

from attrs import define, evolve, field, frozen

from chatloom_async.auth import ApiKey
from chatloom_async.cache import Cache
from chatloom_async.calls.answer import TELLING, parse_limit, status_error
from chatloom_async.calls.attempts import CallRecord, FailedAttempt, NextStep, log
from chatloom_async.calls.credentials import Credentials
from chatloom_async.calls.retry import RetryPolicy, engine_for, judge
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
from chatloom_async.transport import QUEUED, Ending, InFlight, Request, Response, Transport

Model = TypeVar("Model")

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
    refused: int = 0
    limiter: RateLimiter | None = None  # of the key and loop of the latest attempt


@frozen(eq=False, repr=False)
class _Gate:
    """The limiter of a key in a loop; None without a ``RateLimit``."""

    key: ApiKey
    loop: asyncio.AbstractEventLoop
    limiter: RateLimiter | None


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
    # The latest. Replaced as a whole, for loops in several threads may share the client.
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

    def give_up_at(self) -> float:
        """Return when a call that begins now is to end, on the loop's clock."""
        deadline = self.retry.deadline
        if deadline is None:
            return self.until
        return min(asyncio.get_running_loop().time() + deadline, self.until)

    async def conclude(
        self, call: CallRecord, model: type[Model], owner: object | None
    ) -> tuple[Model, bytes] | ChatloomError:
        """Run a call; return its model and the body, or its error as a value.

        Closing the ``owner`` ends the call. It is None for the request that several cached calls
        share: each of those is ended by its own client (``CachedCalls``).
        """
        shared, loop = self.transport.shared, asyncio.get_running_loop()
        told = shared.notify is not None or log.isEnabledFor(logging.DEBUG)
        if told:
            call.begin(shared, self.credentials.current)
        late = enter(call, shared.in_flight, owner)
        try:
            outcome = FailedAttempt(self.too_late(call)) if late else await self._attempt(call)
            if isinstance(outcome, FailedAttempt):
                outcome = await self._repeat(call, outcome)
        except BaseException as raised:
            error = self.why_ended(call, call) if isinstance(raised, CancelledError) else None
            if error is None:
                call.ended(raised, loop.time())
                raise
            outcome = FailedAttempt(error)
        finally:  # its task has other things to do
            shared.in_flight.calls.discard(call)
            call.task = None  # which may hold an error that holds this frame
            if call.alarm is not None:
                call.silence()
        if isinstance(outcome, Response):
            try:
                answer = (
                    _plain(outcome, call.request, model)
                    if model is object or model is NoneType
                    else decode(outcome.body, model)
                )
            except ResponseDecodeError as failure:
                outcome = _note(call, FailedAttempt(_coded(failure, outcome)), loop.time())
            else:
                if told:
                    call.ended(None, loop.time())
                return answer, outcome.body
        call.ended(outcome.error, loop.time())
        return call.finished(outcome.error)

    def why_ended(self, call: CallRecord, tried: CallRecord) -> ChatloomError | None:
        """Return the error of a cancelled call; None: neither deadline nor closing cancelled it.

        ``tried`` is the record of its attempts: its own, or that of the call whose request it
        shares.
        """
        ending = call.withdraw_cancellation()
        if ending is Ending.CLOSED:
            return ClientClosedError("the client was closed during the call")
        return self.too_late(tried) if ending is Ending.DEADLINE else None

    def too_late(self, call: CallRecord) -> DeadlineExceededError:
        """Return the error of a call whose deadline has come."""
        return DeadlineExceededError(
            f"not finished within {self.retry.deadline:g} s", call.last_failure()
        )

    async def _repeat(self, call: CallRecord, first: FailedAttempt) -> Response | FailedAttempt:
        """Make the attempts after the first, if others may follow.

        The first failure is replayed into tenacity as attempt 1, so that its stop, wait and hooks
        see every attempt while a call that succeeds at once never meets them.
        """
        if first.next_step is NextStep.FINAL:
            return first
        replayed = [first]

        async def next_attempt() -> Response | FailedAttempt:
            return replayed.pop() if replayed else await self._attempt(call)

        engine = engine_for(call, self.retry)
        try:
            return await engine(next_attempt)
        finally:
            engine.iter_state.reset()  # it holds the engine: a circle with the errors

    async def _attempt(self, call: CallRecord) -> Response | FailedAttempt:
        """Make one request when the rate limiter lets it, and report what became of it."""
        credentials, loop = self.credentials, asyncio.get_running_loop()
        key = call.key = credentials.current or await credentials.renew(credentials.generation)
        gate = self._gate
        if gate is None or gate.key is not key or gate.loop is not loop:
            gate = self._find_gate(key, loop)
        limiter = call.limiter = gate.limiter
        departure = 0.0 if limiter is None else limiter.try_acquire()
        call.departure = departure or 0.0
        if departure is None and (unsent := await self._wait(call)) is not None:
            return unsent
        key, limiter, generation = call.key, call.limiter, credentials.generation
        call.started = loop.time()
        call.sent += 1
        self.state.requests += 1
        self.state.retried += call.sent > 1
        try:
            answer = await self.transport.exchange(call.request, key, self.timeout)
        except ChatloomError as failure:
            error = failure.with_traceback(None)  # whose frame holds the error: a circle
        except BaseException as ending:
            self._interrupted(call, ending)
            raise
        else:
            if limiter is not None and any(map(answer.headers.__contains__, TELLING)):
                told = parse_limit(answer.headers, self.transport.shared.clock)
                limiter.heard(call.departure, told)
            if answer.status in _OK:
                if limiter is not None:
                    limiter.admitted(call.departure, call.request.resource)
                if call.notify is not None:
                    call.attempt_ended(str(answer.status), loop.time())
                return answer
            error = status_error(answer, key, self.transport.shared.clock)
        failed = judge(call, error, self.retry.max_retry_after)
        self.state.refused += failed.refused
        return await self._failed(call, failed, key, generation)

    def _find_gate(self, key: ApiKey, loop: asyncio.AbstractEventLoop) -> _Gate:
        """Return the limiter of this key in the running loop, and remember it."""
        limiter = None
        if self.rate_limit is not None:
            limiter = self.transport.shared.limiters.get(self.base_url, key, self.rate_limit)
        self.state.limiter = limiter
        self._gate = gate = _Gate(key, loop, limiter)
        return gate

    async def _wait(self, call: CallRecord) -> FailedAttempt | None:
        """Wait at the rate limiter until the attempt leaves; return why it cannot, if so.

        If the key is renewed meanwhile, the call waits at the limiter of the new one.
        """
        credentials, loop = self.credentials, asyncio.get_running_loop()
        refused, since = bool(call.failures) and call.failures[-1].refused, loop.time()
        try:
            while (limiter := call.limiter) is not None:
                limits = self._limits
                if call.give_up_at < math.inf:
                    limits = evolve(limits, give_up_at=call.give_up_at)
                try:
                    call.departure = await limiter.wait(
                        call.request.resource, limits, refused=refused
                    )
                except ChatloomError as error:
                    if call.give_up_at > limits.give_up_at:
                        continue  # another caller joined meanwhile, and may wait for longer
                    if call.failures:
                        call.failures[-1].wait = loop.time() - call.failed_at
                    vars(error).pop("__notes__", None)  # those of the call that sent the probe
                    return FailedAttempt(error)
                if credentials.current is None or credentials.current == call.key:
                    return None
                limiter.abandoned(call.departure)
                call.key = credentials.current
                call.limiter = self._find_gate(call.key, loop).limiter
        finally:
            if call.notify is not None:
                call.waited(loop.time() - since)
        return None

    async def _failed(
        self, call: CallRecord, failed: FailedAttempt, key: ApiKey, generation: int
    ) -> FailedAttempt:
        """Take note of a failed attempt.

        After a 401 ask for another key, once per call; only a different one is worth a try.
        """
        now, error = asyncio.get_running_loop().time(), failed.error
        refused_before = any(isinstance(each.error, AuthenticationError) for each in call.failures)
        _note(call, failed, now)
        if call.notify is not None:
            call.attempt_ended(failed.outcome(), now)
        refused = isinstance(error, AuthenticationError) and not refused_before
        if refused and self.credentials.renewable:
            try:
                fresh = await self.credentials.renew(generation)
            except Exception as problem:  # noqa: BLE001 - whatever the caller's key source raises
                error.add_note(f"asking for another key failed: {type(problem).__name__}")
            else:
                failed.next_step = NextStep.FINAL if fresh == key else NextStep.AT_ONCE
        return failed

    def _interrupted(self, call: CallRecord, ending: BaseException) -> None:
        """Take note of an attempt that ended without an answer, maybe by the call's own deadline.

        To the limiter it is a failure of the server if the deadline cut it off after some time, and
        an attempt that was given up otherwise.
        """
        now = asyncio.get_running_loop().time()
        elapsed = now - call.started
        late, queued = call.ending is Ending.DEADLINE, QUEUED in getattr(ending, "__notes__", ())
        error: APIConnectionError
        if queued:
            message = f"{QUEUED}, in {elapsed:.1f} s until the deadline"
            error = APIConnectionError(message, "queued")
        else:
            error = APITimeoutError(f"no answer within the {elapsed:.1f} s that the deadline left")
        if late:
            call.cut = _note(call, FailedAttempt(error), now)
        raised = type(ending).__name__ if isinstance(ending, Exception) else "cancelled"
        call.attempt_ended(call.cut.outcome() if call.cut else raised, now)
        if call.limiter is None:
            return
        if late and not queued and elapsed >= _LEAST:
            call.limiter.failed(call.departure, call.request.resource, error)
        else:
            call.limiter.abandoned(call.departure)


def enter(call: CallRecord, in_flight: InFlight, owner: object | None) -> bool:
    """Let the call's deadline, and closing its owner, cancel the running task.

    Returns whether the deadline has passed already.
    """
    loop = asyncio.get_running_loop()
    call.owner, call.task = owner, asyncio.current_task(loop)  # slow to find the loop
    if call.task is not None:
        call.cancelling = call.task.cancelling()
    if owner is not None:
        in_flight.calls.add(call)
    if call.give_up_at == math.inf:
        return False
    call.ring_at_deadline()
    return call.give_up_at <= loop.time()


def _note(call: CallRecord, failed: FailedAttempt, now: float) -> FailedAttempt:
    """Take note of a failed attempt, and return it."""
    if call.failures:
        call.failures[-1].wait = call.started - call.failed_at
    failed.elapsed, call.failed_at = now - call.started, now
    failed.error.method, failed.error.path = call.request.method, call.request.target
    call.failures.append(failed)
    return failed


def _plain(answer: Response, request: Request, model: type[Model]) -> Model:
    """Return what an answer says whose body need not matter (``NoneType``) or be there.

    No content (RFC 9110 §15.3.5) is None. Many servers answer a POST or PUT with 200 or 201 and no
    body.
    """
    empty = answer.status in _NO_CONTENT or (request.method != "GET" and not answer.body)
    if empty or model is NoneType:
        return None  # type: ignore[return-value]  # the model is NoneType or object: None is one
    return decode(answer.body, model)


def _coded(error: ResponseDecodeError, answer: Response) -> ResponseDecodeError:
    """Return the error of a body that cannot be read, with the reason if that is its coding."""
    if answer.headers.get("content-encoding", "").strip().lower() in _UNDONE:
        return error
    return ResponseDecodeError(f"{error.message}; its Content-Encoding is none that is understood")
