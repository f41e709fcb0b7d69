"""Planted faults: what a ``Sandbox`` does wrong on purpose, to which requests, and how often.

Faults are values. Carrying one out on a connection is ``delivery``'s business.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from random import Random

import attrs
from attrs import define, field, frozen
from attrs.validators import ge, gt, le, lt
from multidict import CIMultiDict

from chatloom_async.testing.api import Reply, default_error, matches


class Mishap(Enum):
    """Ways not to give the ordinary answer that need no further detail."""

    RESET = "the connection is reset (TCP RST) before any byte of an answer"
    DISCONNECT = "the connection is closed in good order, without an answer"
    CUT_BODY = "the connection is closed in the middle of the promised body"
    HANG = "no answer, until the client or the sandbox gives up"


@frozen
class Drip:
    """The ordinary answer, its body one byte at a time with ``pause`` seconds between."""

    pause: float = field(validator=[gt(0.0), lt(math.inf)])


Effect = Reply | Mishap | Drip | None
"""What happens instead of the ordinary answer; None: nothing, it only comes late."""


@frozen
class Fault:
    """Something to go wrong; made by the constructors below, narrowed by the methods after them.

    ``path`` is a path as on the wire or a shell pattern of it (None: every path), ``workspace`` a
    name (None: everybody, also without a valid key); ``wait`` is seconds before anything happens.
    Of the requests that it fits it strikes at most ``times`` (None: no end): only each ``nth`` one,
    or each with a ``probability``, drawn from a generator seeded with ``seed``.

    >>> Fault.status(503, times=2, retry_after=1)
    >>> Fault.reset(path="/api/plugin/agents/*").every(10)
    >>> Fault.delay(0.5, workspace="acme").sometimes(0.05, seed=7)
    """

    effect: Effect
    times: int | None = field(default=1, kw_only=True)
    path: str | None = field(default=None, kw_only=True)
    workspace: str | None = field(default=None, kw_only=True)
    wait: float = field(default=0.0, kw_only=True, validator=[ge(0.0), lt(math.inf)])
    nth: int = field(default=1, kw_only=True, validator=ge(1))
    probability: float = field(default=1.0, kw_only=True, validator=[gt(0), le(1)])
    seed: int = field(default=0, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if self.times is not None and (self.times < 1 or self.times % 1):
            raise ValueError(f"times is a whole number from 1, or None, not {self.times!r}")

    @classmethod
    def status(  # noqa: PLR0913 - what to send, and to whom: all of it reads best at once
        cls,
        status: int,
        *,
        times: int | None = 1,
        path: str | None = None,
        workspace: str | None = None,
        retry_after: float | str | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Fault:
        """Answer with this status, an error object as documented, and these extra headers.

        ``body`` takes the error object's place (give its Content-Type in ``headers`` when it is not
        JSON); ``retry_after`` is sent as given: seconds, or any text.
        """
        if not 200 <= status <= 599:  # noqa: PLR2004 - the statuses that end an exchange
            raise ValueError(f"a final status is 200 to 599, not {status!r}")
        extra = CIMultiDict(headers or {})
        if retry_after is not None:
            if "Retry-After" in extra:
                raise ValueError("give retry_after or a Retry-After header, not both")
            extra["Retry-After"] = str(retry_after)
        for name, value in extra.items():
            if not (name + value).isprintable():
                raise ValueError(f"header {name!r} carries a control character")
        ordinary = default_error(status)
        sent = CIMultiDict(ordinary.headers)
        sent.update(extra)
        reply = Reply(status, ordinary.body if body is None else body, sent)
        return cls(reply, times=times, path=path, workspace=workspace)

    @classmethod
    def reset(
        cls, *, times: int | None = 1, path: str | None = None, workspace: str | None = None
    ) -> Fault:
        """Reset the connection (TCP RST) before any byte of an answer."""
        return cls(Mishap.RESET, times=times, path=path, workspace=workspace)

    @classmethod
    def disconnect(
        cls, *, times: int | None = 1, path: str | None = None, workspace: str | None = None
    ) -> Fault:
        """Close the connection in good order, without an answer."""
        return cls(Mishap.DISCONNECT, times=times, path=path, workspace=workspace)

    @classmethod
    def cut_body(
        cls, *, times: int | None = 1, path: str | None = None, workspace: str | None = None
    ) -> Fault:
        """Send the ordinary head and half of the body it promises, then close."""
        return cls(Mishap.CUT_BODY, times=times, path=path, workspace=workspace)

    @classmethod
    def hang(
        cls, *, times: int | None = 1, path: str | None = None, workspace: str | None = None
    ) -> Fault:
        """Never answer, until the client goes away or the sandbox stops."""
        return cls(Mishap.HANG, times=times, path=path, workspace=workspace)

    @classmethod
    def malformed(
        cls,
        body: bytes = b'{"agents": [{"id": ',
        *,
        times: int | None = 1,
        path: str | None = None,
        workspace: str | None = None,
    ) -> Fault:
        """Answer 200 with a well-delivered body that is not what is documented."""
        return cls.status(200, times=times, path=path, workspace=workspace, body=body)

    @classmethod
    def delay(
        cls,
        seconds: float,
        *,
        times: int | None = 1,
        path: str | None = None,
        workspace: str | None = None,
    ) -> Fault:
        """Give the ordinary answer, that many seconds late."""
        return cls(None, times=times, path=path, workspace=workspace, wait=seconds)

    @classmethod
    def drip(
        cls,
        pause: float,
        *,
        times: int | None = 1,
        path: str | None = None,
        workspace: str | None = None,
    ) -> Fault:
        """Give the ordinary answer, its body one byte each ``pause`` seconds."""
        return cls(Drip(pause), times=times, path=path, workspace=workspace)

    def on(self, *, path: str | None = None, workspace: str | None = None) -> Fault:
        """The same fault for this path (or shell pattern) and workspace only."""
        return attrs.evolve(self, path=path or self.path, workspace=workspace or self.workspace)

    def every(self, n: int, *, times: int | None = None) -> Fault:
        """The same fault for each n-th request it fits, ``times`` times.

        None: as often as it was made to strike, or for ever if that was once.
        """
        often = self.times if times is None and self.times != 1 else times
        return attrs.evolve(self, nth=n, times=often)

    def sometimes(self, probability: float, *, seed: int = 0, times: int | None = None) -> Fault:
        """The same fault by chance, the same on every run with one seed; ``times`` as above."""
        often = self.every(self.nth, times=times)
        return attrs.evolve(often, probability=probability, seed=seed)

    def after(self, seconds: float) -> Fault:
        """The same fault, happening that many seconds after the request came in."""
        return attrs.evolve(self, wait=seconds)


@define(eq=False)
class PlantedFault:
    """A fault at work in one sandbox: how often it has been met and may still strike."""

    fault: Fault
    _met: int = field(default=0, init=False)
    _struck: int = field(default=0, init=False)
    _random: Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._random = Random(self.fault.seed)

    def strikes(self, path: str, workspace: str | None) -> bool:
        """Meet one request; whether it is hit."""
        fault = self.fault
        fits = fault.workspace in (None, workspace) and matches(path, fault.path)
        if self._struck == fault.times or not fits:
            return False
        self._met += 1
        hit = self._met % fault.nth == 0 and self._random.random() < fault.probability
        self._struck += hit
        return hit
