"""What a gate tells the log: that it closes, that it opens, and that many wait."""

from __future__ import annotations

import logging

from attrs import define

_log = logging.getLogger("chatloom_async")
_MANY, _LONG = 100, 10.0  # calls, seconds: worth a line


@define(eq=False)
class GateLog:
    """One warning per closing, one line per opening and per long queue; ``name`` tells the key."""

    name: str
    _announced: bool = False

    def closed(self, wait: float, *, outage: bool) -> None:
        """Tell that the gate was closed, for that many seconds at first."""
        reason = "the service fails" if outage else "rate limit reached"
        _log.warning("key %s: %s; gate closed, probe in %.1f s", self.name, reason, wait)

    def opened(self, shut: float) -> None:
        """Tell that the gate is open, after so many seconds."""
        _log.info("key %s: gate open again after %.1f s", self.name, shut)

    def queue(self, waiting: int, wait: float) -> None:
        """Tell, once per queue, how many calls wait and for about how many seconds."""
        if not self._announced and (waiting > _MANY or wait > _LONG):
            self._announced = True
            _log.info("key %s: %d calls wait, for about %.0f s", self.name, waiting, wait)

    def nobody_waits(self) -> None:
        """Take note that the queue ended."""
        self._announced = False
