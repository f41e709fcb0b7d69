"""Connections that are refused, lost, half-open or silent; cookies and leftovers on kept ones."""

from typing import Any

from attrs import evolve

from chatloom_async import APIConnectionError, APITimeoutError, DeadlineExceededError, RetryPolicy
from tests.faults.case import (
    AFTER_15_S,
    LATE,
    OK,
    TWICE,
    Case,
    Peer,
    Raises,
    Returns,
    answer,
    late,
    one,
    retried,
    says,
)
from tests.faults.server import Close, Flood, HalfClose, Hang, Pause, Reset, Script, Step

_GONE = Raises(APIConnectionError, "ended before an answer", {"reason": "disconnected"})
_STALE = Raises(APIConnectionError, "ended before an answer", {"reason": "stale"})
_HALF = answer()[:30]
_OK: Script = (answer(),)
_LATER = Case("later", ((Hang(),), _OK), OK, requests=2, retry=TWICE)


def _kept(name: str, sees: Raises | Returns, *scripts: Script, **more: Any) -> Case:
    """Make a case on the connection that an earlier call has left."""
    return Case(name, scripts, sees, earlier_calls=1, **more)


def _healed(name: str, end: Step) -> Case:
    """Make a case of a loss that is repeated at once, however long the backoff is."""
    patient = RetryPolicy(attempts=2, initial_delay=8.0)
    return _kept(name, OK, _OK, (end,), _OK, requests=2, retry=patient)


def _nowhere(name: str, peer: Peer, sees: Raises, elapsed: tuple[float, float]) -> Case:
    return Case(name, ((),), sees, requests=0, peer=peer, elapsed=elapsed)


_GREETED = Case("reset when accepted", ((),), _GONE, requests=0, peer=Peer(greeting=(Reset(),)))

CONNECTIONS: tuple[Case, ...] = (
    _nowhere(
        "refused",
        Peer(listening="refused"),
        Raises(APIConnectionError, "cannot connect to 127.0.0.1", {"reason": "connect"}),
        (0.0, 0.1),
    ),
    _nowhere(
        "connecting takes too long",
        Peer(listening="backlog full"),
        Raises(APITimeoutError, "connecting to 127.0.0.1 took longer than 5 s"),
        (5.0, 5.1),
    ),
    _nowhere(
        "half-open: connected, never served", Peer(listening="accepts nothing"), LATE, AFTER_15_S
    ),
    evolve(_GREETED, sees=Raises(APIConnectionError)),
    evolve(
        _GREETED,
        name="closed when accepted",
        sees=Raises(APIConnectionError, having={"reason": "disconnected"}),
        peer=Peer(greeting=(Close(),)),
        requests=0,
    ),
    one("closed without an answer", _GONE, Close()),
    one("reset without an answer", _GONE, Reset()),
    retried(one("closed without an answer, tried again", _GONE, Close())),
    retried(one("reset without an answer, tried again", _GONE, Reset())),
    one("closed in the status line", Raises(APIConnectionError), b"HTTP/1.", Close()),
    one("closed in the headers", Raises(APIConnectionError), _HALF, Close()),
    one("reset in the headers", Raises(APIConnectionError), _HALF, Reset()),
    one("half-closed without an answer", _GONE, HalfClose(), Hang()),
    one("half-closed after the answer", OK, answer(), HalfClose(), Hang()),
    one("closed after the answer", OK, answer(), Close()),
    one("reset after the answer", OK, answer(), Pause(0.01), Reset()),
    late("never answering", Hang()),
    late("silent after the headers", answer(200, b"", length=20), Hang()),
    late("silent in the headers", _HALF, Hang()),
    late("100 over and over", Flood(b"HTTP/1.1 100 Continue\r\n\r\n", 50), Hang()),
    one(
        "never answering, with a shorter timeout",
        Raises(APITimeoutError, "within 0.25 s"),
        Hang(),
        timeout=0.25,
        elapsed=(0.25, 0.3),
    ),
    one(
        "never answering, tried twice",
        Raises(APITimeoutError),
        Hang(),
        timeout=1.0,
        retry=TWICE,
        requests=2,
        elapsed=(2.0, 2.1),
    ),
    one(
        "never answering, with a deadline",
        Raises(DeadlineExceededError, "within 2.5 s"),
        Hang(),
        timeout=1.0,
        retry=RetryPolicy(deadline=2.5),
        requests=3,
        elapsed=(2.5, 2.51),
    ),
    one("late, but in time", OK, Pause(14.9), answer(), elapsed=(14.9, 15.0)),
    evolve(_LATER, name="never answering, then an answer", elapsed=AFTER_15_S),
    evolve(_LATER, name="reset, then an answer", scripts=((Reset(),), _OK)),
    _healed("a kept connection is closed under the next request", Close()),
    _healed("a kept connection is reset under the next request", Reset()),
    _kept(
        "a kept connection is closed and no second request allowed", _STALE, _OK, (Close(),), _OK
    ),
    _kept(
        "kept connections are closed again and again",
        Raises(APIConnectionError),
        _OK,
        (Close(),),
        requests=3,
        retry=RetryPolicy(attempts=3, initial_delay=0.01),
    ),
    _kept("an idle connection was closed", OK, (answer(), Close()), _OK),
    _kept("a connection is kept", OK, _OK, _OK, connections=0),
    _kept(
        "Connection: close is honoured",
        OK,
        (answer(200, answer()[-51:], "Connection: close"),),
        (answer(),),
        connections=1,
    ),
    _kept(
        "a second answer nobody asked for is not the next one's",
        OK,
        (answer() + says({"domains": ["evil.example"]}),),
        (answer(),),
    ),
    one(
        "cookies of every kind are ignored",
        OK,
        answer(200, answer()[-51:], "Set-Cookie: ", "Set-Cookie: =;;;", "Set-Cookie: a=\udcff"),
    ),
    one("raw answers a list", Returns([1]), says([1]), call="raw"),
)
