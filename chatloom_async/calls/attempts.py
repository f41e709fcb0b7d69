"""The record of a call: its attempts, what follows a failed one, and what its error tells of them.

Not here: how an attempt is made (``calls.call``), and when the next one leaves (``calls.retry``).
"""

from __future__ import annotations

import asyncio
import copy
import logging
import math
from enum import Enum

from attrs import define, field

from chatloom_async.auth import ApiKey
from chatloom_async.errors import (
    APIStatusError,
    Attempt,
    ChatloomError,
    DeadlineExceededError,
    ResponseDecodeError,
)
from chatloom_async.events import AttemptEnded, CallEnded, CallStarted, LimiterWaited, Observer
from chatloom_async.ratelimit.limiter import RateLimiter
from chatloom_async.transport import Alarm, Ending, Request, Shared

log: logging.Logger = logging.getLogger("chatloom_async")
log.addHandler(logging.NullHandler())  # silent unless the application sets up logging
_AGAIN = 0.2  # seconds: by then a leader with the same deadline has ended, in most cases


class NextStep(Enum):
    """What follows a failed attempt."""

    BACK_OFF = "costs an attempt; the next one after a jittered wait"
    AT_ONCE = "costs an attempt; the next one follows without a wait"
    AT_THE_GATE = "costs no attempt; the next one leaves when the rate limiter lets it"
    FINAL = "no further attempt"


@define(eq=False, repr=False)
class FailedAttempt:
    """A failed attempt: errors travel as values and are raised once, by the call.

    Attributes:
        error: why it failed.
        next_step: what follows.
        elapsed: seconds it took.
        wait: seconds from its end to the next attempt.
        refused: whether a rate limit refused it.
        asked: how many seconds that refusal, or a 503, asks to wait; 0 if it does not say.
    """

    error: ChatloomError
    next_step: NextStep = NextStep.FINAL
    elapsed: float = 0.0
    wait: float = 0.0
    refused: bool = False
    asked: float = 0.0

    def outcome(self) -> str:
        """Return the status, or the reason why there is none."""
        error = self.error
        if isinstance(error, APIStatusError):
            return str(error.status)
        if isinstance(error, ResponseDecodeError):
            return "malformed"
        return str(getattr(error, "reason", type(error).__name__))


