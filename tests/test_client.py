"""The client: its methods, its options, what clients share, and how they close."""

import asyncio
import copy
import json
import math
import weakref
from collections.abc import Callable
from typing import Any
from unittest.mock import AsyncMock, patch

import pytest
from attrs import define

from chatloom_async import (
    ApiKey,
    APITimeoutError,
    AsyncChatloom,
    AuthenticationError,
    ClientClosedError,
    ClientStatistics,
    ConfigurationError,
    Gap,
    NotFoundError,
    RateLimit,
    RetryPolicy,
)
from chatloom_async.testing import StubReply, StubTransport
from tests.clients import KEY, ONCE, OTHER, outcomes, scripted
from tests.faults.case import AGENT
from tests.virtual import now

pytestmark = pytest.mark.virtual
NO_AGENTS = StubReply({"agents": [], "count": 0})
SLOW = StubReply({"agents": [], "count": 0}, after=5.0)
DOWN = StubReply(status=503)


async def test_requests_are_gets_below_the_base_url() -> None:
    client, transport = scripted(
        NO_AGENTS,
        StubReply({"domains": []}),
        base_url="https://proxy.example/chatloom/",
    )
    await client.list_agents()
    await client.get_allowed_domains("a/b")
    agents = "https://proxy.example/chatloom/api/plugin/agents"
    asked = [(request.method, request.url) for request in transport.requests]
    assert asked == [("GET", agents), ("GET", f"{agents}/a%2Fb/allowed-domains")]


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        *(
            ("timeout", value, "timeout is a positive number of seconds")
            for value in (0, math.nan, math.inf, 10**400, "15", None, True)
        ),
        ("retry", None, "retry is a RetryPolicy"),
        ("rate_limit", 0, "rate_limit is a RateLimit"),
        ("cache", 60, "cache is a Cache"),
        ("api_key", "sk_1", "starts with clf_"),
        *(("pool", value, r"ConnectionPool\(session=…\)") for value in (object(), StubTransport)),
    ],
)
def test_an_option_that_cannot_work_is_refused(option: str, value: Any, told: str) -> None:
    client, transport = scripted()
    with pytest.raises(ConfigurationError, match=told):
        AsyncChatloom(**{"api_key": KEY, "pool": transport, option: value})
    if option != "pool":
        with pytest.raises(ConfigurationError, match=told):
            client.with_options(**{option: value})


