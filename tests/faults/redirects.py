"""Redirects of every kind: none is followed, for the key would travel with it."""

from attrs import evolve

from chatloom_async import RedirectError
from tests.faults.case import TWICE, Case, Peer, Raises, answer, one


def _redirect(status: int, name: str, location: str, says: str) -> Case:
    sees = Raises(RedirectError, rf"^{status} .*{says}", {"status": status})
    case = one(f"{status} to {name}", sees, answer(status, b"", f"Location: {location}"))
    return evolve(case, retry=TWICE, connections=1)


_TARGETS = (
    ("the same host", "/api/plugin/agents", "another path"),
    ("another host", "http://127.0.0.1:9/", "127.0.0.1"),
)

REDIRECTS: tuple[Case, ...] = (
    *(_redirect(status, *target) for status in (301, 302, 303, 307, 308) for target in _TARGETS),
    _redirect(302, "https", "https://chatloom.example/x?y=1", "chatloom.example is not followed"),
    _redirect(302, "itself", "/api/plugin/agents/agt_1/allowed-domains", "another path"),
    _redirect(302, "a network path", "//127.0.0.1:9/", "127.0.0.1"),
    _redirect(302, "a place that repeats the key", "//clf_SecretOfTheFaultSuite.example/", ""),
    _redirect(302, "a host in other than ASCII", "https://bücher.example/", ""),
    *(
        one(
            f"{status} without a Location",
            Raises(RedirectError, f"^{status} a redirect to nowhere"),
            answer(status, b""),
        )
        for status in (300, 301, 304, 305)
    ),
    evolve(
        _redirect(301, "http from https", "http://127.0.0.1:9/", "127.0.0.1"),
        name="301 from https down to http",
        peer=Peer(certificate="good"),
    ),
)
