"""Quotas: whom they concern, and the refusals a sandbox makes of them."""

import asyncio

import pytest

from chatloom_async.testing.faults import Fault
from chatloom_async.testing.quota import AppliedQuota, Quota
from chatloom_async.testing.sandbox import Sandbox
from chatloom_async.testing.workspaces import make_workspace
from tests.testing.asking import AGENTS, ask, statuses


async def asked(sandbox: Sandbox, requests: int, key: str = "clf_a") -> list[int]:
    return await statuses(sandbox, *[AGENTS] * requests, key=key)


def sandbox_with(quota: Quota) -> Sandbox:
    workspaces = [make_workspace(name, f"clf_{name}", agents=1) for name in "ab"]
    return Sandbox(workspaces, quota=quota, clock=lambda: 0.0)


ONE = Quota.fixed_window(1, 10)
STATUSES: dict[str, tuple[Quota, dict[str, list[int]]]] = {
    "one a key": (ONE, {"clf_a": [200, 429], "clf_b": [200, 429]}),
    "none a key that is refused": (ONE, {"clf_nobody": [401, 401, 401]}),
    "one a workspace": (
        ONE.on(workspace="a").on(path=AGENTS),
        {"clf_a": [200, 429], "clf_b": [200, 200]},
    ),
    "one an address": (ONE.per_address(), {"clf_a": [200], "clf_b": [429]}),
}


@pytest.mark.parametrize(("quota", "expected"), STATUSES.values(), ids=STATUSES)
async def test_a_quota_counts_for_whom_it_is(quota: Quota, expected: dict[str, list[int]]) -> None:
    async with sandbox_with(quota) as sandbox:
        found = {key: await asked(sandbox, len(expected[key]), key) for key in expected}
    assert found == expected


async def test_a_new_key_and_nothing_else_renews_a_quota() -> None:
    async with sandbox_with(ONE) as sandbox:
        await asked(sandbox, 1)
        sandbox.add(make_workspace("a", "clf_a", agents=2))
        assert await asked(sandbox, 1) == [429]
        assert await asked(sandbox, 1, sandbox.rotate("a")) == [200]


@pytest.mark.parametrize(
    ("quota", "header"),
    [
        (Quota.fixed_window(1, 3.5), "4"),
        (Quota.fixed_window(1, 3.5).telling("silent"), None),
        (Quota.fixed_window(1, 3.5, retry_after=False), None),
        (Quota.sliding_window(1, 3.5, retry_after=False), None),
        (Quota.token_bucket(20, 1, retry_after=False), None),
        (Quota.gcra(20, 1, retry_after=False), None),
    ],
)
async def test_a_refusal_says_how_long_to_wait(quota: Quota, header: str | None) -> None:
    async with sandbox_with(quota) as sandbox:
        _, refusal = [await ask(sandbox, key="clf_a") for _ in range(2)]
    assert refusal.headers.get("Retry-After") == header
    assert refusal.headers["Content-Type"].startswith("application/json")
    assert list(refusal.json) == ["error"]


async def test_every_answer_tells_what_is_left() -> None:
    quota = Quota.fixed_window(2, 10).telling("draft-7").answering(503, html=True)
    async with sandbox_with(quota) as sandbox:
        answers = [await ask(sandbox, key="clf_a") for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 503]
    assert answers[2].headers["Content-Type"].startswith("text/html")
    assert [answer.headers["RateLimit"] for answer in answers] == [
        f"limit=2, remaining={left}, reset=10" for left in (1, 0, 0)
    ]


async def test_an_answer_gives_its_place_back() -> None:
    workspace, hang = make_workspace("a", "clf_a", agents=1), Fault.hang()
    async with Sandbox([workspace], quota=Quota.in_flight(1), faults=[hang]) as sandbox:
        hanging = asyncio.create_task(ask(sandbox, key="clf_a"))
        while not sandbox.count():
            await asyncio.sleep(0)
        assert await asked(sandbox, 1) == [429]
        hanging.cancel()
        # The server sees the client leave some turns of the loop later.
        answers = [await asked(sandbox, 1) for _ in range(50)]
    assert answers[-1] == [200]


def test_a_cached_refusal_holds_until_the_reset() -> None:
    applied = AppliedQuota(Quota.sliding_counters(10, 10).cached())
    for now in (2.0, 12.0):
        while applied.admit("key", now, 0.0).admitted:
            pass
    assert not applied.admit("key", 19.0, 0.0).admitted  # though nine places are free again
    assert applied.admit("key", 20.0, 0.0).admitted


async def test_what_one_quota_refuses_uses_no_other() -> None:
    workspace = make_workspace("a", "clf_a", agents=1)
    quotas = [Quota.in_flight(1), Quota.fixed_window(1, 10).answering(503)]
    async with Sandbox([workspace], quota=quotas, clock=lambda: 0.0) as sandbox:
        assert await asked(sandbox, 3) == [200, 503, 503]
