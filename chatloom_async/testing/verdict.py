"""Verdicts: what happens to one request, once its key, its quota and the faults have spoken.

Pure and without I/O; the verdict is carried out by `delivery`.
"""

from __future__ import annotations

from attrs import define, field, frozen

from chatloom_async.testing import rules
from chatloom_async.testing.faults import Drip, Fault, Mishap, PlantedFault
from chatloom_async.testing.records import NO_ANSWER
from chatloom_async.testing.rules import Reply
from chatloom_async.testing.tenants import Tenants

_SILENT = (Mishap.RESET, Mishap.DISCONNECT, Mishap.HANG)


@frozen
class Verdict:
    """This reply, after `wait` seconds, spoilt in this way; to this workspace, if to any."""

    reply: Reply
    workspace: str | None
    wait: float = 0.0
    spoilt: Mishap | Drip | None = None

    @property
    def status(self) -> int:
        """The status the client will see; 0 when it gets no answer."""
        return NO_ANSWER if self.spoilt in _SILENT else self.reply.status


@define(eq=False)
class Judge:
    """Decides, in this order: is the key known, has it quota left, does a fault strike."""

    tenants: Tenants
    latency: float = 0.0
    _planted: list[PlantedFault] = field(factory=list[PlantedFault], init=False)

    def plant(self, fault: Fault) -> None:
        """Let this fault strike, after those planted before it."""
        self._planted.append(PlantedFault(fault))

    def verdict(self, key: str | None, method: str, path: str, now: float) -> Verdict:
        """Decide about one request that came in at `now` (seconds, for the quota)."""
        tenant = self.tenants.identify(key)
        if isinstance(tenant, Reply):
            return self._struck(Verdict(tenant, None, self.latency), path)
        name = tenant.workspace.name
        # A limiter stands in front of what fails: a refused request meets no fault.
        refused = self.tenants.over_quota(tenant, now)
        if refused is not None:
            return Verdict(refused, name, self.latency)
        reply = rules.answer(tenant.pages, method, path)
        return self._struck(Verdict(reply, name, self.latency), path)

    def _struck(self, verdict: Verdict, path: str) -> Verdict:
        for planted in self._planted:
            if planted.strikes(path, verdict.workspace):
                if planted.spent:
                    self._planted.remove(planted)
                return _changed(verdict, planted.fault)
        return verdict


def _changed(verdict: Verdict, fault: Fault) -> Verdict:
    wait = verdict.wait + fault.wait
    if isinstance(fault.effect, Reply):
        return Verdict(fault.effect, verdict.workspace, wait)
    return Verdict(verdict.reply, verdict.workspace, wait, fault.effect)
