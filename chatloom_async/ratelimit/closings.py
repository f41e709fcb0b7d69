"""What the log and the observer are told of a gate.

Not here: the gates (``ratelimit.limiter``, ``ratelimit.common``).
"""

from __future__ import annotations

import logging
import random

from attrs import define, field

from chatloom_async.events import LimiterClosed, LimiterOpened, Observer

_log = logging.getLogger("chatloom_async")
_MANY, _LONG = 100, 10.0  # calls, seconds: so long a queue is worth a line in the log


@define(eq=False, repr=False)
class LimiterLog:
    """What the log and the observer are told; ``name`` stands for the key.

    One warning per closing, one line per opening and per long queue. ``error``: why the gate is
    closed, None while it is open.
    """

    name: str
    notify: Observer | None
    error: Exception | None = None
    # Drawn, for one observer may hear of several pools.
    _number: int = field(factory=lambda: random.getrandbits(62))

    def _tell(self, level: int, text: str, *values: object) -> None:
        _log.log(level, f"key %s: {text}", self.name, *values, extra={"chatloom_key": self.name})

    def closed(self, error: Exception, wait: float, *, outage: bool = False) -> None:
        """Tell that the gate was closed, for that many seconds at first, unless it is known."""
        if self.error is not None:
            return
        self.error = error
        reason = "the service fails" if outage else "rate limit reached"
        self._tell(logging.WARNING, "%s; gate closed, probe in %.1f s", reason, wait)
        if self.notify is not None:
            event = LimiterClosed(self.name, "outage" if outage else "refused", wait, self._number)
            self.notify(event)

    def opened(self, seconds: float, *, forgotten: bool = False) -> None:
        """Tell that the gate is open, after so many seconds, if it was closed.

        ``forgotten``: nobody uses it any more, which is no news for the log.
        """
        if self.error is None:
            return
        self.error = None
        if not forgotten:
            self._tell(logging.INFO, "gate open again after %.1f s", seconds)
        if self.notify is not None:
            self.notify(LimiterOpened(self.name, seconds, self._number))

    def queue(self, waiting: int, wait: float) -> bool:
        """Tell how many calls wait, for about how many seconds, if it is many or long."""
        if long := waiting > _MANY or wait > _LONG:
            self._tell(logging.INFO, "%d calls wait, for about %.0f s", waiting, wait)
        return long
