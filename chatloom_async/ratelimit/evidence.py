"""What speaks for one limit of all keys, and against it. No clock, no I/O.

Not here: the gate that goes by it (``ratelimit.common``).
"""

from __future__ import annotations

import math

from attrs import define, field

# In quotes beside a constant: the row of ``benchmarks.politeness`` that it decides.
_KEYS, _TOGETHER = 3, 1.0  # refused within so many seconds ("50 keys, one address")
_MODEST = 5  # accepted of a key in a minute: few keys' own limits are as low ("20 keys")
_QUIET = 60.0  # seconds after a mistake before the next one
# So many let in, in a row, show that the limits are the keys' own ("20 keys"). While a probe is in
# vain each counts as three: a limit of all keys would let nobody in (a mixed audit in test_run).
_SURE, _TRIPLE = 6, 3
_AGAIN, _MORE, _SELDOM = 0.5, 4, 15.0  # seconds to the next trial; each refused one makes it more


@define(eq=False, repr=False)
class Suspicion:
    """Whether there seems to be one limit of all keys.

    Attributes:
        accused: the keys that were refused together, though they had sent little.

    """

    accused: dict[str, float] = field(factory=dict)
    _quiet_until: float = -math.inf

    def refused(self, now: float, key: str, accepted: int) -> bool:
        """Take note of a refusal of a key that got so many through in the last minute."""
        if now < self._quiet_until or accepted > _MODEST:
            return False
        self.accused = {name: at for name, at in self.accused.items() if at > now - _TOGETHER}
        self.accused[key] = now
        return len(self.accused) >= _KEYS

    def was_wrong(self, now: float) -> None:
        """Suspect nothing for some time: the limits are the keys' own."""
        self._quiet_until = now + _QUIET


@define(eq=False, repr=False)
class Trial:
    """Attempts of keys that were not refused lately, while nobody would be let in.

    Under one limit of all keys they are refused; where each key has its own, they are let in.

    Attributes:
        at: when the next may be.
        vain: whether a probe was refused just before.

    """

    at: float = -math.inf
    vain: bool = False
    _pause: float = _AGAIN
    _let_in: int = 0

    def postpone(self, now: float) -> None:
        """Take note that nobody could ask."""
        self.at = now + _AGAIN

    def let_in(self) -> bool:
        """Take note of a good answer; tell whether it proves that the limits are the keys' own."""
        self._let_in += _TRIPLE if self.vain else 1
        return self._let_in >= _SURE

    def refused(self, now: float) -> None:
        """Take note of a refusal: the next trial is later."""
        self._let_in = 0
        if now >= self.at:
            self.at = now + self._pause
            self._pause = min(_MORE * self._pause, _SELDOM)
