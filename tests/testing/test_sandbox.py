"""The sandbox obeys the API reference and misbehaves only as planted; asked without the SDK."""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import Any

import aiohttp
import attrs
import pytest
import trustme
from multidict import CIMultiDict

from chatloom_async.testing.demo import demo_faults, demo_workspaces
from chatloom_async.testing.faults import Drip, Fault, Mishap, Occurrence
from chatloom_async.testing.quota import Quota
from chatloom_async.testing.records import RecordedRequest
from chatloom_async.testing.sandbox import Sandbox
from chatloom_async.testing.workspaces import SandboxAgent, Workspace, make_workspace

AGENTS = "/api/plugin/agents"
KEY = "clf_acme"
ACME = Workspace(
    "acme",
    KEY,
    (
        SandboxAgent("agt_1", domains=("example.com", "support.example.com", "a.example.com")),
        SandboxAgent("agt_3", created_at="2026-01-31T16:00:00.000Z"),
        SandboxAgent("agt_2", created_at="2026-02-01T00:00:00+09:00"),
    ),
)
OTHER = make_workspace("other", "clf_other", agents=2)


@attrs.frozen
class Answer:
    status: int
    headers: CIMultiDict[str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def domains_of(agent_id: str) -> str:
    return f"{AGENTS}/{agent_id}/allowed-domains"


async def raw(sandbox: Sandbox, *head: str) -> bytes:
    """Everything the server sends on one connection until it closes it."""
    port = int(sandbox.base_url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        lines = [*head, "Host: sandbox", "Connection: close", "", ""]
        writer.write("\r\n".join(lines).encode())
        return await reader.read()
    finally:
        writer.close()


async def ask(
    sandbox: Sandbox, path: str, *headers: str, method: str = "GET", key: str | None = KEY
) -> Answer:
    """One request, without a client library's own repeats; `headers` take the key's place."""
    given = headers or ((f"Authorization: Bearer {key}",) if key else ())
    head, _, body = (await raw(sandbox, f"{method} {path} HTTP/1.1", *given)).partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    pairs = (line.split(": ", 1) for line in rest)
    return Answer(int(first.split()[1]), CIMultiDict((n, v) for n, v in pairs), body)


# The API reference, Endpoints


async def test_agents_come_newest_first_by_creation_time_not_by_its_spelling() -> None:
    async with Sandbox([ACME]) as sandbox:
        answer = await ask(sandbox, AGENTS)
    assert [agent["id"] for agent in answer.json["agents"]] == ["agt_3", "agt_2", "agt_1"]


async def test_an_agent_has_exactly_the_documented_fields() -> None:
    async with Sandbox([ACME]) as sandbox:
        answer = await ask(sandbox, AGENTS)
    assert answer.json["agents"][2] == {
        "id": "agt_1",
        "name": "Sales Assistant",
        "primaryColor": "#611F69",
        "secondaryColor": "#764ba2",
        "position": "bottom-right",
        "template": "modern",
        "status": "active",
        "createdAt": "2026-01-15T09:00:00.000Z",
    }


async def test_count_is_the_number_of_agents_in_the_response() -> None:
    async with Sandbox([ACME, OTHER]) as sandbox:
        answer = await ask(sandbox, AGENTS)
    assert answer.json["count"] == len(answer.json["agents"]) == 3


async def test_deleted_agents_are_excluded_from_the_list_and_its_count() -> None:
    gone = SandboxAgent("agt_gone", status="deleted")
    async with Sandbox([Workspace("acme", KEY, (*ACME.agents, gone))]) as sandbox:
        answer = await ask(sandbox, AGENTS)
    assert "agt_gone" not in answer.body.decode()
    assert answer.json["count"] == 3


async def test_a_deleted_agent_has_no_domains_to_ask_for() -> None:
    gone = SandboxAgent("agt_gone", status="deleted", domains=("example.com",))
    async with Sandbox([Workspace("acme", KEY, (gone,))]) as sandbox:
        answer = await ask(sandbox, domains_of("agt_gone"))
    assert answer.status == 404


async def test_domains_come_oldest_first_and_alone() -> None:
    async with Sandbox([ACME]) as sandbox:
        answer = await ask(sandbox, domains_of("agt_1"))
    assert answer.json == {"domains": ["example.com", "support.example.com", "a.example.com"]}


async def test_an_agent_without_domains_answers_an_empty_list() -> None:
    async with Sandbox([ACME]) as sandbox:
        answer = await ask(sandbox, domains_of("agt_2"))
    assert (answer.status, answer.json) == (200, {"domains": []})


async def test_another_workspaces_agent_answers_404_like_one_that_never_was() -> None:
    async with Sandbox([ACME, OTHER]) as sandbox:
        foreign = await ask(sandbox, domains_of("agt_other_1"))
        unknown = await ask(sandbox, domains_of("agt_nobody"))
    assert foreign.status == unknown.status == 404
    assert foreign.body == unknown.body


@pytest.mark.parametrize("segment", ["a%2Fb%3Fc%23d%25%20%C3%A9", "a%2fb%3fc%23d%25%20%c3%a9"])
async def test_an_agent_id_arrives_percent_encoded_in_one_segment(segment: str) -> None:
    odd = SandboxAgent("a/b?c#d% é", domains=("example.com",))
    async with Sandbox([Workspace("acme", KEY, (odd,))]) as sandbox:
        answer = await ask(sandbox, domains_of(segment))
    assert answer.json == {"domains": ["example.com"]}


async def test_an_agent_id_spread_over_two_segments_is_another_path() -> None:
    odd = SandboxAgent("a/b", domains=("example.com",))
    async with Sandbox([Workspace("acme", KEY, (odd,))]) as sandbox:
        answer = await ask(sandbox, domains_of("a/b"))
    assert answer.status == 404


@pytest.mark.parametrize("segment", ["", "%00", "a%0Ab", "%FF"])
async def test_a_malformed_agent_id_answers_400_and_says_what_to_fix(segment: str) -> None:
    async with Sandbox([ACME]) as sandbox:
        answer = await ask(sandbox, domains_of(segment))
    assert answer.status == 400
    assert "agentId" in answer.json["error"]


async def test_head_answers_like_get_without_the_body() -> None:
    async with Sandbox([ACME]) as sandbox:
        answer = await ask(sandbox, AGENTS, method="HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["Content-Length"]) > 0


async def test_a_query_is_ignored() -> None:
    async with Sandbox([ACME]) as sandbox:
        answers = [await ask(sandbox, path + "?page=2") for path in (AGENTS, domains_of("agt_1"))]
    assert [answer.status for answer in answers] == [200, 200]


async def test_a_request_naming_the_whole_url_is_understood() -> None:
    async with Sandbox([ACME]) as sandbox:
        answer = await ask(sandbox, f"{sandbox.base_url}{AGENTS}")
    assert answer.json["count"] == 3


# The API reference, Authentication


@pytest.mark.parametrize(
    "header",
    [
        f"Authorization: Bearer {KEY}",
        f"authorization: bearer {KEY}",
        f"AUTHORIZATION: BEARER   {KEY}",
        f"X-API-Key: {KEY}",
        f"x-api-key: {KEY}",
    ],
)
async def test_both_ways_to_send_a_key_work_identically(header: str) -> None:
    async with Sandbox([ACME]) as sandbox:
        answer = await ask(sandbox, AGENTS, header)
    assert answer.status == 200


async def test_the_bearer_token_counts_when_both_headers_are_sent() -> None:
    async with Sandbox([ACME, OTHER]) as sandbox:
        answer = await ask(sandbox, AGENTS, "X-API-Key: clf_other", f"Authorization: Bearer {KEY}")
    assert answer.json["count"] == 3


@pytest.mark.parametrize("unusable", ["Bearer", "Basic dTpw", KEY])
async def test_x_api_key_counts_when_authorization_holds_no_bearer_token(unusable: str) -> None:
    async with Sandbox([ACME]) as sandbox:
        answer = await ask(sandbox, AGENTS, f"Authorization: {unusable}", f"X-API-Key: {KEY}")
    assert answer.status == 200


@pytest.mark.parametrize("path", [AGENTS, domains_of("agt_1"), "/elsewhere"])
async def test_a_request_without_a_key_gets_the_documented_sentence(path: str) -> None:
    async with Sandbox([ACME]) as sandbox:
        answer = await ask(sandbox, path, key=None)
    assert answer.status == 401
    assert answer.json == {
        "error": "API key is required. Please provide it in Authorization or X-API-Key header."
    }


async def test_missing_malformed_unknown_and_revoked_keys_are_told_apart() -> None:
    revoked = Workspace("gone", "clf_gone", revoked=True)
    async with Sandbox([ACME, revoked]) as sandbox:
        keys = (None, "sk_acme", "clf_nobody", "clf_gone")
        answers = [await ask(sandbox, AGENTS, key=key) for key in keys]
    assert [answer.status for answer in answers] == [401] * 4
    assert len({answer.json["error"] for answer in answers}) == 4


async def test_a_401_names_the_scheme_to_use() -> None:
    async with Sandbox([ACME]) as sandbox:
        answer = await ask(sandbox, AGENTS, key=None)
    assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_a_rotated_key_stops_working_the_moment_the_new_one_exists() -> None:
    async with Sandbox([ACME]) as sandbox:
        key = sandbox.rotate("acme")
        old, new = await ask(sandbox, AGENTS), await ask(sandbox, AGENTS, key=key)
    assert (old.status, new.status) == (401, 200)
    assert key.startswith("clf_")


@pytest.mark.parametrize("handle", ["acme", KEY])
async def test_a_revoked_key_is_refused(handle: str) -> None:
    async with Sandbox([ACME, OTHER]) as sandbox:
        sandbox.revoke(handle)
        refused = await ask(sandbox, AGENTS)
        fine = await ask(sandbox, AGENTS, key="clf_other")
    assert (refused.status, fine.status) == (401, 200)


async def test_rotating_a_revoked_key_lets_the_workspace_in_again() -> None:
    async with Sandbox([ACME]) as sandbox:
        sandbox.revoke("acme")
        answer = await ask(sandbox, AGENTS, key=sandbox.rotate("acme"))
    assert answer.status == 200


@pytest.mark.parametrize("verb", ["revoke", "rotate"])
def test_an_unknown_workspace_is_a_lookup_error(verb: str) -> None:
    with pytest.raises(LookupError):
        getattr(Sandbox([ACME]), verb)("nobody")


# The API reference, Errors


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/api/plugin/agents/", 404),
        ("GET", "/api/plugin/agents/agt_1", 404),
        ("GET", "/api/plugin/agents/a/b/allowed-domains", 404),
        ("GET", "/api/plugin/agents/agt_1/allowed-domains/", 404),
        ("GET", "/v2/api/plugin/agents/agt_1/allowed-domains", 404),
        ("GET", domains_of("agt_nobody"), 404),
        ("POST", AGENTS, 405),
        ("DELETE", domains_of("agt_1"), 405),
        ("POST", "/", 404),
    ],
)
async def test_every_error_is_a_json_object_with_an_error_field(
    method: str, path: str, status: int
) -> None:
    async with Sandbox([ACME]) as sandbox:
        answer = await ask(sandbox, path, method=method)
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert list(answer.json) == ["error"]


async def test_a_405_names_the_allowed_methods() -> None:
    async with Sandbox([ACME]) as sandbox:
        answer = await ask(sandbox, AGENTS, method="PUT")
    assert answer.headers["Allow"] == "GET, HEAD"


# Workspaces as data


def test_keys_are_not_shown() -> None:
    sandbox = Sandbox([ACME], quota=Quota.token_bucket(60, 60), faults=[Fault.reset()])
    assert KEY not in repr(ACME) + repr(sandbox)


def test_two_workspaces_with_one_key_are_refused_without_showing_it() -> None:
    with pytest.raises(ValueError, match="acme") as caught:
        Sandbox([ACME, Workspace("copy", KEY)])
    assert KEY not in str(caught.value)


async def test_adding_a_workspace_again_replaces_it() -> None:
    async with Sandbox([ACME]) as sandbox:
        sandbox.add(Workspace("acme", KEY))
        answer = await ask(sandbox, AGENTS)
    assert answer.json == {"agents": [], "count": 0}


def test_a_creation_time_nobody_can_order_by_is_refused() -> None:
    with pytest.raises(ValueError, match="yesterday"):
        SandboxAgent("agt_1", created_at="yesterday")


def test_a_made_workspace_has_the_asked_number_of_distinct_agents_and_domains() -> None:
    workspace = make_workspace("big", "clf_big", agents=50, domains=3)
    assert len({agent.id for agent in workspace.agents}) == 50
    assert {len(agent.domains) for agent in workspace.agents} == {3}
    assert [a.created for a in workspace.agents] == sorted(a.created for a in workspace.agents)


def test_a_made_workspace_is_the_same_every_time() -> None:
    assert make_workspace("big", "clf_big") == make_workspace("big", "clf_big")


# The demonstration


def test_the_demonstration_has_the_promised_size_and_one_revoked_key() -> None:
    workspaces = demo_workspaces()
    readable = [workspace for workspace in workspaces if not workspace.revoked]
    assert len(readable) >= 6
    assert sum(len(workspace.agents) for workspace in readable) >= 60
    assert len(workspaces) - len(readable) == 1


def test_the_demonstration_has_something_for_an_audit_to_find() -> None:
    agents = [agent for workspace in demo_workspaces() for agent in workspace.agents]
    domains = {domain for agent in agents for domain in agent.domains}
    assert sum(not agent.domains for agent in agents) >= 4
    assert {"localhost", "192.0.2.44", "*.northwind-travel.example"} <= domains
    assert any(domain.startswith("https://") for domain in domains)
    assert any(domain.startswith("xn--") for domain in domains)
    assert any(domain != domain.lower() and domain.lower() in domains for domain in domains)
    assert "center" in {agent.position for agent in agents}


def test_one_domain_of_the_demonstration_is_listed_in_two_workspaces() -> None:
    seen = [{d for agent in w.agents for d in agent.domains} for w in demo_workspaces()]
    assert sum("partners.example" in domains for domains in seen) == 2


async def test_every_fault_of_the_demonstration_meets_a_resource_that_is_served() -> None:
    workspaces = [workspace for workspace in demo_workspaces() if not workspace.revoked]
    async with Sandbox(workspaces) as sandbox:
        for fault in demo_faults():
            assert fault.path is not None
            names = [fault.workspace] if fault.workspace else [w.name for w in workspaces]
            keys = [w.key for w in workspaces if w.name in names]
            assert 200 in [(await ask(sandbox, fault.path, key=key)).status for key in keys]


def test_all_faults_of_the_demonstration_but_one_agents_heal() -> None:
    assert [fault.occurrence.times for fault in demo_faults()].count(None) == 1


# Planted faults


async def test_a_planted_status_answers_an_error_object_and_heals() -> None:
    async with Sandbox([ACME], faults=[Fault.status(503, times=2)]) as sandbox:
        answers = [await ask(sandbox, AGENTS) for _ in range(3)]
    assert [answer.status for answer in answers] == [503, 503, 200]
    assert answers[0].json == {"error": "Service Unavailable"}


@pytest.mark.parametrize(("given", "sent"), [(2, "2"), (0.2, "0.2"), ("soon", "soon")])
async def test_retry_after_is_sent_as_given(given: float | str, sent: str) -> None:
    async with Sandbox([ACME], faults=[Fault.status(429, retry_after=given)]) as sandbox:
        answer = await ask(sandbox, AGENTS)
    assert (answer.status, answer.headers["Retry-After"]) == (429, sent)


async def test_a_planted_429_says_nothing_of_waiting_unless_told_to() -> None:
    async with Sandbox([ACME], faults=[Fault.status(429)]) as sandbox:
        answer = await ask(sandbox, AGENTS)
    assert "Retry-After" not in answer.headers


async def test_a_planted_answer_may_have_its_own_body_and_headers() -> None:
    page = Fault.status(
        502,
        body=b"<h1>Bad Gateway</h1>",
        headers={"content-type": "text/html", "X-Request-Id": "7"},
    )
    async with Sandbox([ACME], faults=[page]) as sandbox:
        answer = await ask(sandbox, AGENTS)
    assert answer.body == b"<h1>Bad Gateway</h1>"
    assert answer.headers.getall("Content-Type") == ["text/html"]
    assert answer.headers["X-Request-Id"] == "7"


async def test_a_malformed_body_is_delivered_well() -> None:
    async with Sandbox([ACME], faults=[Fault.malformed()]) as sandbox:
        answer = await ask(sandbox, AGENTS)
    assert answer.status == 200
    assert int(answer.headers["Content-Length"]) == len(answer.body)
    with pytest.raises(ValueError, match="Expecting"):
        _ = answer.json


async def test_a_reset_comes_before_any_byte_of_an_answer() -> None:
    async with Sandbox([ACME], faults=[Fault.reset()]) as sandbox:
        with pytest.raises(ConnectionResetError):
            await ask(sandbox, AGENTS)


async def test_a_disconnect_closes_without_a_byte() -> None:
    async with Sandbox([ACME], faults=[Fault.disconnect()]) as sandbox:
        assert await raw(sandbox, f"GET {AGENTS} HTTP/1.1", f"X-API-Key: {KEY}") == b""


async def test_a_cut_body_ends_before_its_content_length() -> None:
    async with Sandbox([ACME], faults=[Fault.cut_body()]) as sandbox:
        answer = await ask(sandbox, AGENTS)
    assert answer.status == 200
    assert 0 < len(answer.body) < int(answer.headers["Content-Length"])


@pytest.mark.looptime
async def test_a_delayed_answer_comes_whole_and_late() -> None:
    async with Sandbox([ACME], faults=[Fault.delay(30)]) as sandbox:
        asked = asyncio.get_running_loop().time()
        answer = await ask(sandbox, AGENTS)
        waited = asyncio.get_running_loop().time() - asked
    assert answer.status == 200
    assert waited == pytest.approx(30, abs=1)


@pytest.mark.looptime
async def test_latency_comes_before_every_answer_and_adds_to_a_fault() -> None:
    async with Sandbox([ACME], latency=20, faults=[Fault.status(500).after(10)]) as sandbox:
        asked = asyncio.get_running_loop().time()
        answers = [await ask(sandbox, AGENTS) for _ in range(2)]
        waited = asyncio.get_running_loop().time() - asked
    assert [answer.status for answer in answers] == [500, 200]
    assert waited == pytest.approx(50, abs=1)


@pytest.mark.looptime
async def test_a_dripping_body_comes_whole_and_slowly() -> None:
    async with Sandbox([ACME], faults=[Fault.drip(2)]) as sandbox:
        asked = asyncio.get_running_loop().time()
        answer = await ask(sandbox, domains_of("agt_2"))
        waited = asyncio.get_running_loop().time() - asked
    assert answer.json == {"domains": []}
    assert waited == pytest.approx(2 * len(answer.body), abs=3)


@pytest.mark.looptime
async def test_a_hanging_request_stays_unanswered_while_others_are_served() -> None:
    async with Sandbox([ACME], faults=[Fault.hang()]) as sandbox:
        hanging = asyncio.create_task(ask(sandbox, AGENTS))
        await asyncio.sleep(3600)
        other = await ask(sandbox, AGENTS)
        assert not hanging.done()
        hanging.cancel()
        await asyncio.wait([hanging])
    assert other.status == 200


@pytest.mark.looptime
@pytest.mark.parametrize("fault", [Fault.delay(5), Fault.drip(5), Fault.status(500).after(5)])
async def test_an_answer_given_up_on_counts_as_none(fault: Fault) -> None:
    async with Sandbox([ACME], faults=[fault.on(path=AGENTS, workspace="acme")]) as sandbox:
        pending = asyncio.create_task(ask(sandbox, AGENTS))
        await asyncio.sleep(3)
        pending.cancel()
        await asyncio.wait([pending])
        await ask(sandbox, AGENTS)
        await asyncio.sleep(3600)
    assert [request.status for request in sandbox.requests] == [0, 200]
    assert [sandbox.count(status=status) for status in (0, 200, 500)] == [1, 1, 0]


@pytest.mark.looptime
@pytest.mark.parametrize("fault", [Fault.hang(), Fault.delay(3600), Fault.drip(3600)])
async def test_stopping_does_not_wait_for_unfinished_answers(fault: Fault) -> None:
    async with Sandbox([ACME], faults=[fault]) as sandbox:
        pending = asyncio.create_task(raw(sandbox, f"GET {AGENTS} HTTP/1.1", f"X-API-Key: {KEY}"))
        await asyncio.sleep(10)
        assert sandbox.peak_in_flight == 1
        stopping = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - stopping < 0.2
    assert b'"count"' not in await pending


@pytest.mark.looptime
async def test_stopping_leaves_no_task_behind() -> None:
    async with Sandbox([ACME], faults=[Fault.hang()]) as sandbox:
        pending = asyncio.create_task(raw(sandbox, f"GET {AGENTS} HTTP/1.1", f"X-API-Key: {KEY}"))
        await asyncio.sleep(10)
    await pending
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.looptime
async def test_stopping_does_not_wait_for_a_peer_that_has_stopped_reading() -> None:
    huge = Fault.status(200, body=b"x" * 20_000_000)
    async with Sandbox([ACME], faults=[huge]) as sandbox:
        port = int(sandbox.base_url.rpartition(":")[2])
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
        writer.write(f"GET {AGENTS} HTTP/1.1\r\nHost: s\r\nX-API-Key: {KEY}\r\n\r\n".encode())
        await asyncio.sleep(10)
        assert sandbox.count() == 1
        stopping = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - stopping < 0.2
    writer.close()


# Which requests a fault strikes


async def test_a_fault_strikes_only_its_path() -> None:
    async with Sandbox([ACME], faults=[Fault.status(500, path=domains_of("agt_1"))]) as sandbox:
        paths = (AGENTS, domains_of("agt_2"), domains_of("agt_1"))
        statuses = [(await ask(sandbox, path)).status for path in paths]
    assert statuses == [200, 200, 500]


async def test_a_faults_path_may_be_a_pattern() -> None:
    fault = Fault.status(500, path=f"{AGENTS}/*", times=None)
    async with Sandbox([ACME], faults=[fault]) as sandbox:
        paths = (AGENTS, domains_of("agt_2"), domains_of("agt_1") + "?x=1")
        statuses = [(await ask(sandbox, path)).status for path in paths]
    assert statuses == [200, 500, 500]


async def test_a_fault_strikes_only_its_workspace() -> None:
    async with Sandbox([ACME, OTHER], faults=[Fault.status(500, workspace="other")]) as sandbox:
        statuses = [(await ask(sandbox, AGENTS, key=key)).status for key in (KEY, "clf_other")]
    assert statuses == [200, 500]


async def test_a_fault_may_last_for_ever() -> None:
    async with Sandbox([ACME], faults=[Fault.status(500, times=None)]) as sandbox:
        assert {(await ask(sandbox, AGENTS)).status for _ in range(20)} == {500}


async def test_a_fault_may_strike_every_nth_request() -> None:
    async with Sandbox([ACME], faults=[Fault.status(500).every(3)]) as sandbox:
        statuses = [(await ask(sandbox, AGENTS)).status for _ in range(7)]
    assert statuses == [200, 200, 500, 200, 200, 500, 200]


async def test_a_fault_by_chance_strikes_the_same_requests_on_every_run() -> None:
    runs: list[list[int]] = []
    for _ in range(2):
        fault = Fault.status(500).sometimes(0.3, seed=4)
        async with Sandbox([ACME], faults=[fault]) as sandbox:
            runs.append([(await ask(sandbox, AGENTS)).status for _ in range(40)])
    assert runs[0] == runs[1]
    assert 5 <= runs[0].count(500) <= 20


async def test_the_fault_planted_first_strikes_first() -> None:
    async with Sandbox([ACME], faults=[Fault.status(500), Fault.status(503)]) as sandbox:
        statuses = [(await ask(sandbox, AGENTS)).status for _ in range(3)]
    assert statuses == [500, 503, 200]


async def test_a_fault_for_everybody_strikes_requests_without_a_key_too() -> None:
    async with Sandbox([ACME], faults=[Fault.status(500)]) as sandbox:
        assert (await ask(sandbox, AGENTS, key=None)).status == 500


def test_a_fault_is_a_value_and_planting_it_twice_strikes_twice() -> None:
    assert Fault.status(500, times=2) == Fault.status(500, times=2)
    assert Fault.reset().effect is Mishap.RESET
    assert Fault.drip(0.1).effect == Drip(0.1)


@pytest.mark.parametrize(
    ("times", "every", "probability"),
    [(0, None, None), (-1, None, None), (1, 0, None), (1, None, 0.0), (1, None, 1.5), (1, 2, 0.5)],
)
def test_an_occurrence_that_makes_no_sense_is_refused(
    times: int, every: int | None, probability: float | None
) -> None:
    with pytest.raises(ValueError, match=r"times|every|probability"):
        Occurrence(times, every, probability)


@pytest.mark.parametrize("status", [0, 100, 199, 600])
def test_a_status_that_ends_no_exchange_is_refused(status: int) -> None:
    with pytest.raises(ValueError, match="200 to 599"):
        Fault.status(status)


def test_retry_after_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="not both"):
        Fault.status(429, retry_after=1, headers={"retry-after": "2"})


