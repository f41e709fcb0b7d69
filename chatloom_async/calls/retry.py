"""When a failed attempt is repeated, after how long, and what it costs: the only door of tenacity.

In the order of a call: ``judge`` reports a failed attempt to the rate limiter and says what follows
it. If that is another attempt, ``engine_for`` makes what repeats the attempts of the call, by the
call's ``RetryPolicy``.

Not here: what an attempt is (``calls.call``), how an answer becomes an error (``calls.answer``),
and when the attempts of a key may leave (``ratelimit.schedule``).
"""

from __future__ import annotations

import asyncio
import logging
import random
from http import HTTPStatus
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from chatloom_async.calls.attempts import CallRecord, FailedAttempt, NextStep, log
from chatloom_async.errors import (
    APIConnectionError,
    APIStatusError,
    ChatloomError,
    require_seconds,
    require_whole,
)
from chatloom_async.models import shown
from chatloom_async.ratelimit.values import Cost
from chatloom_async.transport import Request

if TYPE_CHECKING:
    from tenacity import AsyncRetrying, RetryCallState

_HEALING = (408, 429)  # beside those of 5xx …
_LASTING = (501, 505)  # … but for these: the server will know no better in a second
_REFUSING = (403, 429, 503)
_LASTING_REASONS = ("dns", "encoding", "proxy", "tls", "too large")
_NOTHING_SENT = ("connect", "local")
_NOT_THE_SERVER = ("stale", "local")


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
            if name != "deadline" or value is not None:
                require_seconds(f"RetryPolicy.{name}", value)

    def backoff(self, failures: int) -> float:
        """Return a random wait in seconds after that many counted failures (1 or more)."""
        # 2**64 outgrows any max_delay long before the float would overflow.
        return random.uniform(
            0, min(self.max_delay, self.initial_delay * 2 ** min(failures - 1, 64))
        )


def judge(call: CallRecord, error: ChatloomError, longest: float) -> FailedAttempt:
    """Report a failed attempt to the rate limiter; return it with what follows.

    ``longest`` is the call's ``max_retry_after``: a gate that this refusal closes waits no longer
    before its probe, whatever the server asks.
    """
    asked = asked_to_wait(error)
    refused = _is_refusal(call, error, asked)
    cost = _report(call, error, asked, longest if refused else None)
    if cost is Cost.FINAL or not may_repeat(call.request, error):
        next_step = NextStep.FINAL
    elif cost is Cost.FREE:
        next_step = NextStep.AT_THE_GATE
    elif _is_stale(error) and not any(_is_stale(failed.error) for failed in call.failures):
        next_step = NextStep.AT_ONCE
    else:
        next_step = NextStep.BACK_OFF
    return FailedAttempt(error, next_step, refused=refused, asked=asked or 0.0)


def _is_refusal(call: CallRecord, error: ChatloomError, asked: float | None) -> bool:
    """Tell whether a rate limit refused the attempt; of a 503 its limiter, which hears of it."""
    match error:
        case APIStatusError(status=HTTPStatus.TOO_MANY_REQUESTS):
            return True
        case APIStatusError(status=HTTPStatus.FORBIDDEN):
            return asked is not None
        case APIStatusError(status=HTTPStatus.SERVICE_UNAVAILABLE) if call.limiter is not None:
            told = asked is not None
            return call.limiter.judge_503(call.departure, call.request.resource, told=told)
    return False


def _report(
    call: CallRecord, error: ChatloomError, asked: float | None, longest: float | None
) -> Cost:
    """Tell the limiter what became of the attempt; return what that costs the call.

    A refusal (``longest`` is a number) closes the gate. Failures that another attempt may heal add
    up to an outage. Any other answer shows that the server works.
    """
    limiter, departure, resource = call.limiter, call.departure, call.request.resource
    if limiter is None:
        return Cost.COUNTED
    if longest is not None:
        return limiter.refused(departure, error, asked, longest)
    answered = isinstance(error, APIStatusError)
    silent = isinstance(error, APIConnectionError) and error.reason not in _NOT_THE_SERVER
    if not answered and not silent:  # it says nothing about the server
        limiter.abandoned(departure)
    elif heals(error):
        return limiter.failed(departure, resource, error, asked)
    else:
        limiter.admitted(departure, resource)
    return Cost.COUNTED


