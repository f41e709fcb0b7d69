"""The API reference, sentence by sentence: each rule that touches a client, on real sockets."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from chatloom_async import (
    ApiKey,
    AsyncChatloom,
    AuthenticationError,
    BadRequestError,
    NotFoundError,
    RetryPolicy,
)
from chatloom_async.testing import Fault, Sandbox, SandboxAgent, Workspace

KEY = "clf_reference"
FOREIGN = "agt_of_somebody_else"
QUICK = RetryPolicy(initial_delay=0.001, max_delay=0.001)

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
    workspaces = [
        Workspace("acme", KEY, (OLDEST, NEWEST, MIDDLE, DELETED)),
        Workspace("other", "clf_other", (SandboxAgent(FOREIGN),)),
    ]
    async with Sandbox(workspaces) as sandbox:
        yield sandbox


@pytest.fixture
async def chatloom(sandbox: Sandbox) -> AsyncIterator[AsyncChatloom]:
    async with AsyncChatloom(KEY, base_url=sandbox.base_url, retry=QUICK) as chatloom:
        yield chatloom


@pytest.mark.parametrize(
    ("key", "sent"), [(KEY, "authorization"), (ApiKey(KEY, header="X-API-Key"), "x-api-key")]
)
async def test_the_key_is_in_one_header_of_every_request(
    sandbox: Sandbox, key: str | ApiKey, sent: str
) -> None:
    async with AsyncChatloom(key, base_url=sandbox.base_url) as chatloom:
        await chatloom.list_agents()
        await chatloom.get_allowed_domains(OLDEST.id)
    for request in sandbox.requests:
        names = {name.lower() for name in request.headers}
        assert names & {"authorization", "x-api-key"} == {sent}
        assert request.workspace == "acme"


async def test_a_rotated_key_works_where_it_is_asked_for(sandbox: Sandbox) -> None:
    current = KEY
    async with AsyncChatloom(lambda: current, base_url=sandbox.base_url) as chatloom:
        await chatloom.list_agents()
        current = sandbox.rotate("acme")
        assert len(await chatloom.list_agents()) == 3
        with pytest.raises(AuthenticationError):
            await chatloom.with_options(api_key=KEY).list_agents()


async def test_agents_come_newest_first_and_are_counted(chatloom: AsyncChatloom) -> None:
    agents = await chatloom.list_agents()
    assert [agent.id for agent in agents] == ["agt_newest", "agt_middle", "agt_oldest"]
    assert agents.count == 3


async def test_every_documented_field_of_an_agent_is_there(chatloom: AsyncChatloom) -> None:
    agent = (await chatloom.list_agents())[2]
    assert (agent.id, agent.name, agent.status) == ("agt_oldest", "Support", "active")
    assert (agent.primary_color, agent.secondary_color) == ("#611F69", "#764ba2")
    assert (agent.position, agent.template) == ("bottom-right", "modern")
    assert agent.created_at == datetime(2025, 3, 1, 8, tzinfo=UTC)


async def test_domains_come_oldest_first(chatloom: AsyncChatloom) -> None:
    domains = await chatloom.get_allowed_domains(OLDEST.id)
    assert list(domains) == ["example.com", "support.example.com", "a.example.com"]
    assert len(await chatloom.get_allowed_domains(NEWEST.id)) == 0


@pytest.mark.parametrize("agent", [FOREIGN, "agt_nobody"])
async def test_an_agent_you_do_not_own_is_not_found(chatloom: AsyncChatloom, agent: str) -> None:
    with pytest.raises(NotFoundError):
        await chatloom.get_allowed_domains(agent)


async def test_an_error_carries_the_error_field_of_its_json(sandbox: Sandbox) -> None:
    sandbox.plant(Fault.status(400, body=b'{"error": "agentId must not be empty"}'))
    async with AsyncChatloom(KEY, base_url=sandbox.base_url) as chatloom:
        with pytest.raises(BadRequestError) as caught:
            await chatloom.list_agents()
    assert caught.value.message == "agentId must not be empty"


async def test_what_may_heal_is_retried(sandbox: Sandbox, chatloom: AsyncChatloom) -> None:
    sandbox.plant(Fault.status(500, times=2))
    sandbox.plant(Fault.status(429, retry_after=0.001))
    assert len(await chatloom.list_agents()) == 3
    assert [request.status for request in sandbox.requests] == [500, 500, 429, 200]