@define(eq=False, repr=False)
class CallRecord:
    """What one call remembers from attempt to attempt; times are on the loop's clock.

    Attributes:
        request: what every attempt sends.
        give_up_at: when its deadline comes.
        leader: the record of the flight that this call waits for, if it does (``calls.cached``).
        notify: the observer, told by ``begin``, ``waited``, ``attempt_ended`` and ``ended``.
        number: how the observer knows the call.
        began: when the call began, if somebody is told.
        task: what makes the call, while it is under way.
        owner: whose closing ends it, the state of the client that makes it.
        cancelling: how often its task had been cancelled before.
        ending: why the task was cancelled, if it was the deadline or closing.
        alarm: rings at the deadline.
        key: of the latest attempt; None while a callable has not given one.
        limiter: of the latest attempt.
        departure: when that left it, if there is one.
        failures: the failed attempts, oldest first.
        cut: the attempt that the deadline ended.
        started: when the latest attempt left.
        failed_at: when the latest failed attempt was over.
        sent: how many requests were handed to the transport, those that queued there included.
    """

    request: Request
    give_up_at: float = math.inf
    leader: CallRecord | None = None
    notify: Observer | None = None
    number: int = 0
    began: float = 0.0
    task: asyncio.Task[object] | None = None
    owner: object = None
    cancelling: int = 0
    ending: Ending | None = None
    alarm: Alarm | None = None
    key: ApiKey | None = None
    limiter: RateLimiter | None = None
    departure: float = 0.0
    failures: list[FailedAttempt] = field(factory=list)
    cut: FailedAttempt | None = None
    started: float = 0.0
    failed_at: float = 0.0
    sent: int = 0

    def begin(self, shared: Shared, key: ApiKey | None) -> None:
        """Note when the call begins, and tell the observer if there is one."""
        self.key, self.began = key, asyncio.get_running_loop().time()
        if shared.notify is not None:
            self.notify, self.number, request = shared.notify, next(shared.numbers), self.request
            method, route, path = request.method, request.route, request.resource
            key_of = self.fingerprint()
            self.notify(CallStarted(self.number, method, route, path, request.base_url, key_of))

    def fingerprint(self) -> str:
        """Return what stands for the key of the latest attempt; "" if there is none yet."""
        return "" if self.key is None else self.key.fingerprint

    def waited(self, seconds: float) -> None:
        """Tell the observer of a wait at the rate limiter."""
        if self.notify is not None:
            self.notify(LimiterWaited(self.number, self.fingerprint(), seconds))

    def attempt_ended(self, outcome: str, now: float) -> None:
        """Tell the observer how the latest attempt ended."""
        if self.notify is not None:
            method, path = self.request.method, self.request.resource
            key, seconds = self.fingerprint(), now - self.started
            self.notify(AttemptEnded(self.number, method, path, key, self.sent, outcome, seconds))

    def ended(self, error: BaseException | None, now: float) -> None:
        """Tell how the call ended: the observer, and of an answer (no error) the log."""
        request, seconds = self.request, now - self.began
        if error is None:
            told = self.fingerprint(), request.method, request.target, seconds
            log.debug("key %s: %s %s answered after %.3f s", *told, extra=self.log_fields())
        if self.notify is not None:
            outcome = "ok" if error is None else type(error).__name__
            if isinstance(error, asyncio.CancelledError):
                outcome = "cancelled"
            method, route, path, key = (
                request.method,
                request.route,
                request.resource,
                self.fingerprint(),
            )
            self.notify(
                CallEnded(self.number, method, route, path, key, self.sent, outcome, seconds)
            )

    def ring_at_deadline(self) -> None:
        """End the call when its deadline comes, which may move to a later time until then.

        A call that waits for its ``leader`` is ended by that one if both deadlines are the same.
        """
        if self.give_up_at < math.inf:
            self.alarm = Alarm(self.give_up_at, self._rung)

    def _rung(self) -> None:
        # Not at once: an answer that was read just before is the next to be looked at.
        asyncio.get_running_loop().call_soon(self._end_at_deadline)

    def _end_at_deadline(self) -> None:
        if self.alarm is None:  # the call is over
            return
        if self.alarm.at < self.give_up_at:
            self.ring_at_deadline()
        elif self.leader is None or self.leader.give_up_at > self.give_up_at:
            self.end(Ending.DEADLINE)
        else:  # another call may still move the leader's
            self.alarm = Alarm(self.alarm.at + _AGAIN, self._rung)

    def silence(self) -> None:
        """Forget the deadline."""
        if self.alarm is not None:
            self.alarm.cancel()
            self.alarm = None

    def end(self, ending: Ending) -> None:
        """Cancel the call, unless it is over or was ended before."""
        if self.task is not None and self.ending is None:
            self.ending = ending
            self.task.cancel()

    def withdraw_cancellation(self) -> Ending | None:
        """Return why ``end`` cancelled the call, and withdraw that with ``Task.uncancel()``.

        None: it did not, or somebody else cancelled the task too; re-raise.
        """
        if self.ending is None or self.task is None or self.task.uncancel() > self.cancelling:
            return None
        return self.ending

    def last_failure(self) -> ChatloomError | None:
        """Return why the call was not finished: its own last failure, or its closed gate's."""
        for failed in reversed(self.failures):
            if failed is not self.cut:
                return failed.error
        error = None if self.limiter is None else self.limiter.last_error
        if isinstance(error, ChatloomError):
            return copy.copy(error)
        return None if self.cut is None else self.cut.error

    def log_fields(self) -> dict[str, object]:
        """Return what every log record of this call carries in its ``extra``."""
        return {
            "chatloom_method": self.request.method,
            "chatloom_path": self.request.target,
            "chatloom_key": self.fingerprint(),
        }

    def finished(self, error: ChatloomError) -> ChatloomError:
        """Return the error as its caller sees it: with its request and what was tried."""
        error.method, error.path = self.request.method, self.request.target
        error.attempts = tuple(
            Attempt(failed.outcome(), failed.elapsed, failed.wait) for failed in self.failures
        )
        if isinstance(error, DeadlineExceededError) and error.last_failure is not None:
            last = error.last_failure.with_traceback(None)
            last.method, last.path = last.method or error.method, last.path or error.path
            error.add_note(f"the last failure: {last}")
        count = len(error.attempts)
        if count > 1:
            took = sum(attempt.elapsed + attempt.wait for attempt in error.attempts)
            error.add_note(f"tried {count} times, {took:.1f} s in all")
        return error.with_traceback(None)
