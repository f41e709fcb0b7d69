"""Tenants: the workspaces a sandbox serves, found by key, and what each request gets.

Pure and without I/O: carrying it out on a connection is ``delivery``'s business.
"""

import secrets
from functools import partial

import attrs
from attrs import define, field

from chatloom_async.testing import api
from chatloom_async.testing.api import Reply
from chatloom_async.testing.delivery import Delivery
from chatloom_async.testing.faults import PlantedFault
from chatloom_async.testing.quota import AppliedQuota
from chatloom_async.testing.workspaces import Workspace


@define(eq=False, repr=False)
class Tenants:
    """Every workspace of one sandbox, by name and by key; their quotas and faults."""

    quotas: list[AppliedQuota] = field(factory=list)
    planted: list[PlantedFault] = field(factory=list)
    _by_key: dict[str, tuple[Workspace, dict[str, Reply]]] = field(factory=dict)

    def add(self, workspace: Workspace) -> None:
        """Take in a workspace, in place of one with the same name; ValueError for a key in use."""
        others = {k: t for k, t in self._by_key.items() if t[0].name != workspace.name}
        if workspace.key in others:
            names = f"{others[workspace.key][0].name!r} and {workspace.name!r}"
            raise ValueError(f"workspaces {names} have the same key")
        self._by_key = {**others, workspace.key: (workspace, api.pages(workspace))}

    def find(self, name_or_key: str) -> Workspace:
        """The workspace of this name or key, else LookupError."""
        for workspace, _ in self._by_key.values():
            if name_or_key in (workspace.key, workspace.name):
                return workspace
        raise LookupError("the sandbox has no workspace of this name or key")

    def revoke(self, name_or_key: str) -> None:
        """Refuse this workspace's key from now on."""
        self.add(attrs.evolve(self.find(name_or_key), revoked=True))

    def rotate(self, name: str) -> str:
        """Give this workspace a new key; "the old key stops working the moment"."""
        key = api.KEY_PREFIX + secrets.token_hex(16)
        self.add(attrs.evolve(self.find(name), key=key, revoked=False))
        return key

    def delivery(  # noqa: PLR0913 - a request, whence it came and when: no part of it is optional
        self, key: str | None, address: str, method: str, path: str, *, now: float, wall: float
    ) -> Delivery:
        """Decide about a request: is the key known, has it quota left, does a fault strike."""
        workspace, pages = self._by_key.get(key or "", (None, {}))
        if key is None or workspace is None or workspace.revoked:
            delivery = Delivery(api.refusal(key, revoked=workspace is not None), None)
            self._strike(delivery, path)
            return delivery
        delivery = Delivery(api.answer(pages, method, path), workspace.name)
        told = dict[str, str]()
        for applied in self.quotas:
            if not applied.concerns(path, workspace.name):
                continue
            whose = address if applied.quota.address else key
            standing = applied.admit(whose, now, wall)
            if not standing.admitted:
                for give_back in delivery.held:
                    give_back()
                # A limiter stands in front of what fails: a refused request meets no fault.
                return Delivery(applied.quota.refusal(standing), workspace.name)
            delivery.held.append(partial(applied.done, whose))
            told |= applied.quota.headers(standing)
        self._strike(delivery, path)
        if told:
            headers = {**told, **delivery.reply.headers}
            delivery.reply = attrs.evolve(delivery.reply, headers=headers)
        return delivery

    def _strike(self, delivery: Delivery, path: str) -> None:
        """Change what is delivered as the first fault wants it that hits the request."""
        for planted in self.planted:
            if planted.strikes(path, delivery.workspace):
                delivery.wait = planted.fault.wait
                if isinstance(planted.fault.effect, Reply):
                    delivery.reply = planted.fault.effect
                else:
                    delivery.spoilt = planted.fault.effect
                return
