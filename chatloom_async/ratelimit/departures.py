"""What has left: the departures that measurements count, those in flight, the user's ceiling.

Each process has its own ceiling. A store that several processes share is asked beside it, not in
its place.

Not here: limits over time, concluded from it (``ratelimit.bucket``, ``ratelimit.window``), and that
store (``ratelimit.shared``).
"""

from __future__ import annotations

import math
from bisect import bisect_left

from attrs import define, field

from chatloom_async.ratelimit.values import RateLimit

_KEPT = 120.0  # seconds; no documented limit looks further back than a minute
_REMEMBERED = (
    5000  # departures; a limit that lets more through in two minutes needs no longer memory
)
_AT_ONCE = 500  # of them are forgotten at once: one by one they would cost each departure more
_RESTED = 1.0  # seconds in which all was refilled and nobody left: the next one begins a burst
_MINUTE = 60.0  # seconds: the fair use that is documented is one "per minute"
# In quotes: the row of ``benchmarks.politeness`` that a constant decides.
_FIRST = 6.0  # in flight at first ("bucket 20/s burst 5": no more is refused at once)
_OPENING = 16.0  # in flight soon after ("first read": 50 agents at 100 ms in 0.5 s)
# After so many answers without a refusal there may be no limit at all. Then one may be in flight
# for each 16 answers, growing by half a one with each ("no limit": 10,000 look-ups).
_PROVEN, _SHARE, _FASTER = 620, 16, 0.5
_SLOWLY = 1 / 16  # more in flight per answer, once something was refused ("bucket", slow servers)
# More in flight per answer after a pause, up to the opening's count: so many for each second that
# the answer took, as slow servers give fewer answers, but no more than half a one.
_RENEWED, _MOST_RENEWED = 1.8, 0.5
_LEAST = 3  # in flight: with fewer a refusal blames no count, nor do 503s let it fall ("bucket")
_MANY = 8  # in flight: fewer are counted without an error ("bucket 20/s burst 5")
_SHRUNK = 3  # times in a row that a learned count is corrected; then it was none ("20 in flight")
_CURIOUS = 80  # answers for each in flight until one more is tried ("5 in flight")


@define(eq=False, repr=False)
class Departures:
    """The departures of the last two minutes in their order, without refusals and 503s."""

    _times: list[float] = field(factory=list)

    def add(self, departure: float) -> None:
        """Add the latest departure."""
        times = self._times
        times.append(departure)
        if times[0] < departure - _KEPT:
            del times[: 2 if times[1] < departure - _KEPT else 1]  # shorter, and nobody pays for it
        elif len(times) >= _REMEMBERED + _AT_ONCE:
            del times[:_AT_ONCE]

    def __contains__(self, departure: float) -> bool:
        """Tell whether it was added, and not taken out."""
        return self.count(departure, math.nextafter(departure, math.inf)) > 0

    def drop(self, departure: float) -> None:
        """Take out one that was refused."""
        if departure in self:
            del self._times[bisect_left(self._times, departure)]

    def count(self, since: float, before: float = math.inf) -> int:
        """Return how many left at ``since`` or later, and before ``before``."""
        times = self._times
        return bisect_left(times, before) - bisect_left(times, since)

    def last(self, number: int) -> float:
        """Return the last departure but ``number - 1``; -infinity if there were fewer."""
        times = self._times
        return times[-number] if len(times) >= number else -math.inf

    def known_since(self) -> float:
        """Return from when on nothing is missing."""
        times = self._times
        return times[0] if len(times) >= _REMEMBERED else -math.inf