def test_a_header_with_a_line_break_is_refused() -> None:
    with pytest.raises(ValueError, match="control character"):
        Fault.status(500, headers={"X-Note": "a\r\nb"})


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_a_wait_that_is_no_duration_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Fault.delay(seconds)
    with pytest.raises(ValueError, match="finite"):
        Fault.drip(seconds)


# Counters and records


async def test_requests_are_recorded_as_they_came() -> None:
    async with Sandbox([ACME], clock=lambda: 7.5) as sandbox:
        await ask(sandbox, domains_of("a%2Fb") + "?x=1")
    kept = sandbox.requests
    assert [attrs.evolve(request, headers={}) for request in kept] == [
        RecordedRequest("GET", domains_of("a%2Fb") + "?x=1", 404, 7.5, "acme", {})
    ]


async def test_a_request_without_a_valid_key_belongs_to_no_workspace() -> None:
    async with Sandbox([ACME]) as sandbox:
        await ask(sandbox, AGENTS, key="clf_nobody")
    assert sandbox.requests[0].workspace is None


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        (f"authorization: Bearer {KEY}", "Bearer"),
        (f"Authorization: {KEY}", "(redacted)"),
        (f"Authorization: {KEY} twice", "(redacted)"),
        (f"x-api-key: {KEY}", "(redacted)"),
    ],
)
async def test_of_credentials_only_the_scheme_is_recorded(header: str, kept: str) -> None:
    async with Sandbox([ACME]) as sandbox:
        await ask(sandbox, AGENTS, header)
    recorded = sandbox.requests[0]
    assert recorded.headers[header.partition(":")[0]] == kept
    assert KEY not in str(dict(recorded.headers)) + repr(recorded)


