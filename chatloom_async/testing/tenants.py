"""Tenants: the workspaces a sandbox serves, found by key, each with its own quota.

Pure and without I/O; faults come on top, in `verdict`.
"""

from __future__ import annotations

import secrets

import attrs
from attrs import define, field, frozen

from chatloom_async.testing import api
from chatloom_async.testing.api import Reply
from chatloom_async.testing.faults import Drip, Fault, Mishap, PlantedFault
from chatloom_async.testing.quota import Meter, Quota
from chatloom_async.testing.records import NO_ANSWER
from chatloom_async.testing.workspaces import Workspace

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
        reply = api.answer(tenant.pages, method, path)
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


@define(eq=False)
class Tenant:
    """A workspace as served: its resources encoded once, what it has used of its quota."""

    workspace: Workspace
    pages: dict[str, Reply] = field(repr=False)
    meter: Meter | None


@define(eq=False)
class Tenants:
    """Every workspace of one sandbox, by name and by key."""

    quota: Quota | None = None
    _by_key: dict[str, Tenant] = field(factory=dict[str, Tenant], repr=False)

    def add(self, workspace: Workspace) -> None:
        """Take in a workspace, in place of one with the same name; ValueError for a key in use."""
        holder = self._by_key.get(workspace.key)
        if holder is not None and holder.workspace.name != workspace.name:
            names = f"{holder.workspace.name!r} and {workspace.name!r}"
            raise ValueError(f"workspaces {names} have the same key")
        meter = self.quota.meter() if self.quota is not None else None
        # A limit belongs to the key: what was used of it stays used.
        tenant = Tenant(workspace, api.pages(workspace), holder.meter if holder else meter)
        others = {k: t for k, t in self._by_key.items() if t.workspace.name != workspace.name}
        self._by_key = {**others, workspace.key: tenant}

    def find(self, name_or_key: str) -> Workspace:
        """The workspace of this name or key, else LookupError."""
        for key, tenant in self._by_key.items():
            if name_or_key in (key, tenant.workspace.name):
                return tenant.workspace
        raise LookupError("the sandbox has no workspace of this name or key")

    def revoke(self, name_or_key: str) -> None:
        """Refuse this workspace's key from now on."""
        self.add(attrs.evolve(self.find(name_or_key), revoked=True))

    def rotate(self, name: str) -> str:
        """Give this workspace a new key; "the old key stops working the moment"."""
        key = api.KEY_PREFIX + secrets.token_hex(16)
        self.add(attrs.evolve(self.find(name), key=key, revoked=False))
        return key

    def identify(self, key: str | None) -> Tenant | Reply:
        """Whose key this is, or the 401 for it."""
        tenant = self._by_key.get(key) if key is not None else None
        if tenant is None:
            return api.refusal(key)
        return api.unauthorized(api.REVOKED_KEY) if tenant.workspace.revoked else tenant

    def over_quota(self, tenant: Tenant, now: float) -> Reply | None:
        """Count a request against the key's quota; the 429 when there is nothing left."""
        if tenant.meter is None or self.quota is None:
            return None
        wait = tenant.meter.admit(now)
        if not wait:
            return None
        header = self.quota.retry_after_header(wait)
        return api.error(429, api.RATE_LIMITED, {"Retry-After": header} if header else None)
