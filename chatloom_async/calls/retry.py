"""When a failed request is repeated, and after how long: the only door of tenacity.

Here: the policy as an immutable value, and the engine that repeats the attempts of one call. Not
here: what an attempt is (``calls.call``), which failures heal (``calls.failures``), and when the
attempts of a key may leave (``ratelimit.schedule``).
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from chatloom_async.calls.attempts import CallRecord, FailedAttempt, NextStep, log
from chatloom_async.errors import require_seconds, require_whole
from chatloom_async.models import shown

if TYPE_CHECKING:
    from tenacity import AsyncRetrying, RetryCallState


@frozen
class RetryPolicy:
    """How often, how patiently and for how long a call is tried; all times are seconds.

    After the n-th counted failure (n = 1, 2, …) a call waits a random time between 0 and
    min(``max_delay``, ``initial_delay`` · 2ⁿ⁻¹): "full jitter", so that clients which failed
    together do not return together. A Retry-After is a floor under that wait.

    Attributes:
        attempts: counted tries per call; 1 never makes a second request. At a rate limiter, a 429
            and a failed probe do not use attempts up: deadline and patience bound them. Without one
            (``rate_limit=None``) they do.
        deadline: the most a caller waits for one call, everything included; None: no deadline,
            the other bounds still hold.
        patience: how long a gate may stay closed, by refusals or an outage, before a failed probe
            ends the call's wait.
        initial_delay: upper end of the first wait.
        max_delay: upper end of any wait.
        max_retry_after: a Retry-After above it is not waited for; the error is raised at once.

    Raises:
        ConfigurationError: a value is not a positive finite number, or attempts not a whole one.
    """

    attempts: int = 4
    deadline: float | None = None
    patience: float = 120.0
    initial_delay: float = 0.5
    max_delay: float = 8.0
    max_retry_after: float = 120.0

    __repr__ = shown

    def __attrs_post_init__(self) -> None:
        require_whole("RetryPolicy.attempts", self.attempts)
        for name in ("deadline", "patience", "initial_delay", "max_delay", "max_retry_after"):
            value = getattr(self, name)
            if name == "deadline" and value is None:
                continue
            require_seconds(f"RetryPolicy.{name}", value)

    def backoff(self, failures: int) -> float:
        """Return a random wait in seconds after that many counted failures (1 or more)."""
        # 2**64 outgrows any max_delay long before the float would overflow.
        return random.uniform(
            0, min(self.max_delay, self.initial_delay * 2 ** min(failures - 1, 64))
        )


def prepare() -> None:
    """Import the engine now: on first use it would hold up the event loop.

    Not at import, where it would cost those who import much and call nothing.
    """
    import tenacity  # noqa: F401, PLC0415 - said above


def engine_for(call: CallRecord, policy: RetryPolicy) -> AsyncRetrying:
    """Return what repeats the attempts of one call until an answer or the last failure.

    Each call has its own: tasks that share one mix up its state.
    """
    from tenacity import AsyncRetrying  # noqa: PLC0415 - see prepare

    schedule = _Schedule(policy, call)
    return AsyncRetrying(
        retry=schedule.goes_on,
        wait=schedule.wait,
        stop=schedule.is_over,
        before_sleep=schedule.log,
        sleep=_sleep,
        retry_error_callback=_last,
    )


async def _sleep(seconds: float) -> None:
    if seconds:
        await asyncio.sleep(seconds)


@define(eq=False, repr=False)
class _Schedule:
    """tenacity's questions about one call, answered by the loop's clock.

    Asked in this order after each attempt: ``goes_on``, ``wait``, ``is_over``, ``log``.

    Attributes:
        counted: the failures that used an attempt up.
        squeezed: whether the last try before the deadline was moved forward already.
    """

    policy: RetryPolicy
    call: CallRecord
    counted: int = field(default=0, init=False)
    squeezed: bool = field(default=False, init=False)

    def goes_on(self, state: RetryCallState) -> bool:
        outcome = _last(state)
        return isinstance(outcome, FailedAttempt) and outcome.next_step is not NextStep.FINAL

    def wait(self, state: RetryCallState) -> float:
        failed = _last(state)
        if failed.next_step is NextStep.AT_THE_GATE:
            return 0.0
        self.counted += 1
        failed.wait = 0.0 if failed.next_step is NextStep.AT_ONCE else self._backoff()
        return failed.wait

    def _backoff(self) -> float:
        wait = self.policy.backoff(self.counted)
        left = self.call.give_up_at - asyncio.get_running_loop().time()
        floor = self.call.asked
        if floor:
            # A little jitter above the floor, but not past the deadline: everyone was told the
            # same moment. Drawn below its bound, for cut off there many would return together.
            bound = max(0.0, min(0.1 * floor + 0.1, (left - floor) / 2))
            return floor + min(wait, random.uniform(0, bound))
        if wait < left or self.squeezed:
            return wait
        # The deadline would end inside the wait and waste what is left: one more try before it.
        self.squeezed = True
        return left / 2

    def is_over(self, state: RetryCallState) -> bool:
        failed, asked = _last(state), self.call.asked
        over = (
            self.policy.attempts == 1
            or self.counted >= self.policy.attempts
            or asked > self.policy.max_retry_after
            or asyncio.get_running_loop().time() + max(failed.wait, asked) >= self.call.give_up_at
        )
        if over:
            failed.wait = 0.0  # nobody waited
        return over

    def log(self, state: RetryCallState) -> None:
        failed = _last(state)
        waits = failed.next_step is NextStep.AT_THE_GATE
        level = logging.DEBUG if waits else logging.INFO
        if not log.isEnabledFor(level):
            return
        log.log(
            level,
            "key %s: attempt %d failed: %s; %s",
            self.call.fingerprint(),
            state.attempt_number,
            failed.error,
            "the next one waits at the rate limiter" if waits else f"next in {failed.wait:.2f} s",
            extra={
                **self.call.log_fields(),
                "chatloom_attempt": state.attempt_number,
                "chatloom_wait": failed.wait,
            },
        )


def _last(state: RetryCallState) -> FailedAttempt:
    """Return the last outcome; the hooks after ``goes_on`` only ever see failures."""
    assert state.outcome is not None  # noqa: S101 - tenacity calls its hooks after an attempt
    outcome: FailedAttempt = state.outcome.result()
    return outcome
