"""What an observer is told: small frozen values about calls, attempts and rate limiters.

``ConnectionPool(observer=…)`` takes one function of an event. It runs inside the call that it is
told of, so it must be quick and must not block. An exception of its own is logged, the first one
only, and reaches no call. No event holds a key, a body or a header. What several events have is
described at ``CallStarted``; ``seconds`` is how long it took. Who tells: ``calls``, ``ratelimit``.
"""

import logging
from collections.abc import Callable
from typing import Literal

from attrs import frozen

from chatloom_async.models import shown

_log = logging.getLogger("chatloom_async")


@frozen
class CallStarted:
    """A call begins, in the task that makes it.

    Attributes:
        call: a number that all events of one call share.
        method: the HTTP method.
        route: the path with the names of its values, ``/api/plugin/agents/{agent_id}/…``.
        path: the path below the base URL, without query.
        base_url: the server.
        key: the fingerprint of the key in use, or "" while a callable has not given one.
    """

    call: int
    method: str
    route: str
    path: str
    base_url: str
    key: str

    __repr__ = shown


@frozen
class LimiterWaited:
    """An attempt passed the rate limiter of its key after a wait, or gave up there."""

    call: int
    key: str
    seconds: float

    __repr__ = shown


@frozen
class AttemptEnded:
    """One request of a call was answered, failed or was given up.

    Attributes:
        number: 1 for the first attempt of the call.
        outcome: the status (``"200"``), the reason (``"timeout"``, ``"cancelled"``), or the name of
            what else was raised, by a trace hook say.
    """

    call: int
    method: str
    path: str
    key: str
    number: int
    outcome: str
    seconds: float

    __repr__ = shown


@frozen
class CallEnded:
    """A call returned or raised, in the task that made it.

    Attributes:
        attempts: how many were made, one that queued until its end among them.
        outcome: ``"ok"``, ``"cancelled"``, or the name of the error's class.
        seconds: everything the caller waited for.
    """

    call: int
    method: str
    route: str
    path: str
    key: str
    attempts: int
    outcome: str
    seconds: float

    __repr__ = shown


@frozen
class LimiterClosed:
    """The rate limiter of a key stopped all requests.

    Attributes:
        reason: the server refused, or it fails altogether.
        seconds: until a probe asks whether the way is clear.
        limiter: a number that all events of one limiter share; a key may have several.
    """

    key: str
    reason: Literal["refused", "outage"]
    seconds: float
    limiter: int = 0

    __repr__ = shown


@frozen
class LimiterOpened:
    """The rate limiter of a key, closed for so many seconds, lets requests pass again.

    So it is told, too, of one that is forgotten while it is closed, for want of calls.
    """

    key: str
    seconds: float
    limiter: int = 0

    __repr__ = shown


Manner = Literal["hit", "joined", "stale"]


@frozen
class CacheAnswered:
    """A call was answered from a cache, or by the request of another call.

    Attributes:
        how: ``"hit"``: young enough; ``"joined"``: by the request of an identical call;
            ``"stale"``: an old answer, because the API fails.
    """

    method: str
    route: str
    path: str
    key: str
    how: Manner

    __repr__ = shown


Event = (
    CallStarted
    | LimiterWaited
    | AttemptEnded
    | CallEnded
    | LimiterClosed
    | LimiterOpened
    | CacheAnswered
)
Observer = Callable[[Event], None]


def guarded(observer: Observer) -> Observer:
    """Return an observer whose exceptions are logged once and reach no call."""
    failed = False

    def tell(event: Event) -> None:
        nonlocal failed
        try:
            observer(event)
        except Exception:  # noqa: BLE001 - whatever the application's observer raises
            if not failed:
                failed = True
                _log.exception("the observer failed; its further failures are not logged")

    return tell
