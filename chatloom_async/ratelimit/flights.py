"""How many attempts of a key may be in flight at the same time.

As long as nothing is known, this is what holds a key back: a first refusal then wastes no more than
what is in flight, and a slow server is asked slowly. Some servers limit nothing else (a pool of
workers): they refuse whatever comes on top of so many, and accept again when one is done.

Not here: limits over time (``ratelimit.bucket``, ``ratelimit.window``).
"""

from __future__ import annotations

from collections import deque

from attrs import define, field

_FIRST = 6.0  # in flight at first ("bucket 20/s burst 5": no more is refused at once)
_OPENING = 16.0  # in flight soon after ("first read": 50 agents at 100 ms in 0.5 s)
_PROVEN = 620  # answers, twice what is documented for a minute: there may be no limit at all …
_SHARE = 16  # … so one in flight for each 16 answers, but no faster than …
_FASTER = 0.5  # … so many more per answer ("no limit": 10,000 look-ups)
_SLOWLY = 1 / 16  # more in flight per answer, once something was refused ("bucket", slow servers)
_RENEWED = 1 / 8  # more per answer after a pause, up to the opening's count ("window", "bucket")
_LEAST = 3  # a refusal with fewer others in flight blames no count in flight ("bucket")
_ALIKE = 3  # refusals in a row with about as many in flight
_MANY = 8  # in flight: fewer are counted without an error ("bucket 20/s burst 5")
_NEAR, _SHRUNK = 0.8, 3  # of that count, and times: it may be some less ("20 in flight")
_CONFIRMED = 10  # answers for each in flight, after which a count in flight is no coincidence
_EXPLORED = 64  # answers for each in flight, after which one more is tried


@define(eq=False, repr=False)
class Flights:
    """The attempts in flight and their number at most.

    Attributes:
        room: so many may be in flight.
        out: the departures in flight.
        most: so many at a time the server accepts, as learned; None: it does not seem to count.

    """

    room: float = _FIRST
    most: int | None = None
    out: set[float] = field(factory=set)
    _proven: int = -1  # so many others were in flight with one that was accepted, since a refusal
    _counts: deque[int] = field(factory=lambda: deque(maxlen=_ALIKE))  # others at refusals
    _answers: int = 0  # since the last refusal
    _refused: bool = False
    _shrunk: int = 0  # how often it was corrected in a row
    _exploring: bool = False  # whether one more than it accepted is tried
    _before: tuple[float, bool] | None = None  # room and refusals before the first of some 503s
    _pardoned: bool = False  # whether nothing has to be begun with little
    _acquitted: bool = False  # it is not the count in flight that is limited

    def __len__(self) -> int:
        """Return how many are in flight."""
        return len(self.out)

    @property
    def full(self) -> bool:
        """Whether as many are in flight as may be."""
        return len(self.out) >= self.room

    @property
    def crowded(self) -> bool:
        """Whether as many are in flight as the server accepts at a time, as far as is known."""
        return self.most is not None and len(self.out) >= self.most

    def clear(self) -> None:
        """Forget those in flight: no answer will come."""
        self.out.clear()

    def back(self, departure: float) -> None:
        """Take note that one came back."""
        self.out.discard(departure)

    def since(self, departure: float) -> int:
        """Return how many of those in flight left at that time or later."""
        return sum(other >= departure for other in self.out)

    def accepted(self, departure: float) -> None:
        """Let more be in flight: one came back with a good answer."""
        self.out.discard(departure)
        self._answers += 1
        others, most = len(self.out), self.most
        if others > self._proven:  # noqa: PLR1730 - max() costs each answer three times as much
            self._proven = others
        if most is not None:
            if self._answers > _EXPLORED * most and self.room >= most:
                self._answers, self.most, self._exploring = 0, most + 1, True
            self.room = min(self.room + 1, self.most or most)
        elif self.room < _OPENING:
            self.room += _RENEWED if self._refused else 1.0
        elif self._refused:
            self.room += _SLOWLY
        elif self._answers > _PROVEN and self.room < self._answers / _SHARE:
            self.room += _FASTER

    def failed(self) -> None:
        """Let fewer be in flight, after an answer that was an error of the server's."""
        self.room = max(min(self.room, _FIRST), self.room - 1)

    def halve(self) -> None:
        """Let half as many be in flight, after a 503: it may be a refusal."""
        if self._before is None:
            self._before = self.room, self._refused
        self.room = max(_LEAST, self.room / 2)

    def refused(self, *, told: bool) -> None:
        """Take note of the refusal that closes the gate: are those in flight too many?

        ``told``: the server said when to come back, so it hardly counts those in flight.
        """
        self._refused, others = True, len(self.out)
        self._counts.append(others)
        if self.most is not None:
            lasted = self._answers > _CONFIRMED * self.most
            if self._exploring:
                self.most, self._exploring = self.most - 1, False
            elif others < self.most:  # refused all the same
                self._shrunk = 0 if lasted else self._shrunk + 1
                many = self.most >= _MANY
                near = many and others >= _NEAR * self.most and self._shrunk <= _SHRUNK
                self._acquitted = not (lasted or near)
                self.most = None if self._acquitted else max(1, min(others, self.most - 1))
            elif lasted or self.most > 1:
                self.most = others
        elif not self._acquitted and others >= _LEAST:
            alike = len(self._counts) == _ALIKE and max(self._counts) - min(self._counts) <= 1
            if alike or (others > self._proven and not told):
                self.most = others
        self._answers, self._proven = 0, -1

    @property
    def troubled(self) -> bool:
        """Whether there were 503s, of which it is not known what they mean."""
        return self._before is not None

    def pardon(self) -> None:
        """Go back to what it was before the 503s, if there were any: they were no refusals."""
        if self._before is not None:
            (self.room, self._refused), self.most = self._before, None
            self._pardoned = True

    def acquit(self) -> None:
        """Take note that one was refused with nothing else in flight."""
        self.most, self._acquitted = None, True

    def restart(self, room: float) -> None:
        """Go on with little in flight: it is not known what the server accepts."""
        if not self._pardoned:
            self.room = min(self.room, room)
        self._before, self._pardoned = None, False
