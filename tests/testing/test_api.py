"""The sandbox says what the API reference says, section by section."""

import pytest

from chatloom_async.testing import Sandbox, SandboxAgent, Workspace
from tests.faults.case import AGENT
from tests.testing.asking import ACME, AGENTS, KEY, OTHER, Answer, ask, domains_of

GONE = SandboxAgent("agt_gone", status="deleted", domains=("example.com",))
ODD = SandboxAgent("a/b?c#d% é", domains=("odd.example",))
SPLIT = SandboxAgent("a/b", domains=("split.example",))
SERVED = Workspace("acme", KEY, (*ACME.agents, GONE, ODD, SPLIT))
REVOKED = Workspace("gone", "clf_gone", revoked=True)


async def served(path: str, *headers: str, method: str = "GET", key: str | None = KEY) -> Answer:
    async with Sandbox([SERVED, OTHER, REVOKED]) as sandbox:
        return await ask(sandbox, path, *headers, method=method, key=key)


async def test_agents_come_newest_first_without_deleted_ones() -> None:
    answer = (await served(AGENTS)).json
    # By creation time, not by its spelling: offsets differ.
    ids = [agent["id"] for agent in answer["agents"]]
    assert ids == ["agt_3", "agt_2", "agt_1", ODD.id, SPLIT.id]
    assert answer["count"] == 5
    assert answer["agents"][2] == AGENT


@pytest.mark.parametrize(
    ("segment", "domains"),
    [
        ("agt_1", ["example.com", "support.example.com", "a.example.com"]),
        ("agt_2", []),
        ("a%2Fb%3Fc%23d%25%20%C3%A9", ["odd.example"]),
        ("a%2fb%3fc%23d%25%20%c3%a9", ["odd.example"]),
    ],
)
async def test_domains_come_oldest_first_and_alone(segment: str, domains: list[str]) -> None:
    assert (await served(domains_of(segment))).json == {"domains": domains}


async def test_head_answers_like_get_without_the_body() -> None:
    answer = await served(AGENTS, method="HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["Content-Length"]) > 0


@pytest.mark.parametrize("path", [AGENTS + "?page=2", "http://elsewhere.example" + AGENTS])
async def test_a_query_and_a_whole_url_are_understood(path: str) -> None:
    assert (await served(path)).json["count"] == 5


@pytest.mark.parametrize(
    ("headers", "agents"),
    [
        ([f"Authorization: Bearer {KEY}"], 5),
        ([f"authorization: bearer {KEY}"], 5),
        ([f"AUTHORIZATION: BEARER   {KEY}"], 5),
        ([f"X-API-Key: {KEY}"], 5),
        ([f"x-api-key: {KEY}"], 5),
        ([f"Authorization: Bearer {KEY}", "X-API-Key: clf_other"], 5),
        (["Authorization: Bearer", "X-API-Key: clf_other"], 2),
        (["Authorization: Basic dTpw", "X-API-Key: clf_other"], 2),
        ([f"Authorization: {KEY}", "X-API-Key: clf_other"], 2),
    ],
)
async def test_the_bearer_token_counts_first(headers: list[str], agents: int) -> None:
    assert (await served(AGENTS, *headers)).json["count"] == agents


@pytest.mark.parametrize("path", [AGENTS, domains_of("agt_1"), "/elsewhere"])
async def test_a_request_without_key_gets_the_documented_sentence(path: str) -> None:
    answer = await served(path, key=None)
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert answer.json == {
        "error": "API key is required. Please provide it in Authorization or X-API-Key header."
    }


async def test_four_kinds_of_unusable_keys_are_told_apart() -> None:
    answers = [await served(AGENTS, key=key) for key in (None, "sk_a", "clf_nobody", REVOKED.key)]
    assert [answer.status for answer in answers] == [401] * 4
    assert len({answer.json["error"] for answer in answers}) == 4


DOMAINS = domains_of("agt_1")
UNKNOWN = [f"{AGENTS}/agt_1", f"/v2{DOMAINS}", f"{DOMAINS}/", *map(domains_of, ("a/b", GONE.id))]
FOREIGN = [domains_of("agt_nobody"), domains_of("agt_other_1")]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        *(("GET", path, 404) for path in ("/", f"{AGENTS}/", *UNKNOWN, *FOREIGN)),
        *(("GET", domains_of(agent_id), 400) for agent_id in ("", "%00", "a%0Ab", "%FF")),
        ("POST", AGENTS, 405),
        ("DELETE", domains_of("agt_1"), 405),
        ("POST", "/", 404),
    ],
)
async def test_every_error_has_an_error_field(method: str, path: str, status: int) -> None:
    answer = await served(path, method=method)
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert list(answer.json) == ["error"]
    assert ("agentId" in answer.json["error"]) == (status == 400)
    assert answer.headers.get("Allow") == ("GET, HEAD" if status == 405 else None)


async def test_another_workspaces_agent_is_like_none() -> None:
    foreign, unknown = [await served(path) for path in FOREIGN]
    assert foreign.body == unknown.body
