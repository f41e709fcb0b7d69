"""What has left: the log that measurements count, what is in flight, and the user's ceiling.

Each process has its own ceiling. A store that several processes share is asked beside it, not in
its place.

Not here: limits over time, concluded from the log (``ratelimit.bucket``, ``ratelimit.window``), and
that store (``ratelimit.shared``).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque

from attrs import define, field

from chatloom_async.ratelimit.values import RateLimit

_KEPT = 120.0  # seconds; no documented limit looks further back than a minute
_MOST = 5000  # departures; a limit that lets more through in two minutes needs no longer memory
# In quotes: the row of ``benchmarks.politeness`` that a constant decides.
_FIRST = 6.0  # in flight at first ("bucket 20/s burst 5": no more is refused at once)
_OPENING = 16.0  # in flight soon after ("first read": 50 agents at 100 ms in 0.5 s)
# After so many answers without a refusal there may be no limit at all. Then one may be in flight
# for each 16 answers, growing by half a one with each ("no limit": 10,000 look-ups).
_PROVEN, _SHARE, _FASTER = 620, 16, 0.5
_SLOWLY = 1 / 16  # more in flight per answer, once something was refused ("bucket", slow servers)
_RENEWED = 1 / 8  # more per answer after a pause, up to the opening's count ("window", "bucket")
_LEAST = 3  # in flight: with fewer a refusal blames no count, nor do 503s let it fall ("bucket")
_ALIKE = 3  # refusals in a row with about as many in flight
_MANY = 8  # in flight: fewer are counted without an error ("bucket 20/s burst 5")
# Refused with at least this share of the learned count in flight, the count is corrected, so often
# in a row; then, or with fewer, it was none ("20 in flight").
_NEAR, _SHRUNK = 0.8, 3
_CONFIRMED = 10  # answers for each in flight, after which a count in flight is no coincidence
_EXPLORED = 64  # answers for each in flight, after which one more is tried
_RESTED = 1.0  # seconds in which all was refilled and nobody left: the next one begins a burst
_MINUTE = 60.0  # seconds: the fair use that is documented is one "per minute"


@define(eq=False, repr=False)
class DepartureLog:
    """The departures of the last two minutes in their order, without refusals and 503s."""

    _departures: deque[float] = field(factory=lambda: deque(maxlen=_MOST))

    def add(self, departure: float) -> None:
        """Add the latest departure."""
        departures = self._departures
        departures.append(departure)
        if departures[0] < departure - _KEPT:
            departures.popleft()
            if departures[0] < departure - _KEPT:
                departures.popleft()  # two for one: it gets shorter, and nobody pays for it

    def drop(self, departure: float) -> None:
        """Take out one that was refused."""
        index = bisect_left(self._departures, departure)
        if index < len(self._departures) and self._departures[index] == departure:
            del self._departures[index]

    def count(self, since: float, before: float = math.inf) -> int:
        """Return how many left at ``since`` or later, and before ``before``."""
        departures = self._departures
        return bisect_left(departures, before) - bisect_left(departures, since)

    def last(self, number: int) -> float:
        """Return the last departure but ``number - 1``; -infinity if there were fewer."""
        departures = self._departures
        return departures[-number] if len(departures) >= number else -math.inf

    def known_since(self) -> float:
        """Return from when on nothing is missing."""
        departures = self._departures
        return departures[0] if len(departures) == _MOST else -math.inf


@define(eq=False, repr=False)
class Flights:
    """The attempts in flight and their number at most.

    As long as nothing is known, this is what holds a key back: a first refusal then wastes no more
    than what is in flight, and a slow server is asked slowly. Some servers limit nothing else (a
    pool of workers): they refuse whatever comes on top of so many, and accept again when one is
    done.

    Attributes:
        room: so many may be in flight.
        out: the departures in flight.
        most: so many at a time the server accepts, as learned; None: it does not seem to count.

    """

    room: float = _FIRST
    most: int | None = None
    out: set[float] = field(factory=set)
    _proven: int = -1  # so many others were in flight with one that was accepted, since a refusal
    _counts: tuple[int, ...] = ()  # others at refusals
    _answers: int = 0  # since the last refusal
    _refused: bool = False
    _shrunk: int = 0  # how often it was corrected in a row
    _exploring: bool = False  # whether one more than it accepted is tried
    _before: tuple[float, bool] | None = None  # room, and whether refused, before the first of 503s
    _pardoned: bool = False  # the 503s were no refusals: the next pause lets it go on as it was
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
        """Let one fewer be in flight, down to the first six, after an error of the server's."""
        self.room = max(min(self.room, _FIRST), self.room - 1)

    def halve(self) -> None:
        """Let half as many be in flight, at least three, after a 503: it may be a refusal."""
        if self._before is None:
            self._before = self.room, self._refused
        self.room = max(_LEAST, self.room / 2)

    def refused(self, *, told: bool) -> None:
        """Take note of the refusal that closes the gate: are those in flight too many?

        ``told``: the server said when to come back, so it hardly counts those in flight.
        """
        self._refused, others = True, len(self.out)
        self._counts = (*self._counts, others)[-_ALIKE:]
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


@define(eq=False, repr=False)
class Ceiling:
    """What is left of a limit; is told the time of each departure.

    A minute that begins with a burst holds no more than ``per_minute`` or the burst, so that it
    stays within "a few hundred". What refills in that minute is kept for people until it is over.
    """

    limit: RateLimit
    _interval: float = field(init=False)  # seconds that one departure uses up
    _most: float = field(init=False)  # departures of bulk in a minute that begins with a burst
    _paid: float = -math.inf  # up to when all is used
    _began: float = -math.inf  # the departure with which the latest burst began
    _used: int = 0  # departures since then

    def __attrs_post_init__(self) -> None:
        """Begin with a whole burst."""
        per_minute = self.limit.per_minute
        self._interval = 60 / per_minute if per_minute else 0.0
        self._most = max(per_minute, self.limit.burst) if per_minute else math.inf

    def pay(self, departure: float) -> float:
        """Take note of a departure; return when the next one may leave."""
        if not self._interval:
            return -math.inf
        if departure > self._paid + _RESTED:
            self._began, self._used = departure, 0
        self._paid = max(self._paid, departure) + self._interval
        self._used += 1
        return self.opens_at()

    def opens_at(self, waiting: int = 1, *, urgent: bool = False) -> float:
        """Return when the last of so many that wait may leave."""
        opens_at = self._paid + (waiting - self.limit.burst) * self._interval
        if urgent or self._used + waiting <= self._most:
            return opens_at
        return max(opens_at, self._began + _MINUTE)

    def is_whole(self, now: float) -> bool:
        """Tell whether nothing is used any more."""
        return self._paid <= now
