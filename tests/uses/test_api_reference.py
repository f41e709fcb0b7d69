"""The API reference, sentence by sentence: each rule that touches a client, on real sockets."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from chatloom_async import ApiKey, AsyncChatloom, AuthenticationError
from chatloom_async.testing import Sandbox, SandboxAgent, Workspace
from tests.clients import KEY

OLDEST = SandboxAgent(
    "agt_oldest",
    name="Support",
    created_at="2025-03-01T08:00:00.000Z",
    domains=("example.com", "support.example.com", "a.example.com"),
)
NEWEST = SandboxAgent("agt_newest", created_at="2026-01-15T09:00:00.000Z")
MIDDLE = SandboxAgent("agt_middle", created_at="2025-06-01T10:00:00+02:00")
DELETED = SandboxAgent("agt_deleted", status="deleted")


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox([Workspace("acme", KEY, (OLDEST, NEWEST, MIDDLE, DELETED))]) as sandbox:
        yield sandbox


@pytest.fixture
async def chatloom(sandbox: Sandbox) -> AsyncIterator[AsyncChatloom]:
    async with AsyncChatloom(KEY, base_url=sandbox.base_url) as chatloom:
        yield chatloom


@pytest.mark.parametrize(
    ("key", "sent"), [(KEY, "authorization"), (ApiKey(KEY, header="X-API-Key"), "x-api-key")]
)
async def test_every_request_has_the_key_once(
    sandbox: Sandbox, key: str | ApiKey, sent: str
) -> None:
    async with AsyncChatloom(key, base_url=sandbox.base_url) as chatloom:
        await chatloom.list_agents()
        await chatloom.get_allowed_domains(OLDEST.id)
    for request in sandbox.requests:
        names = {name.lower() for name in request.headers}
        assert names & {"authorization", "x-api-key"} == {sent}
        assert request.workspace == "acme"


async def test_a_rotated_key_works_where_asked_for(sandbox: Sandbox) -> None:
    current = KEY
    async with AsyncChatloom(lambda: current, base_url=sandbox.base_url) as chatloom:
        await chatloom.list_agents()
        current = sandbox.rotate("acme")
        assert len(await chatloom.list_agents()) == 3
        with pytest.raises(AuthenticationError):
            await chatloom.with_options(api_key=KEY).list_agents()


async def test_agents_and_domains_come_in_documented_order(chatloom: AsyncChatloom) -> None:
    agents = await chatloom.list_agents()
    assert [agent.id for agent in agents] == ["agt_newest", "agt_middle", "agt_oldest"]
    assert (agents.count, agents[2].name) == (3, "Support")
    assert agents[2].created_at == datetime(2025, 3, 1, 8, tzinfo=UTC)
    assert tuple(await chatloom.get_allowed_domains(OLDEST.id)) == OLDEST.domains
    assert tuple(await chatloom.get_allowed_domains(NEWEST.id)) == ()
