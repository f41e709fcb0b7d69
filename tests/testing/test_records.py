"""What a sandbox remembers of its requests, and what it counts."""

import asyncio

import pytest

from chatloom_async.testing.faults import Fault
from chatloom_async.testing.records import RecordedRequest
from chatloom_async.testing.sandbox import Sandbox
from tests.testing.asking import ACME, AGENTS, KEY, OTHER, ask, domains_of, raw


@pytest.mark.parametrize(
    ("header", "status", "workspace"), [(f"X-API-Key: {KEY}", 404, "acme"), ("A: b", 401, None)]
)
async def test_requests_are_recorded_as_they_came(
    header: str, status: int, workspace: str | None
) -> None:
    path = domains_of("a%2Fb") + "?x=1"
    async with Sandbox([ACME], clock=lambda: 7.5) as sandbox:
        await ask(sandbox, path, header, "User-Agent: tester/1")
    (request,) = sandbox.requests
    assert request.headers["user-agent"] == "tester/1"  # in any case of letters
    expected = RecordedRequest("GET", path, status, 7.5, workspace, request.headers)
    assert request == expected


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


async def test_requests_are_counted_by_path_status_and_workspace() -> None:
    async with Sandbox([ACME, OTHER], faults=[Fault.disconnect()]) as sandbox:
        await raw(sandbox, f"GET {AGENTS} HTTP/1.1", f"X-API-Key: {KEY}")
        await ask(sandbox, AGENTS)
        await ask(sandbox, domains_of("agt_1"))
        await ask(sandbox, domains_of("agt_1"), key="clf_other")
    assert (sandbox.count(), sandbox.count(AGENTS), sandbox.count(f"{AGENTS}/*")) == (4, 2, 2)
    assert [sandbox.count(status=status) for status in (0, 200, 404)] == [1, 2, 1]
    assert (sandbox.count(AGENTS, status=200), sandbox.count(workspace="other")) == (1, 1)


@pytest.mark.parametrize(("most", "kept"), [(2, ["agt_2", "agt_3"]), (0, [])])
async def test_counters_go_on_when_few_requests_are_kept(most: int, kept: list[str]) -> None:
    async with Sandbox([ACME]).keep(most) as sandbox:
        for agent_id in ("agt_1", "agt_2", "agt_3"):
            await ask(sandbox, domains_of(agent_id))
    assert [request.path for request in sandbox.requests] == [*map(domains_of, kept)]
    assert sandbox.count() == 3


@pytest.mark.looptime
async def test_the_peak_of_requests_in_flight_is_counted() -> None:
    async with Sandbox([ACME], latency=1) as sandbox:
        await asyncio.gather(*(ask(sandbox, AGENTS) for _ in range(5)))
        await ask(sandbox, AGENTS)
    assert sandbox.peak_in_flight == 5


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
