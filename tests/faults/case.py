"""A case: what the server does, what its caller must see, and what it may cost."""

import json
from collections.abc import Mapping
from typing import Any, Literal

from attrs import evolve, field, frozen

from chatloom_async import APITimeoutError, ChatloomError, RetryPolicy
from tests.faults.server import Script, Step

ONCE = RetryPolicy(attempts=1)
TWICE = RetryPolicy(attempts=2, initial_delay=0.01)

AGENT = {
    "id": "agt_1",
    "name": "Sales Assistant",
    "primaryColor": "#611F69",
    "secondaryColor": "#764ba2",
    "position": "bottom-right",
    "template": "modern",
    "status": "active",
    "createdAt": "2026-01-15T09:00:00.000Z",
}
DOMAINS = ("example.com", "support.example.com")
DOCUMENT = json.dumps({"domains": DOMAINS}).encode()


@frozen
class Raises:
    """The call's error: exactly this class, with these attributes, its text matching ``says``."""

    kind: type[ChatloomError]
    says: str = ""
    having: Mapping[str, object] = field(factory=dict)


Sees = Raises | tuple[str, ...]  # or the domains that come back


@frozen
class Peer:
    """What the client finds at the other end, besides the script."""

    listening: Literal["yes", "refused", "backlog full", "accepts nothing"] = "yes"
    certificate: Literal["none", "good", "unknown authority", "wrong host", "expired"] = "none"
    client_speaks_tls: bool = False
    proxy: Script | None = None
    proxy_refused: bool = False
    greeting: Script = ()


@frozen
class Case:
    """One row of the table; times are virtual seconds, memory is in bytes."""

    name: str
    scripts: tuple[Script, ...]
    sees: Sees
    requests: int = 1
    connections: int | None = None
    retry: RetryPolicy = ONCE
    after: float = 0.0  # how long it takes, or up to a tenth longer
    memory: int | None = None
    peer: Peer = Peer()
    earlier_calls: int = 0  # which the first scripts answer well

    def __str__(self) -> str:
        return self.name


OK = DOMAINS


def answer(
    status: int | str = 200,
    body: bytes = DOCUMENT,
    *headers: str,
    kind: str = "application/json",
    length: object = None,
) -> bytes:
    """Encode an answer; ``length`` None counts the body, "" sends no Content-Length."""
    lines = [f"HTTP/1.1 {status} Whatever", *headers]
    if kind:
        lines.append(f"Content-Type: {kind}")
    if length != "":
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


def says(value: object, *headers: str, status: int = 200) -> bytes:
    """Encode an answer with this JSON value."""
    return answer(status, json.dumps(value).encode(), *headers)


def chunked(*chunks: bytes, last: bytes = b"0\r\n\r\n") -> bytes:
    """Encode an answer in chunks, maybe with a wrong end."""
    head = answer(200, b"", "Transfer-Encoding: chunked", length="")
    return head + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + last


def one(name: str, sees: Sees, *steps: Step, **more: Any) -> Case:
    """Make the usual case: one script, one request, no retry, if nothing else is said."""
    return Case(name, (steps,), sees, **more)


LATE = Raises(APITimeoutError, "within 15 s", {"reason": "timeout"})


def late(name: str, *steps: Step) -> Case:
    """Make a case that the default timeout ends."""
    return one(name, LATE, *steps, after=15.0)


def retried(case: Case, times: int = 2) -> Case:
    """Return the case under a policy that tries twice, and how often that reaches the server."""
    return evolve(case, retry=TWICE, requests=times)
