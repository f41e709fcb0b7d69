"""Audits of fleets, in virtual time and without sockets; what is wrong is planted in the wire."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest
from attrs import define, evolve, field

from chatloom_async.audit import audit, stream_audit
from chatloom_async.audit.results import AuditReport, WorkspaceAudit
from chatloom_async.auth import ApiKey
from chatloom_async.calls.retry import RetryPolicy
from chatloom_async.client import AsyncChatloom
from chatloom_async.errors import ClientClosedError, ConfigurationError
from chatloom_async.models import Gap
from chatloom_async.ratelimit.values import RateLimit
from chatloom_async.testing import FakeClock, Sandbox, SandboxAgent, Workspace, make_workspace
from chatloom_async.testing.api import Reply, answer, error, pages
from chatloom_async.testing.meters import Meter
from chatloom_async.testing.quota import Quota
from chatloom_async.transport import Request, Response, Shared
from tests.virtual import now, virtual

Pairs = Iterator[tuple[str, AsyncChatloom]]
Trouble = Callable[[str, str], Reply | None]
PAGES = cache(pages)


@define(eq=False)
class Wire:
    """The API in virtual time: workspaces by key, each answer a moment later."""

    workspaces: dict[str, Workspace]
    trouble: Trouble = field(default=lambda _workspace, _path: None)
    quotas: dict[str, Meter] = field(factory=dict)
    requests: list[tuple[str, str]] = field(factory=list)
    shared: Shared = field(factory=Shared)
    closed: bool = False
    under_way: Counter[str] = field(factory=Counter)
    most_workspaces: int = 0
    most_calls: int = 0  # of one workspace

    async def exchange(self, request: Request, key: ApiKey, timeout: float) -> Response:
        assert timeout > 0
        name = key.headers()["Authorization"].removeprefix("Bearer clf_")
        method, path = request.method, request.target
        self.requests.append((name, path))
        reply = self._reply(name, method, path)
        self.under_way[name] += 1
        self.most_workspaces = max(self.most_workspaces, len(+self.under_way))
        self.most_calls = max(self.most_calls, self.under_way[name])
        try:
            await asyncio.sleep(0.05)
        finally:
            self.under_way[name] -= 1
        return Response(reply.status, reply.headers, reply.body)

    def _reply(self, name: str, method: str, path: str) -> Reply:
        workspace = self.workspaces[name]
        if workspace.revoked:
            return error(401, "Invalid API key.")
        if name in self.quotas and self.quotas[name].admit(now()):
            return error(429, "Slow down.")
        return self.trouble(name, path) or answer(PAGES(workspace), method, path)

    async def aclose(self) -> None:
        self.closed = True

    def sent(self, name: str) -> int:
        return sum(workspace == name for workspace, _ in self.requests)


def fleet(count: int, agents: int = 3) -> dict[str, Workspace]:
    return {
        f"w{n}": make_workspace(f"w{n}", f"clf_w{n}", agents=agents, domains=1)
        for n in range(count)
    }


def clients(wire: Wire, rate_limit: RateLimit | None = None) -> dict[str, AsyncChatloom]:
    return {
        name: AsyncChatloom(f"clf_{name}", pool=wire, rate_limit=rate_limit)
        for name in wire.workspaces
    }


@pytest.fixture
def wire() -> Wire:
    return Wire(fleet(3))


def run(wire: Wire, *, concurrency: int = 100, lookups: int = 8) -> AuditReport:
    return FakeClock().run(audit(clients(wire), concurrency=concurrency, lookups=lookups))


def by_name(report: AuditReport) -> dict[str, WorkspaceAudit]:
    return {workspace.workspace: workspace for workspace in report.workspaces}


def test_every_agent_comes_with_its_domains(wire: Wire) -> None:
    wire.workspaces["empty"] = Workspace("empty", "clf_empty")
    found = by_name(run(wire))
    assert sorted(found) == ["empty", "w0", "w1", "w2"]
    assert [(agent.id, agent.allowed_domains) for agent in found["w1"].agents] == [
        (f"agt_w1_{number}", (f"site1.agent{number}.example",)) for number in (3, 2, 1)
    ]
    assert found["w1"].gaps == ()
    empty = found["empty"]
    assert (empty.agents, empty.gaps, empty.requests) == ((), (), 1)


@pytest.mark.parametrize("key", ["clf_w0", lambda: "clf_w0"])
@virtual
async def test_a_workspace_knows_what_the_audit_cost(wire: Wire, key: Any) -> None:
    # What was done with its key before is none of it.
    trouble = iter([error(429, "early"), None, None, error(429, "late"), error(503, "later")])
    wire.trouble = lambda *_: next(trouble, None)
    earlier = AsyncChatloom("clf_w0", pool=wire)
    await earlier.list_agents()
    before = datetime.now(UTC)
    client = AsyncChatloom(key, pool=wire)
    (found,) = (await audit({"w0": client}, lookups=1)).workspaces
    assert (found.requests, found.retried, found.refused) == (6, 2, 1)
    assert found.elapsed > 0
    assert found.read_at is not None
    assert before <= found.read_at <= datetime.now(UTC)


def test_findings_come_with_the_workspace_they_belong_to(wire: Wire) -> None:
    agents = (SandboxAgent("a1", domains=("localhost",)),)
    wire.workspaces["w0"] = Workspace("w0", "clf_w0", agents)
    approved = ["localhost", "*.agent1.example", "site1.agent2.example"]
    found = by_name(FakeClock().run(audit(clients(wire), approved=approved)))
    assert [(each.rule, each.agent) for each in found["w0"].findings] == [("private-address", "a1")]
    assert [each.domain for each in found["w1"].findings] == ["site1.agent3.example"]


@pytest.mark.parametrize(("count", "gaps"), [(2, ["some may be missing"]), (-1, [])])
def test_a_list_that_names_another_count_is_found(wire: Wire, count: int, gaps: list[str]) -> None:
    wire.trouble = lambda *_: Reply(200, b'{"agents": [], "count": %d}' % count)
    for ignored in ([], ["count-mismatch"]):  # what is missing is missing all the same
        found = by_name(FakeClock().run(audit(clients(wire), ignore=ignored)))["w0"]
        assert [each.rule for each in found.findings] == ([] if ignored else ["count-mismatch"])
        assert [each.message.partition("; ")[2] for each in found.gaps] == gaps


def test_a_report_compares_the_workspaces_and_adds_them_up(wire: Wire) -> None:
    report = run(wire)
    assert {each.rule for each in report.findings} == {"shared-domain"}
    totals = report.totals
    assert (totals.workspaces, totals.agents, totals.domains, totals.gaps) == (3, 9, 9, 0)
    assert (totals.requests, totals.findings["low"]) == (12, len(report.findings))


def test_what_cannot_be_read_is_a_gap_and_the_others_are_read() -> None:
    wire = Wire(fleet(4))
    wire.workspaces["w3"] = evolve(wire.workspaces["w3"], revoked=True)
    wire.trouble = lambda name, path: (
        error(500, "x" * 600) if "agt_w1_2" in path else Reply(200, b"{}") if name == "w2" else None
    )
    found = by_name(run(wire))
    assert found["w0"].gaps == ()
    assert found["w1"].gaps == (Gap("agt_w1_2", "InternalServerError", 500, "x" * 500),)
    assert [each.allowed_domains is None for each in found["w1"].agents] == [False, True, False]
    (gap,) = found["w2"].gaps
    assert (gap.agent, gap.error, gap.status) == (None, "ResponseDecodeError", None)
    assert found["w3"].gaps == (Gap(None, "AuthenticationError", 401, "Invalid API key."),)
    assert wire.sent("w3") == found["w3"].requests == 1


def test_a_key_refused_halfway_is_one_gap_and_ends_its_lookups(wire: Wire) -> None:
    wire.workspaces = fleet(1, agents=20)
    wire.trouble = lambda *_: error(401, "gone") if wire.sent("w0") > 6 else None
    (found,) = run(wire, lookups=2).workspaces
    assert found.gaps == (Gap(None, "AuthenticationError", 401, "gone"),)
    assert len(found.agents) == 20
    assert sum(agent.allowed_domains is not None for agent in found.agents) == 5
    assert wire.sent("w0") <= 8


def test_a_failing_key_source_is_a_gap_without_its_words(wire: Wire) -> None:
    def source() -> str:
        raise LookupError("no such secret: clf_secret")

    mine = {"x": AsyncChatloom(source, pool=wire), **clients(wire)}
    found = by_name(FakeClock().run(audit(mine)))
    (gap,) = found.pop("x").gaps
    assert (gap.agent, gap.error, gap.status) == (None, "LookupError", None)
    assert gap.message.startswith("the source of the key, a hook or a subclass")
    assert "secret" not in gap.message
    assert {len(each.agents) for each in found.values()} == {3}


@pytest.mark.parametrize(("policy", "attempts"), [({}, 8), ({"retry": RetryPolicy(attempts=2)}, 2)])
def test_only_the_default_policy_is_made_patient(
    policy: dict[str, Any], attempts: int, wire: Wire
) -> None:
    wire.trouble = lambda *_: error(500, "broken")
    client = AsyncChatloom("clf_w0", pool=wire, **policy)
    assert FakeClock().run(audit({"w0": client})).workspaces[0].requests == attempts


async def listed(pairs: Pairs) -> AsyncIterator[tuple[str, AsyncChatloom]]:
    for pair in pairs:
        await asyncio.sleep(0)
        yield pair


@pytest.mark.parametrize("form", [dict, list, iter, listed])
async def test_workspaces_may_come_in_any_form(form: Callable[[object], Pairs]) -> None:
    async with Sandbox(fleet(2).values()) as sandbox:
        url = sandbox.base_url
        async with AsyncChatloom("clf_w0", base_url=url) as one:
            both = {"w0": one, "w1": one.with_options(api_key="clf_w1")}
            report = await audit(form(iter(both.items())))
            assert len(await one.list_agents()) == 3  # it is its owner's still
    assert sorted(by_name(report)) == ["w0", "w1"]


def test_workspaces_at_once_and_calls_of_each_are_bounded() -> None:
    wire = Wire(fleet(40, agents=20))
    run(wire, concurrency=7, lookups=3)
    assert (wire.most_workspaces, wire.most_calls) == (7, 3)


def others() -> set[asyncio.Task[object]]:
    return asyncio.all_tasks() - {asyncio.current_task()}


@virtual
async def test_leaving_and_cancelling_leave_no_task_behind() -> None:
    wire = Wire(fleet(50, agents=20))
    async with stream_audit(clients(wire), concurrency=10) as results:
        await anext(results)
        assert others()
    assert others() == set()
    running = asyncio.create_task(audit(clients(wire, RateLimit(60, 1)), concurrency=10))
    await asyncio.sleep(5)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert others() == set()
    assert not +wire.under_way


async def test_an_audit_is_read_as_a_fan_out_is(wire: Wire) -> None:
    with pytest.raises(ConfigurationError, match="inside its 'async with' block"):
        await anext(stream_audit(clients(wire)))


def test_a_closed_pool_is_a_gap_of_every_workspace(wire: Wire) -> None:
    wire.closed = True
    report = run(wire)
    assert [w.gaps[0].error for w in report.workspaces] == [ClientClosedError.__name__] * 3


@pytest.mark.parametrize(("concurrency", "lookups"), [(0, 8), (True, 8), (100, -1), (100, "8")])
def test_a_number_that_cannot_work_is_refused_at_once(concurrency: int, lookups: int) -> None:
    with pytest.raises(ConfigurationError, match="whole number"):
        stream_audit({}, concurrency=concurrency, lookups=lookups)


@pytest.mark.parametrize("workspaces", [{"acme": "clf_secret"}, ["acme"], [("acme",)], [None]])
async def test_what_is_no_client_is_refused_and_not_shown(workspaces: Any) -> None:
    with pytest.raises(ConfigurationError, match="a workspace is a name and an Async") as caught:
        await audit(workspaces)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("concurrency", [24, 20])
@virtual
async def test_slow_keys_hold_nobody_up_while_a_place_is_left(concurrency: int) -> None:
    wire = Wire(fleet(40, agents=10))
    slow = {f"w{number}" for number in range(20)}
    wire.quotas = {name: Quota.fixed_window(3, 60).meter() for name in slow}
    async with stream_audit(clients(wire, RateLimit()), concurrency=concurrency) as results:
        done = [(result.workspace, now()) async for result in results]
    fast_first = slow.isdisjoint(name for name, _ in done[:20])
    assert fast_first is (concurrency > len(slow))
    if fast_first:
        assert done[19][1] < 2  # 20 workspaces, four at once, three answers of 0.05 s in a row