async def test_other_headers_are_recorded_and_found_in_any_case() -> None:
    async with Sandbox([ACME]) as sandbox:
        await ask(sandbox, AGENTS, "User-Agent: tester/1")
    assert sandbox.requests[0].headers["user-agent"] == "tester/1"


async def test_requests_are_counted_by_path_status_and_workspace() -> None:
    async with Sandbox([ACME, OTHER], faults=[Fault.disconnect()]) as sandbox:
        await raw(sandbox, f"GET {AGENTS} HTTP/1.1", f"X-API-Key: {KEY}")
        await ask(sandbox, AGENTS)
        await ask(sandbox, domains_of("agt_1"))
        await ask(sandbox, domains_of("agt_1"), key="clf_other")
    assert sandbox.count() == 4
    assert sandbox.count(AGENTS) == 2
    assert sandbox.count(f"{AGENTS}/*") == 2
    assert sandbox.count(status=404) == 1
    assert sandbox.count(AGENTS, status=200) == 1
    assert sandbox.count(status=0) == 1
    assert sandbox.count(workspace="other") == 1


async def test_counters_go_on_when_few_requests_are_kept() -> None:
    async with Sandbox([ACME]).keep(2) as sandbox:
        for agent_id in ("agt_1", "agt_2", "agt_3"):
            await ask(sandbox, domains_of(agent_id))
    assert [r.path for r in sandbox.requests] == [domains_of("agt_2"), domains_of("agt_3")]
    assert sandbox.count() == 3


