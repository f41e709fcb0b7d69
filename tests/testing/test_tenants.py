"""Tenants: workspaces come, change their keys and go."""

import pytest

from chatloom_async.testing import Sandbox, Workspace
from tests.testing.asking import ACME, AGENTS, KEY, OTHER, statuses


async def test_rotating_replaces_a_key_even_a_revoked_one() -> None:
    async with Sandbox([ACME]) as sandbox:
        first = sandbox.rotate("acme")
        assert await statuses(sandbox, AGENTS) == [401]
        assert await statuses(sandbox, AGENTS, key=first) == [200]
        sandbox.revoke(first)
        assert await statuses(sandbox, AGENTS, key=sandbox.rotate("acme")) == [200]
    assert first.startswith("clf_")


@pytest.mark.parametrize("handle", ["acme", KEY])
async def test_a_revoked_key_is_refused(handle: str) -> None:
    async with Sandbox([ACME, OTHER]) as sandbox:
        sandbox.revoke(handle)
        assert await statuses(sandbox, AGENTS) == [401]
        assert await statuses(sandbox, AGENTS, key=OTHER.key) == [200]


@pytest.mark.parametrize("verb", ["revoke", "rotate"])
def test_an_unknown_workspace_is_a_lookup_error(verb: str) -> None:
    with pytest.raises(LookupError):
        getattr(Sandbox([ACME]), verb)("nobody")


def test_two_workspaces_with_one_key_are_refused() -> None:
    with pytest.raises(ValueError, match="acme") as caught:
        Sandbox([ACME, Workspace("copy", KEY)])
    assert KEY not in str(caught.value)
