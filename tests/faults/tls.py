"""TLS with every kind of wrong certificate, and proxies."""

from attrs import evolve

from chatloom_async import APIConnectionError, APITimeoutError
from tests.faults.case import OK, TWICE, Case, Peer, Raises, Sees, answer
from tests.faults.server import Close, Hang, Reset, Script, Step, Tunnel

_UNTRUSTED = Raises(APIConnectionError, "no trusted TLS connection", {"reason": "tls"})


def _tls(name: str, peer: Peer, sees: Sees = _UNTRUSTED, requests: int = 0) -> Case:
    # A refused certificate is refused tomorrow as well: no second connection.
    return Case(f"TLS {name}", ((answer(),),), sees, requests=requests, peer=peer, retry=TWICE)


def _cut(name: str, *greeting: Step) -> Case:
    # A balancer in front of a server that restarts does these: the next attempt may fare better.
    return Case(
        f"TLS with a server that {name}",
        ((),),
        Raises(APIConnectionError, "cannot connect to .*: [A-Z[]", {"reason": "connect"}),
        requests=0,
        peer=Peer(client_speaks_tls=True, greeting=(*greeting, Close())),
    )


def _says(text: str, reason: str) -> Raises:
    return Raises(APIConnectionError, text, {"reason": reason})


def _proxy(name: str, sees: Sees, *script: bytes | Close | Reset | Hang) -> Case:
    peer = Peer(certificate="good", proxy=(*script,))
    return Case(f"proxy {name}", ((answer(),),), sees, requests=0, peer=peer)


_THROUGH: Script = (Tunnel(),)
_BY_PROXY = _says("ended before an answer, by way of the proxy", "disconnected")

TLS: tuple[Case, ...] = (
    _tls("that is fine", Peer(certificate="good"), OK, 1),
    _tls("of an unknown authority", Peer(certificate="unknown authority")),
    _tls("for another host", Peer(certificate="wrong host")),
    _tls("with an expired certificate", Peer(certificate="expired")),
    _cut("speaks HTTP", answer(503, b"")),
    _cut("hangs up"),
    _cut("has an internal error", b"\x15\x03\x03\x00\x02\x02\x50"),
    evolve(_cut("says nothing", Hang()), sees=Raises(APITimeoutError), after=5.0),
    _tls("through a proxy", Peer(certificate="good", proxy=_THROUGH), OK, 1),
    _tls("of a wrong host behind a proxy", Peer(certificate="wrong host", proxy=_THROUGH)),
    _proxy("wants a password", _says("the proxy answered 407", "proxy"), answer(407, b"", "A: b")),
    _proxy("hangs up", _BY_PROXY, Close()),
    _proxy("answers nonsense", _says("what the proxy on", "protocol"), b"hello\r\n\r\n", Close()),
    evolve(
        _proxy("says nothing", Raises(APITimeoutError, "by way of the proxy"), Hang()),
        after=5.0,
    ),
    evolve(
        _proxy("refuses connections", _says("proxy", "connect")),
        peer=Peer(certificate="good", proxy=(), proxy_refused=True),
    ),
)
