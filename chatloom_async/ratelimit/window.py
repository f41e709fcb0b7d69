"""A limit per window: so many requests in so many seconds, and all of them again in the next ones.

A log of departures is held against it: never more than ``worth`` within any ``span``. Windows that
begin with the first request, windows of the server's clock and moving windows are then one case.

The life of a window:

1. A pause as a window's is lets one be supposed. What got through before is its worth.
2. Where its end was guessed, a shorter span is tried, until that is refused.
3. A refusal near its end shows that requests overtake each other: the margin grows, and after that
   it is no window but a rate. A refusal far before its end makes it doubtful, and a probe that is
   sent soon shows whether it is worth less, is longer, or is none.
4. After 140 s without a refusal more than its worth is tried. What is accepted for a whole span
   refutes it, if it is much more.

Not here: the log (``ratelimit.departures``), and buckets (``ratelimit.bucket``).
"""

from __future__ import annotations

import math
from enum import Enum

from attrs import define, field

from chatloom_async.ratelimit.departures import Departures

ROUND = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0)  # seconds that people choose for windows
# Seconds between two probes after a minute of them ("fixed window, four processes": at 20 calls
# fail; at 5 a server that counts what it refuses never lets one in).
_OFTEN = 10.0
_GAP = 0.1  # seconds between two probes at the least
_MARGIN, _WIDEST = 0.03, 0.12  # seconds after a window's end: requests may overtake each other
_SHORT = 0.9  # of its worth: refused after less, it is no window, or not ours alone
_EMPTY = 0.1  # of its worth: a window that lets in less is none ("bucket 2/s burst 1")
SHORTEST = 0.8  # seconds: what comes back sooner is a bucket's ("503 in HTML, bucket 10/s")
_OVERTAKING = (
    9  # requests that may leave before a window ends and arrive after it ("four processes")
)
_SLOWER = 2.0  # times its span for its worth to come back: it is a bucket's ("20 keys, bucket 5/s")
_FAR = 4.0  # times at most: a pause may have been longer than needed ("counters 300/60 s")
_MORE = 1.3  # of its worth: less is not worth a change of mind
_USED_UP = 6  # in a sixth of the span a window is used up ("limit halves": less is in flight)
_PATIENT = 140.0  # seconds without a refusal, after which one more is tried ("limit doubles")


class Finding(Enum):
    """What a refusal says of a window."""

    WINDOW = "it is one"
    RATE = "it is none, but its worth per span is the rate"
    NOTHING = "it is none"


