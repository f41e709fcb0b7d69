"""Connections that are refused, lost, half-open or silent; cookies and leftovers on kept ones."""

from typing import Any

from attrs import evolve

from chatloom_async import APIConnectionError, APITimeoutError, DeadlineExceededError, RetryPolicy
from tests.faults.case import (
    DOCUMENT,
    LATE,
    OK,
    TWICE,
    Case,
    Peer,
    Raises,
    Sees,
    answer,
    late,
    one,
    retried,
    says,
)
from tests.faults.server import Close, Flood, Hang, Pause, Reset, Script, Step

_GONE = Raises(APIConnectionError, "ended before an answer", {"reason": "disconnected"})
_STALE = Raises(APIConnectionError, "ended before an answer", {"reason": "stale"})
_HALF = answer()[:30]
_OK: Script = (answer(),)
_REFUSED = Raises(APIConnectionError, "cannot connect to 127.0.0.1", {"reason": "connect"})
_SLOW = Raises(APITimeoutError, "connecting to 127.0.0.1 took longer than 5 s")
_LOST = Raises(APIConnectionError, having={"reason": "disconnected"})
_ENDED = Raises(APIConnectionError)
_OVERDUE = Raises(DeadlineExceededError, "within 40 s")
_ERROR = answer(500, b"x" * 60_000)
_CLOSING = answer(200, DOCUMENT, "Connection: close")
_EVIL = says({"domains": ["evil.example"]})
_COOKIES = ("Set-Cookie: ", "Set-Cookie: =;;;", "Set-Cookie: a=\udcff")


def _kept(name: str, sees: Sees, *scripts: Script, **more: Any) -> Case:
    """Make a case on the connection that an earlier call has left."""
    return Case(name, scripts, sees, earlier_calls=1, **more)


def _healed(name: str, end: Step) -> Case:
    """Make a case of a loss that is repeated at once, however long the backoff is."""
    patient = RetryPolicy(attempts=2, initial_delay=8.0)
    return _kept(name, OK, _OK, (end,), _OK, requests=2, retry=patient)


def _nowhere(name: str, peer: Peer, sees: Raises, after: float = 0.0) -> Case:
    return Case(name, ((),), sees, requests=0, peer=peer, after=after)


CONNECTIONS: tuple[Case, ...] = (
    _nowhere("refused", Peer("refused"), _REFUSED),
    _nowhere("connecting takes too long", Peer("backlog full"), _SLOW, 5.0),
    _nowhere("connected, never served", Peer("accepts nothing"), LATE, 15.0),
    _nowhere("reset when accepted", Peer(greeting=(Reset(),)), _ENDED),
    _nowhere("closed when accepted", Peer(greeting=(Close(),)), _LOST),
    retried(one("closed without an answer, tried again", _GONE, Close())),
    retried(one("reset without an answer, tried again", _GONE, Reset())),
    one("closed in the headers", _ENDED, _HALF, Close()),
    one("reset in the headers", _ENDED, _HALF, Reset()),
    one("reset after the answer", OK, answer(), Pause(0.01), Reset()),
    late("silent after the headers", answer(200, b"", length=20), Hang()),
    late("silent in the headers", _HALF, Hang()),
    late("100 over and over", Flood(b"HTTP/1.1 100 Continue\r\n\r\n", 50), Hang()),
    evolve(late("never answering, twice", Hang()), retry=TWICE, requests=2, after=30.0),
    evolve(
        one("never answering, with a deadline", _OVERDUE, Hang()),
        retry=RetryPolicy(deadline=40.0),
        requests=3,
        after=40.0,
    ),
    one("late, but in time", OK, Pause(14.9), answer(), after=14.9),
    Case("silent, then an answer", ((Hang(),), _OK), OK, requests=2, retry=TWICE, after=15.0),
    _healed("a kept connection is closed under the next request", Close()),
    _healed("a kept connection is reset under the next request", Reset()),
    _kept("a kept connection is closed under the only request", _STALE, _OK, (Close(),), _OK),
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
    Case("kept after an error", ((_ERROR,), _OK), OK, requests=2, connections=1, retry=TWICE),
    _kept("Connection: close is honoured", OK, (_CLOSING,), _OK, connections=1),
    _kept("an answer nobody asked for is not the next one's", OK, (answer() + _EVIL,), _OK),
    _kept("nor is one that comes later", OK, (answer(), Pause(0.02), _EVIL), _OK, connections=1),
    one("cookies of every kind are ignored", OK, answer(200, DOCUMENT, *_COOKIES)),
)