async def test_no_request_is_kept_when_none_are_wanted() -> None:
    async with Sandbox([ACME]).keep(0) as sandbox:
        await ask(sandbox, AGENTS)
    assert (sandbox.requests, sandbox.count()) == ([], 1)


async def test_connections_are_counted_once_however_many_requests_they_carry() -> None:
    async with Sandbox([ACME]) as sandbox, aiohttp.ClientSession(sandbox.base_url) as session:
        for _ in range(3):
            async with session.get(AGENTS, headers={"X-API-Key": KEY}) as response:
                await response.read()
        assert (sandbox.connections, sandbox.count()) == (1, 3)


@pytest.mark.looptime
async def test_the_peak_of_requests_in_flight_is_counted() -> None:
    async with Sandbox([ACME], latency=1) as sandbox:
        await asyncio.gather(*(ask(sandbox, AGENTS) for _ in range(5)))
        await ask(sandbox, AGENTS)
    assert sandbox.peak_in_flight == 5


# Its life


def test_a_sandbox_that_never_served_has_no_address() -> None:
    with pytest.raises(RuntimeError, match="enter it first"):
        _ = Sandbox().base_url


async def test_a_stopped_sandbox_refuses_connections_at_its_last_address() -> None:
    async with Sandbox([ACME]) as sandbox:
        pass
    with pytest.raises(ConnectionRefusedError):
        await ask(sandbox, AGENTS)


