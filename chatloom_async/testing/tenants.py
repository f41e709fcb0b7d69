"""Tenants: the workspaces a sandbox serves, found by key, each with its own quota.

Pure and without I/O; faults come on top, in `verdict`.
"""

from __future__ import annotations

import secrets

import attrs
from attrs import define, field

from chatloom_async.testing import rules
from chatloom_async.testing.quota import Meter, Quota
from chatloom_async.testing.rules import Reply
from chatloom_async.testing.workspaces import Workspace


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
        tenant = Tenant(workspace, rules.pages(workspace), holder.meter if holder else meter)
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
        key = rules.KEY_PREFIX + secrets.token_hex(16)
        self.add(attrs.evolve(self.find(name), key=key, revoked=False))
        return key

    def identify(self, key: str | None) -> Tenant | Reply:
        """Whose key this is, or the 401 for it."""
        tenant = self._by_key.get(key) if key is not None else None
        if tenant is None:
            return rules.refusal(key)
        return rules.unauthorized(rules.REVOKED_KEY) if tenant.workspace.revoked else tenant

    def over_quota(self, tenant: Tenant, now: float) -> Reply | None:
        """Count a request against the key's quota; the 429 when there is nothing left."""
        if tenant.meter is None or self.quota is None:
            return None
        wait = tenant.meter.admit(now)
        if not wait:
            return None
        header = self.quota.retry_after_header(wait)
        return rules.error(429, rules.RATE_LIMITED, {"Retry-After": header} if header else None)