@define(eq=False, repr=False)
class LearnedConcurrency:
    """The attempts in flight and their number at most.

    As long as nothing is known, this is what holds a key back: a first refusal then wastes no more
    than what is in flight, and a slow server is asked slowly. Some servers limit nothing else (a
    pool of workers): they refuse whatever comes on top of so many, and accept again when one is
    done. That is how their refusals are told from others: there are more in flight than ever were
    accepted, or some still when the probe is refused too. Whether it is true, the next refusal
    shows: it comes with as many in flight again.

    Attributes:
        room: so many may be in flight.
        out: the departures in flight, and how many others were when each left.
        most: so many at a time the server accepts, as learned; None: it does not seem to count.

    """

    room: float = _FIRST
    most: int | None = None
    out: dict[float, int] = field(factory=dict)
    _proven: int = -1  # so many others were in flight with one that was accepted, since a refusal
    _answers: int = 0  # since the last refusal
    _refused: bool = False
    _shrunk: int = 0  # how often ``most`` was corrected in a row
    _exploring: bool = False  # whether one more than it accepted is tried
    _before: tuple[float, bool] | None = None  # room, and whether refused, before the first of 503s
    _pardoned: bool = False  # the 503s were no refusals: the next pause lets it go on as it was
    _acquitted: bool = False  # it is not the count in flight that is limited

    @property
    def full(self) -> bool:
        """Whether as many are in flight as may be."""
        return len(self.out) >= self.room

    @property
    def crowded(self) -> bool:
        """Whether as many are in flight as the server accepts at a time, as far as is known."""
        return self.most is not None and len(self.out) >= self.most

    @property
    def troubled(self) -> bool:
        """Whether there were 503s, of which it is not known what they mean."""
        return self._before is not None

    def clear(self) -> None:
        """Forget those in flight: no answer will come."""
        self.out.clear()

    def back(self, departure: float) -> None:
        """Take note that one came back."""
        self.out.pop(departure, None)

    def since(self, departure: float) -> int:
        """Return how many of those in flight left at that time or later."""
        return sum(other >= departure for other in self.out)

    def accepted(self, now: float, departure: float) -> None:
        """Let more be in flight: one came back with a good answer."""
        others, most = self.out.pop(departure, 0), self.most
        self._answers += 1
        if others > self._proven:  # noqa: PLR1730 - max() costs each answer three times as much
            self._proven = others
        if most is not None:
            if self._answers > _CURIOUS * most and self.room >= most:
                self._answers, self.most, self._exploring = 0, most + 1, True
            self.room = min(self.room + 1, self.most or most)
        elif self.room < _OPENING:
            grown = min(_MOST_RENEWED, _RENEWED * (now - departure)) if self._refused else 1.0
            self.room += grown
        elif self._refused:
            self.room += _SLOWLY
        elif self._answers > _PROVEN and self.room < self._answers / _SHARE:
            self.room += _FASTER

    def allow(self, left: float) -> None:
        """Let as many be in flight as at the opening: the server tells that so many are left."""
        if self.most is None:
            self.room = max(self.room, min(left, _OPENING))

    def restart(self, room: float) -> None:
        """Go on with little in flight: it is not known what the server accepts."""
        if not self._pardoned:
            self.room = min(self.room, room)
        self._before, self._pardoned = None, False

    # -- what is no good answer

    def halve(self) -> None:
        """Let half as many be in flight, at least three, after a 503: it may be a refusal."""
        if self._before is None:
            self._before, self._refused = (self.room, self._refused), True
        self.room = min(self.room, max(_LEAST, self.room / 2))

    def pardon(self) -> None:
        """Go back to what it was before the 503s, if there were any: they were no refusals."""
        if self._before is not None:
            (self.room, self._refused), self.most = self._before, None
            self._pardoned = True

    def refused(self, *, told: bool) -> None:
        """Take note of a refusal, the first of those in flight: are these too many?

        ``told``: the server said when to come back, so it hardly counts those in flight.
        """
        self._refused, others = True, len(self.out)
        if self.most is not None:
            self._correct(others, self.most)
        elif others >= _LEAST and others > self._proven and not (self._acquitted or told):
            self.most = others
        self._answers, self._proven = 0, -1

    def _correct(self, others: int, most: int) -> None:
        """Correct the count by a refusal with so many others in flight."""
        if self._exploring:  # it was one too many
            self.most, self._exploring = most - 1, False
        elif others >= most:
            self.most = others
        else:  # refused all the same
            self._shrunk += 1
            self._acquitted = most < _MANY or self._shrunk > _SHRUNK
            self.most = None if self._acquitted else max(1, others)

    def refused_with_it(self) -> None:
        """Take note of another refusal of the same moment: it was none of those accepted."""
        if self.most is not None:
            self.most = max(1, self.most - 1)

    def acquit(self) -> None:
        """Look for no number at most: it is not what is limited, or not known."""
        self.most, self._acquitted = None, True

    def probe_refused(self) -> bool:
        """Take note that a probe was refused; tell whether those still in flight may be why."""
        others = len(self.out)
        if not others or self._acquitted or self._shrunk > _SHRUNK:
            self.acquit()
            return False
        self.most = min(others, self.most or others)
        self._shrunk += 1
        return True


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
