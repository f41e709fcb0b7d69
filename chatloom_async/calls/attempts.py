"""What one call remembers from attempt to attempt, and how its error tells of it."""

from __future__ import annotations

import asyncio
import copy
import math

from attrs import define, field

from chatloom_async.calls.retry import Failed, NextStep
from chatloom_async.errors import ChatloomError, DeadlineExceededError
from chatloom_async.ratelimit.limiter import RateLimiter


@define(eq=False, repr=False)
class History:
    """What one call remembers from attempt to attempt."""

    method: str
    path: str
    scope: asyncio.Timeout | None = None  # of the deadline
    limiter: RateLimiter | None = None  # of the latest attempt
    failures: list[Failed] = field(factory=list)
    cut: Failed | None = None  # the attempt in which the deadline came
    started: float = 0.0  # the latest attempt
    failed_at: float = 0.0
    refused: bool = False
    stale: bool = False
    renewed: bool = False

    def failed(self, error: ChatloomError, verdict: NextStep, elapsed: float) -> Failed:
        """Take note of a failed attempt."""
        failure = Failed(error, verdict, elapsed)
        self.failures.append(failure)
        return failure

    @property
    def give_up_at(self) -> float:
        """When the deadline comes."""
        return math.inf if self.scope is None else self.scope.when() or math.inf

    def last_failure(self) -> ChatloomError | None:
        """Return why the call was not finished: its own last failure, or its closed gate's."""
        for failed in reversed(self.failures):
            if failed is not self.cut:
                return failed.error
        error = None if self.limiter is None else self.limiter.last_error
        if isinstance(error, ChatloomError):
            return copy.copy(error)
        return None if self.cut is None else self.cut.error

    def waited_until(self, now: float) -> None:
        """Note how long the latest failure was waited after, at the gate too."""
        if self.failures:
            self.failures[-1].wait = now - self.failed_at

    def finished(self, error: ChatloomError) -> ChatloomError:
        """Return the error as its caller sees it: with its request and what was tried."""
        error.method, error.path = self.method, self.path
        error.attempts = tuple(failed.record() for failed in self.failures)
        if isinstance(error, DeadlineExceededError) and error.last_failure is not None:
            last = error.last_failure.with_traceback(None)
            last.method, last.path = last.method or self.method, last.path or self.path
        count = len(error.attempts)
        if count > 1:
            took = sum(attempt.elapsed + attempt.wait for attempt in error.attempts)
            error.add_note(f"tried {count} times, {took:.1f} s in all")
        return error.with_traceback(None)