async def test_a_stopped_sandbox_can_serve_again() -> None:
    sandbox = Sandbox([ACME])
    async with sandbox:
        await ask(sandbox, AGENTS)
    async with sandbox:
        answer = await ask(sandbox, AGENTS)
    assert (answer.status, sandbox.count()) == (200, 2)


async def test_a_serving_sandbox_cannot_be_entered_again() -> None:
    async with Sandbox([ACME]) as sandbox:
        with pytest.raises(RuntimeError, match="already"):
            await sandbox.__aenter__()
        assert (await ask(sandbox, AGENTS)).status == 200


async def test_an_idle_connection_is_closed_when_the_sandbox_stops() -> None:
    async with asyncio.timeout(10):
        async with Sandbox([ACME]) as sandbox:
            port = int(sandbox.base_url.rpartition(":")[2])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            await ask(sandbox, AGENTS)
        assert await reader.read() == b""
        writer.close()


async def test_it_serves_https_when_given_a_certificate() -> None:
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    async with Sandbox([ACME], ssl=server) as sandbox, aiohttp.ClientSession() as session:
        assert sandbox.base_url.startswith("https://127.0.0.1:")
        headers = {"X-API-Key": KEY}
        async with session.get(sandbox.base_url + AGENTS, headers=headers, ssl=client) as response:
            assert response.status == 200