def may_repeat(request: Request, error: ChatloomError) -> bool:
    """Tell whether another attempt may fare better, and does no harm.

    A request that is not repeatable (a POST) is sent again only when nothing of it can have been
    carried out: the connection was refused, or the server said that it refused the request.
    """
    if request.repeatable or not heals(error):
        return heals(error)
    if isinstance(error, APIStatusError):
        too_many = error.status == HTTPStatus.TOO_MANY_REQUESTS
        return too_many or asked_to_wait(error) is not None
    return isinstance(error, APIConnectionError) and error.reason in _NOTHING_SENT


def heals(error: ChatloomError) -> bool:
    """Tell whether another attempt may fare better."""
    if isinstance(error, APIStatusError):
        status = error.status
        failing = status >= HTTPStatus.INTERNAL_SERVER_ERROR and status not in _LASTING
        return failing or status in _HEALING or asked_to_wait(error) is not None
    return isinstance(error, APIConnectionError) and error.reason not in _LASTING_REASONS


def asked_to_wait(error: ChatloomError) -> float | None:
    """Return the Retry-After of a 429, 403 or 503, in seconds; None on any other status.

    A 403 with a Retry-After is one (GitHub's "secondary rate limit"). On other statuses the header
    means nothing: Flask-Limiter puts one on each answer, on a 500 too.
    """
    if isinstance(error, APIStatusError) and error.status in _REFUSING:
        return error.retry_after
    return None


def _is_stale(error: ChatloomError) -> bool:
    return isinstance(error, APIConnectionError) and error.reason == "stale"


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

    hooks = _Hooks(policy, call)
    return AsyncRetrying(
        retry=hooks.goes_on,
        wait=hooks.wait,
        stop=hooks.is_over,
        before_sleep=hooks.log,
        sleep=_sleep,
        retry_error_callback=_last,
    )


async def _sleep(seconds: float) -> None:
    if seconds:
        await asyncio.sleep(seconds)


@define(eq=False, repr=False)
class _Hooks:
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
        self.counted += failed.next_step is not NextStep.AT_THE_GATE
        if failed.next_step is NextStep.BACK_OFF:
            failed.wait = self._backoff(failed.asked)
        return failed.wait

    def _backoff(self, asked: float) -> float:
        wait = self.policy.backoff(self.counted)
        left = self.call.give_up_at - asyncio.get_running_loop().time()
        if asked:
            # A little jitter above what was asked, but not past the deadline: everyone was told the
            # same moment. Drawn below its bound, for cut off there many would return together.
            bound = max(0.0, min(0.1 * asked + 0.1, (left - asked) / 2))
            return asked + min(wait, random.uniform(0, bound))
        if wait < left or self.squeezed:
            return wait
        # The deadline would end inside the wait and waste what is left: one more try before it.
        self.squeezed = True
        return left / 2

    def is_over(self, state: RetryCallState) -> bool:
        failed, policy = _last(state), self.policy
        next_at = asyncio.get_running_loop().time() + max(failed.wait, failed.asked)
        over = (
            policy.attempts == 1
            or self.counted >= policy.attempts
            or failed.asked > policy.max_retry_after
            or next_at >= self.call.give_up_at
        )
        if over:
            failed.wait = 0.0  # nobody waited
        return over

    def log(self, state: RetryCallState) -> None:
        failed, number = _last(state), state.attempt_number
        waits = failed.next_step is NextStep.AT_THE_GATE
        level = logging.DEBUG if waits else logging.INFO
        if not log.isEnabledFor(level):
            return
        log.log(
            level,
            "key %s: attempt %d failed: %s; %s",
            self.call.fingerprint(),
            number,
            failed.error,
            "the next one waits at the rate limiter" if waits else f"next in {failed.wait:.2f} s",
            extra={
                **self.call.log_fields(),
                "chatloom_attempt": number,
                "chatloom_wait": failed.wait,
            },
        )


def _last(state: RetryCallState) -> FailedAttempt:
    """Return the last outcome; the hooks after ``goes_on`` only ever see failures."""
    assert state.outcome is not None  # noqa: S101 - tenacity calls its hooks after an attempt
    outcome: FailedAttempt = state.outcome.result()
    return outcome
