"""The API reference, sentence by sentence: each rule that touches a client, on real sockets."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from chatloom_async import (
    ApiKey,
    APIStatusError,
    AsyncChatloom,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ConnectionPool,
    InternalServerError,
    NotFoundError,
    RateLimit,
    RateLimitError,
    RedirectError,
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
MIDDLE = SandboxAgent("agt_middle", created_at="2025-06-01T10:00:00+02:00", position="center")
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


async def test_the_key_is_sent_on_every_request(sandbox: Sandbox, chatloom: AsyncChatloom) -> None:
    await chatloom.list_agents()
    await chatloom.get_allowed_domains(OLDEST.id)
    assert [request.workspace for request in sandbox.requests] == ["acme", "acme"]


async def test_authorization_is_the_default(sandbox: Sandbox, chatloom: AsyncChatloom) -> None:
    await chatloom.list_agents()
    headers = {name.lower(): value for name, value in sandbox.requests[0].headers.items()}
    assert headers["authorization"].startswith("Bearer")
    assert "x-api-key" not in headers


async def test_the_x_api_key_header_works_identically(sandbox: Sandbox) -> None:
    key = ApiKey(KEY, header="X-API-Key")
    async with AsyncChatloom(key, base_url=sandbox.base_url) as chatloom:
        assert len(await chatloom.list_agents()) == 3
    headers = {name.lower() for name in sandbox.requests[0].headers}
    assert "x-api-key" in headers
    assert "authorization" not in headers


@pytest.mark.parametrize("key", ["", "sk_live_1", "CLF_upper", "clf_"])
def test_a_key_without_the_clf_prefix_is_refused_before_any_request(key: str) -> None:
    with pytest.raises(ConfigurationError):
        AsyncChatloom(key)


async def test_an_old_key_stops_working(sandbox: Sandbox, chatloom: AsyncChatloom) -> None:
    await chatloom.list_agents()
    sandbox.rotate("acme")
    with pytest.raises(AuthenticationError):
        await chatloom.list_agents()


async def test_a_rotated_key_is_asked_for_and_the_call_succeeds(sandbox: Sandbox) -> None:
    current = KEY
    async with AsyncChatloom(lambda: current, base_url=sandbox.base_url) as chatloom:
        await chatloom.list_agents()
        current = sandbox.rotate("acme")
        assert len(await chatloom.list_agents()) == 3


def test_the_base_url_is_the_documented_one() -> None:
    assert "https://chatloom.app" in repr(AsyncChatloom(KEY))


def test_plain_http_is_refused_for_it_would_be_redirected() -> None:
    with pytest.raises(ConfigurationError, match="https"):
        AsyncChatloom(KEY, base_url="http://chatloom.app")


async def test_a_redirect_names_its_host(sandbox: Sandbox, chatloom: AsyncChatloom) -> None:
    sandbox.plant(Fault.status(308, headers={"Location": "https://chatloom.example/api"}))
    with pytest.raises(RedirectError, match=r"chatloom\.example"):
        await chatloom.list_agents()
    assert sandbox.count() == 1


async def test_agents_come_newest_first(chatloom: AsyncChatloom) -> None:
    assert [agent.id for agent in await chatloom.list_agents()] == [
        "agt_newest",
        "agt_middle",
        "agt_oldest",
    ]


async def test_every_documented_field_of_an_agent_is_there(chatloom: AsyncChatloom) -> None:
    agent = (await chatloom.list_agents())[2]
    assert (agent.id, agent.name, agent.status) == ("agt_oldest", "Support", "active")
    assert (agent.primary_color, agent.secondary_color) == ("#611F69", "#764ba2")
    assert (agent.position, agent.template) == ("bottom-right", "modern")
    assert agent.created_at == datetime(2025, 3, 1, 8, tzinfo=UTC)


async def test_an_undocumented_position_is_kept_as_text(chatloom: AsyncChatloom) -> None:
    assert (await chatloom.list_agents())[1].position == "center"


async def test_count_is_the_number_of_agents(chatloom: AsyncChatloom) -> None:
    agents = await chatloom.list_agents()
    assert agents.count == len(agents) == 3


async def test_domains_come_oldest_first(chatloom: AsyncChatloom) -> None:
    domains = await chatloom.get_allowed_domains(OLDEST.id)
    assert list(domains) == ["example.com", "support.example.com", "a.example.com"]


async def test_an_agent_without_domains_has_an_empty_list(chatloom: AsyncChatloom) -> None:
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


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequestError),
        (401, AuthenticationError),
        (404, NotFoundError),
        (429, RateLimitError),
        (500, InternalServerError),
    ],
)
async def test_every_documented_status_has_its_error(
    sandbox: Sandbox, status: int, kind: type[APIStatusError]
) -> None:
    sandbox.plant(Fault.status(status))
    once = RetryPolicy(attempts=1)
    async with AsyncChatloom(KEY, base_url=sandbox.base_url, retry=once) as chatloom:
        with pytest.raises(kind) as caught:
            await chatloom.list_agents()
    assert caught.value.status == status


async def test_an_unknown_key_is_unauthorized_at_once(sandbox: Sandbox) -> None:
    async with AsyncChatloom("clf_unknown", base_url=sandbox.base_url) as chatloom:
        with pytest.raises(AuthenticationError):
            await chatloom.list_agents()
    assert sandbox.count() == 1


@pytest.mark.parametrize("limit", [None, RateLimit()])
async def test_a_429_is_retried(sandbox: Sandbox, limit: RateLimit | None) -> None:
    sandbox.plant(Fault.status(429, retry_after=0.001))
    async with AsyncChatloom(
        KEY, base_url=sandbox.base_url, retry=QUICK, rate_limit=limit
    ) as chatloom:
        assert len(await chatloom.list_agents()) == 3
    assert [request.status for request in sandbox.requests] == [429, 200]


async def test_a_500_is_retried_with_backoff(sandbox: Sandbox, chatloom: AsyncChatloom) -> None:
    sandbox.plant(Fault.status(500, times=3))
    assert len(await chatloom.list_agents()) == 3
    assert [request.status for request in sandbox.requests] == [500, 500, 500, 200]


def test_the_default_pace_is_a_few_hundred_requests_per_minute() -> None:
    assert RateLimit().per_minute == 300


async def test_limits_hold_per_key_not_per_client(sandbox: Sandbox) -> None:
    async with ConnectionPool() as pool:
        first, second, other = (
            AsyncChatloom(key, base_url=sandbox.base_url, pool=pool)
            for key in (KEY, KEY, "clf_other")
        )
        for chatloom in (first, second, other):
            await chatloom.list_agents()
        sent = [chatloom.stats().limiter for chatloom in (first, second, other)]
    assert [limiter.sent for limiter in sent if limiter is not None] == [2, 2, 1]


async def test_a_future_endpoint_can_be_read(sandbox: Sandbox, chatloom: AsyncChatloom) -> None:
    sandbox.plant(Fault.status(200, body=b'{"messages": [1]}', path="/api/plugin/messages"))
    assert await chatloom.get_raw("/api/plugin/messages") == {"messages": [1]}


async def test_future_fields_are_kept(sandbox: Sandbox, chatloom: AsyncChatloom) -> None:
    sandbox.plant(Fault.status(200, body=b'{"domains": ["example.com"], "next": null}'))
    domains = await chatloom.get_allowed_domains(OLDEST.id)
    assert domains.extra == {"next": None}
