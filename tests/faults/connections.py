"""Connections that are refused, lost, half-open or silent; cookies and leftovers on kept ones."""

from attrs import evolve

from chatloom_async import (
    APIConnectionError,
    APITimeoutError,
    DeadlineExceededError,
    RetryPolicy,
)
from tests.faults.case import (
    OK,
    ONCE,
    TWICE,
    Case,
    Peer,
    Raises,
    Returns,
    answer,
    one,
    retried,
    says,
)
from tests.faults.server import Close, Flood, HalfClose, Hang, Pause, Reset

_GONE = Raises(APIConnectionError, "ended before an answer", {"reason": "disconnected"})
_LATE = Raises(APITimeoutError, "within 15 s", {"reason": "timeout"})
_STALE = Raises(APIConnectionError, "ended before an answer", {"reason": "stale"})
_HALF = answer()[:30]


def _late(case: Case) -> Case:
    return evolve(case, elapsed=(15.0, 15.1))


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
        "half-open: connected, never served", Peer(listening="accepts nothing"), _LATE, (15.0, 15.1)
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
    _late(one("never answering", _LATE, Hang())),
    _late(one("silent after the headers", _LATE, answer(200, b"", length=20), Hang())),
    _late(one("silent in the headers", _LATE, _HALF, Hang())),
    _late(one("100 over and over", _LATE, Flood(b"HTTP/1.1 100 Continue\r\n\r\n", 50), Hang())),
    evolve(
        one(
            "never answering, with a shorter timeout",
            Raises(APITimeoutError, "within 0.25 s"),
            Hang(),
        ),
        timeout=0.25,
        elapsed=(0.25, 0.3),
    ),
    evolve(
        one("never answering, tried twice", Raises(APITimeoutError), Hang()),
        timeout=1.0,
        retry=TWICE,
        requests=2,
        elapsed=(2.0, 2.1),
    ),
    evolve(
        one(
            "never answering, with a deadline",
            Raises(DeadlineExceededError, "within 2.5 s"),
            Hang(),
        ),
        timeout=1.0,
        retry=RetryPolicy(deadline=2.5),
        requests=3,
        elapsed=(2.5, 2.51),
    ),
    evolve(
        one("late, but in time", OK, Pause(14.9), answer()),
        elapsed=(14.9, 15.0),
    ),
    Case(
        "never answering, then an answer",
        ((Hang(),), (answer(),)),
        OK,
        requests=2,
        retry=TWICE,
        elapsed=(15.0, 15.1),
    ),
    Case(
        "reset, then an answer",
        ((Reset(),), (answer(),)),
        OK,
        requests=2,
        retry=TWICE,
    ),
    Case(
        "a kept connection is closed under the next request",
        ((answer(),), (Close(),), (answer(),)),
        OK,
        requests=2,
        retry=RetryPolicy(attempts=2, initial_delay=8.0),
        earlier_calls=1,
    ),
    Case(
        "a kept connection is reset under the next request",
        ((answer(),), (Reset(),), (answer(),)),
        OK,
        requests=2,
        retry=RetryPolicy(attempts=2, initial_delay=8.0),
        earlier_calls=1,
    ),
    Case(
        "a kept connection is closed and attempts=1 allows no second request",
        ((answer(),), (Close(),), (answer(),)),
        _STALE,
        retry=ONCE,
        earlier_calls=1,
    ),
    Case(
        "kept connections are closed again and again",
        ((answer(),), (Close(),)),
        Raises(APIConnectionError),
        requests=3,
        retry=RetryPolicy(attempts=3, initial_delay=0.01),
        earlier_calls=1,
    ),
    Case("an idle connection was closed", ((answer(), Close()), (answer(),)), OK, earlier_calls=1),
    Case(
        "a connection is kept",
        ((answer(),), (answer(),)),
        OK,
        earlier_calls=1,
        connections=0,
    ),
    Case(
        "Connection: close is honoured",
        ((answer(200, answer()[-51:], "Connection: close"),), (answer(),)),
        OK,
        earlier_calls=1,
        connections=1,
    ),
    Case(
        "a second answer nobody asked for is not the next one's",
        ((answer() + says({"domains": ["evil.example"]}),), (answer(),)),
        OK,
        earlier_calls=1,
    ),
    Case(
        "cookies are not kept",
        (
            (answer(200, answer()[-51:], "Set-Cookie: session=1; Path=/", "Set-Cookie: b=2"),),
            (answer(),),
        ),
        OK,
        earlier_calls=1,
    ),
    one(
        "cookies of every kind are ignored",
        OK,
        answer(200, answer()[-51:], "Set-Cookie: ", "Set-Cookie: =;;;", "Set-Cookie: a=\udcff"),
    ),
    evolve(one("raw answers a list", Returns([1]), says([1])), call="raw"),
)