@pytest.mark.parametrize("nothing", [None, ""])
def test_another_client_reads_no_key_from_environment(
    nothing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLOOM_API_KEY", OTHER)
    with pytest.raises(ConfigurationError, match="no API key"):
        scripted()[0].with_options(api_key=nothing)


async def test_another_client_differs_in_what_is_told_only() -> None:
    kept = {"timeout": 2, "retry": ONCE, "rate_limit": None, "base_url": "https://a.example"}
    client, transport = scripted(SLOW, SLOW, SLOW, **kept)
    other = client.with_options(retry=RetryPolicy(attempts=2, initial_delay=1e-6))
    for each, ended in ((other, 4), (client, 6)):
        with pytest.raises(APITimeoutError):
            await each.list_agents()
        assert now() == pytest.approx(ended, abs=0.001)
        assert each.stats().limiter is None
    for request in transport.requests:
        assert request.url.startswith("https://a.example/")
        assert request.fingerprint == ApiKey(KEY).fingerprint


@pytest.mark.parametrize(
    ("rate_limit", "took"), [(RateLimit(per_minute=60, burst=10), 20), (None, 0)]
)
async def test_the_rate_limit_paces_calls(rate_limit: RateLimit | None, took: float) -> None:
    client, _ = scripted(*[NO_AGENTS] * 30)
    await outcomes(client.with_options(rate_limit=rate_limit), 30)
    assert now() == pytest.approx(took, rel=0.05)


async def test_statistics_count_calls_requests_and_retries() -> None:
    client, _ = scripted(SLOW, StubReply(status=503), SLOW, StubReply(status=404))
    other = client.with_options(api_key=OTHER)
    assert client.stats() == ClientStatistics(0, 0, 0, 0, None)
    under_way = asyncio.create_task(other.list_agents())
    await asyncio.sleep(1)
    assert client.stats().in_flight == 1  # on the pool
    await under_way
    repeating = asyncio.create_task(client.list_agents())
    while client.stats().requests < 2:
        await asyncio.sleep(0.1)
    assert client.stats().retried == 1  # already while the call is under way
    await repeating
    with pytest.raises(NotFoundError):
        await client.list_agents()
    stats = client.stats()
    assert (stats.calls, stats.requests, stats.retried, stats.in_flight) == (2, 3, 1, 0)
    assert (other.stats().calls, other.stats().requests) == (1, 1)


async def test_async_with_closes_the_client_and_no_pool() -> None:
    client, transport = scripted(NO_AGENTS, NO_AGENTS)
    async with client as entered:
        assert entered is client
        await entered.list_agents()
    with pytest.raises(ClientClosedError):
        await client.list_agents()
    await AsyncChatloom(KEY, pool=transport).list_agents()
    assert (len(transport.requests), transport.closed) == (2, False)


async def test_closing_a_client_ends_its_own_calls() -> None:
    client, _ = scripted(StubReply(status=503, headers={"Retry-After": "60"}), SLOW)
    other = client.with_options(api_key=OTHER)
    task, theirs = (asyncio.create_task(each.list_agents()) for each in (client, other))
    await asyncio.sleep(1)
    await client.aclose()
    with pytest.raises(ClientClosedError, match="closed during the call") as caught:
        await task
    assert [attempt.outcome for attempt in caught.value.attempts] == ["503"]
    assert now() == 1
    assert len(await theirs) == 0


@pytest.mark.parametrize(
    ("key", "shown"), [(KEY, repr(ApiKey(KEY))), (lambda: KEY, "key from a callable")]
)
def test_a_client_shows_no_key(key: Any, shown: str) -> None:
    client = AsyncChatloom(key, pool=StubTransport([]), base_url="https://a.example/")
    assert repr(client) == f"AsyncChatloom({shown}, https://a.example)"


def listed(count: int) -> StubReply:
    agents = [AGENT | {"id": f"agt_{number}"} for number in range(1, count + 1)]
    return StubReply({"agents": agents, "count": count})


def domains(*names: str, after: float = 0.0) -> StubReply:
    return StubReply({"domains": list(names)}, after=after)


async def test_a_workspace_is_agents_with_domains_and_gaps() -> None:
    gone = StubReply({"error": "no"}, 404)
    client, _ = scripted(listed(3), domains("a.example"), gone, domains())
    workspace = await client.get_workspace()
    found = [(each.id, each.allowed_domains) for each in workspace.agents]
    assert found == [("agt_1", ("a.example",)), ("agt_2", None), ("agt_3", ())]
    assert workspace.gaps == (Gap("agt_2", "NotFoundError", 404, "no"),)
    assert (workspace.count, workspace.is_stale) == (3, False)
    assert (client.stats().calls, client.stats().requests) == (4, 4)
    plain = json.loads(json.dumps(workspace.to_dict()))
    assert plain["agents"][0]["allowed_domains"] == ["a.example"]


async def test_a_key_refused_meanwhile_is_one_gap() -> None:
    refused = StubReply(status=401, after=0.1)
    client, _ = scripted(listed(150), *[refused] * 101, rate_limit=None)
    workspace = await client.get_workspace()
    assert [(gap.agent, gap.status) for gap in workspace.gaps] == [(None, 401)]
    assert len(workspace.agents) == 150
    with pytest.raises(AuthenticationError):  # nothing can be listed
        await client.get_workspace()


async def test_a_deadline_is_for_a_whole_workspace() -> None:
    late = domains("a.example", after=2.0)
    brisk = RetryPolicy(deadline=5.0)
    client, transport = scripted(listed(350), *[late] * 350, retry=brisk, rate_limit=None)
    workspace = await client.get_workspace()
    assert now() == 5.0
    assert {gap.error for gap in workspace.gaps} == {"DeadlineExceededError"}
    assert len(workspace.gaps) == 150
    assert len(transport.requests) == 301  # what could not be answered in time was not sent


async def test_closing_ends_the_reading_of_a_workspace() -> None:
    client, _ = scripted(listed(2), SLOW, SLOW, retry=RetryPolicy(deadline=9.0))
    reading = asyncio.create_task(client.get_workspace())
    await asyncio.sleep(1)
    await client.aclose()
    assert {gap.error for gap in (await reading).gaps} == {"ClientClosedError"}
    assert now() == 1.0


@define(eq=False, init=False)
class Tenant(AsyncChatloom):
    name: str
    tags: list[str]
    __colour: str

    def __init__(self, key: str, name: str, **options: Any) -> None:
        super().__init__(key, **options)
        self.name, self.tags, self.__colour = name, ["a"], "red"

    def colour(self) -> str:
        return self.__colour


COPIES: list[Callable[[Any], Any]] = [
    copy.deepcopy,
    lambda client: copy.deepcopy({"settings": [client]})["settings"][0],
    copy.copy,
    lambda client: client.with_options(timeout=3.0),
]


@pytest.mark.parametrize("copied", COPIES)
async def test_a_copy_shares_only_the_pool(copied: Callable[[Any], Any]) -> None:
    transport = StubTransport([NO_AGENTS, NO_AGENTS])
    client = Tenant(KEY, "acme", pool=transport)
    await client.list_agents()
    twin = copied(client)
    await twin.list_agents()
    await twin.aclose()
    assert type(twin) is Tenant
    assert (twin.name, twin.tags, twin.colour()) == ("acme", ["a"], "red")
    assert client.stats().calls == twin.stats().calls == 1
    assert not transport.closed
    twin.tags.append("b")
    assert (client.tags == ["a"]) is (copied in COPIES[:2])
    assert weakref.ref(client)() is client


async def test_one_method_of_one_client_can_be_replaced() -> None:
    client: Any = scripted(NO_AGENTS)[0]
    with patch.object(client, "list_agents", AsyncMock(return_value=["patched"])):
        assert await client.list_agents() == ["patched"]
        assert await client.with_options(timeout=3.0).list_agents() == ["patched"]
    assert len(await client.list_agents()) == 0