@define(eq=False, repr=False)
class LearnedWindow:
    """``worth`` requests within ``span`` seconds."""

    _departures: Departures
    span: float
    worth: int
    failed_first: int  # requests that were left out when its worth was counted
    began_at: float  # the first departure of the present window
    vain: float = 0.0  # seconds after its beginning at which a probe was refused
    refused_at: float = field(init=False)
    margin: float = _MARGIN
    trying: bool = False  # whether there is more by now
    shorter: float = 0.0  # a shorter span that is tried; 0: none
    doubted: bool = False  # whether the last refusal came far too early
    _proving: bool = False  # whether the present window began after the shorter span
    _disproved: bool = False  # whether it was refused for that
    _failed: int = 0  # requests in the present window
    _forgiving: bool = True  # whether the server does not count those that fail
    _began_before: float = 0.0  # the first departure of the window before
    _lengthened: bool = False
    _tried_at: float = 0.0

    def __attrs_post_init__(self) -> None:
        """Begin unrefuted."""
        self.refused_at = self.began_at

    @property
    def rate(self) -> float:
        """Requests per second, in the long run."""
        return self.worth / self.span

    def free_at(self) -> float:
        """Return when fewer than its worth lie within the last span."""
        return self._departures.last(self.worth) + (self.shorter or self.span) + self.margin

    def begin(self, departure: float) -> None:
        """Take note of the first departure of the next window.

        Where its end was guessed, the span may be shorter, down to when a probe was refused. The
        middle is tried, in whole seconds, until that is in vain.
        """
        self._began_before, self.began_at, self._failed = self.began_at, departure, 0
        if self.shorter and not self._proving:
            self._proving = True
            return
        if self.shorter:
            self.span, self.shorter, self._proving = self.shorter, 0.0, False
        middle = math.ceil(math.sqrt(min(self.vain, self.span) * self.span))
        middle = min(middle, math.ceil(self.span) - 1)
        if self.vain < middle < self.span:
            self.shorter = float(middle)

    def failed(self, departure: float) -> None:
        """Take one out of account that failed, as long as the server seems to do so too."""
        if self._forgiving:
            self._failed += 1
            self._departures.drop(departure)

    def due(self, after: float) -> float:
        """Return when the next attempt may leave, one having left at ``after``."""
        spaced = after + self.span / _USED_UP / self.worth
        return spaced if self.trying else max(spaced, self.free_at())

    def begin_trial(self, now: float) -> None:
        """Try for more, if the worth is used up and nothing was refused for long."""
        used_up = now < self.free_at() <= now + self.span
        if used_up and now > self.refused_at + _PATIENT and not self.trying:
            self.trying, self._tried_at = True, now

    def end_trial(self, now: float) -> bool:
        """End a trial that lasted for a span; tell whether the server accepted much more."""
        if not self.trying or now < self._tried_at + self.span:
            return False
        self.trying, self.refused_at = False, now
        return self._departures.count(now - self.span) > _MORE * self.worth

    def _got(self, sent_at: float) -> int:
        """Return how many were let in before that, in the same window."""
        return self._departures.count(max(sent_at - self.span, self.began_at), sent_at)

    def refuse(self, sent_at: float) -> None:
        """Take note of a refusal.

        Where far fewer than the worth were let in, it is doubtful whether it is a window at all;
        a probe that is sent soon will show.
        """
        got = self._got(sent_at)
        early = got < _SHORT * self.worth - 1
        if 0 < self.worth - got <= self._failed:
            self._forgiving, self._disproved = False, True
            self.worth += self.failed_first
        if self.shorter and (self._proving if early else sent_at > self.began_at + self.shorter):
            self.vain, self.shorter, self._disproved = math.inf, 0.0, True
        self._proving = False
        self.doubted = early and not self.trying and not self._disproved

    def correct(self, sent_at: float, vain: int, probe: float, *, told: bool) -> Finding:
        """Correct what is known by the last refusal, when all in flight came back.

        The first of these that is true decides. The refusal was the answer to a shorter span, or
        showed that failures count: that is taken back already. More was tried: the worth is what
        got through, if that is much more. It came far too early: the window is longer, worth less,
        or a rate. It came early by more than requests overtake each other: it is worth what got
        through. Else the margin grows, once, and then it is a rate.

        ``vain``: how many probes were refused in the meantime, before the one at ``probe``;
        ``told``: the server said when that one would be let in.
        """
        got, before = self._got(sent_at), self.refused_at
        tried, self.trying, self.refused_at = self.trying, False, sent_at
        empty, cycle = got < _EMPTY * self.worth, probe - self._began_before
        longer = told and probe - sent_at > _MORE * self.span and not self._lengthened
        if self._disproved:
            self._disproved = False
        elif tried:
            self.worth = got if got > _MORE * self.worth else self.worth
        elif self.doubted and empty and longer:
            return self._lengthen(cycle, told=True)
        elif self.doubted and self.margin == _WIDEST and sent_at < before + self.span:
            return self._evenly(before, sent_at, told=told)  # refused at once, again
        elif self.doubted and vain:  # it has to end all the same: it is worth less by now
            if empty:
                return self._lengthen(cycle, told=False)
            self.worth = max(got, self.worth // 2)
        elif got < self.worth - _OVERTAKING and not self.doubted:
            self.worth = got
        elif self.margin < _WIDEST:  # some left it and arrived in the next one, or the other way
            self.margin = _WIDEST
        else:
            return self._evenly(before, sent_at, told=told)
        return Finding.WINDOW if self.worth else Finding.NOTHING

    def _evenly(self, before: float, sent_at: float, *, told: bool) -> Finding:
        """Take note that its places come back one by one.

        Where a pause that was told let a bucket's store be taken for its worth, what came back
        since the refusal before tells how fast.
        """
        seconds = (sent_at - before) * self.worth / (self._departures.count(before, sent_at) + 1)
        if told and seconds > _SLOWER * self.span:
            self.span = min(seconds, _FAR * self.span)
        return Finding.RATE

    def _lengthen(self, cycle: float, *, told: bool) -> Finding:
        """Take the window for a longer one, once: the first one seen had begun before us."""
        if self._lengthened or cycle < _MORE * self.span:
            return Finding.NOTHING
        self.span, self._lengthened = round_down(cycle), True
        if told:  # seconds that were rounded up, so that it may have begun up to one earlier
            near = (step for step in ROUND if cycle - _GAP < step < cycle + 1)
            self.span = next(near, math.floor(cycle))
        return Finding.WINDOW


def round_up(seconds: float) -> float:
    """Return the next round time.

    After a whole minute there are others on the key, who use each window up as it begins, or the
    server counts what it refuses. When a window begins cannot be known, so the probes come evenly.
    """
    waited = seconds + _GAP
    if waited < ROUND[-1]:
        return next(step for step in ROUND if step > waited)
    return _OFTEN * (waited // _OFTEN + 1)


def round_down(seconds: float) -> float:
    """Return the longest round time that is not much longer; the time itself if none is near."""
    return max((step for step in ROUND if step <= seconds + 0.05), default=seconds)