def test_it_serves_from_a_thread_while_this_one_blocks() -> None:
    with Sandbox([ACME]).in_thread() as sandbox:
        answer = asyncio.run(ask(sandbox, AGENTS))
        sandbox.plant(Fault.status(500))
        fault = asyncio.run(ask(sandbox, AGENTS))
        old = sandbox.rotate("acme")
    assert (answer.status, fault.status) == (200, 500)
    assert (sandbox.count(), old.startswith("clf_")) == (2, True)


def test_the_thread_is_gone_when_the_block_ends_even_with_a_request_hanging() -> None:
    async def hang(sandbox: Sandbox) -> None:
        pending = asyncio.create_task(ask(sandbox, domains_of("agt_1")))
        await ask(sandbox, AGENTS)
        pending.cancel()

    with Sandbox([ACME], faults=[Fault.hang(path=domains_of("*"))]).in_thread() as sandbox:
        asyncio.run(hang(sandbox))
    assert sandbox.count(status=0) == 1
    with pytest.raises(ConnectionRefusedError):
        asyncio.run(ask(sandbox, AGENTS))


def test_a_port_in_use_is_an_os_error_also_from_a_thread() -> None:
    with Sandbox().in_thread() as first:
        port = int(first.base_url.rpartition(":")[2])
        with pytest.raises(OSError, match=str(port)), Sandbox(port=port).in_thread():
            pass
