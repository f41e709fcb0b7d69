"""Answers kept for a while, calls that share a request, and what is served when the API fails."""

import asyncio
import itertools
import math
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import frozen

from chatloom_async import (
    APIConnectionError,
    APITimeoutError,
    AsyncChatloom,
    Cache,
    CacheStatistics,
    ChatloomError,
    ClientClosedError,
    ConfigurationError,
    ConnectionPool,
    DeadlineExceededError,
    InternalServerError,
    NotFoundError,
    RateLimit,
    RetryPolicy,
)
from chatloom_async.calls.attempts import CallRecord
from chatloom_async.calls.call import enter
from chatloom_async.calls.request import build_request
from chatloom_async.events import AttemptEnded, CacheAnswered, CallStarted, Event
from chatloom_async.testing import FakeClock, Sandbox, StubReply, StubTransport
from chatloom_async.transport import Ending, InFlight
from tests.clients import KEY as ACME
from tests.threads import in_threads
from tests.virtual import now

pytestmark = pytest.mark.virtual
KEY = "clf_cached"
DEFAULT = Cache()
ONCE = RetryPolicy(attempts=1)
DOWN = StubReply(status=503)
ERRORS: list[StubReply | ChatloomError] = [
    DOWN,
    StubReply(status=429, headers={"retry-after": "3600"}),
    StubReply(status=403, headers={"retry-after": "3600"}),
    StubReply({"no": "domains"}),
    StubReply({"domains": []}, after=20.0),
    APIConnectionError("refused", "connect"),
    APIConnectionError("unknown host", "dns"),
]


@frozen
class Hooks:
    """The model of an endpoint that does not say when it was answered."""

    hooks: tuple[int, ...]


def answers() -> Iterable[StubReply]:
    """A different answer each time: v1.example, v2.example, …"""
    return (StubReply({"domains": [f"v{number}.example"]}) for number in itertools.count(1))


class Case:
    """A script of replies in virtual time, and clients of it."""

    def __init__(self, *script: StubReply | ChatloomError) -> None:
        self.told: list[Event] = []
        self.pool = StubTransport(itertools.chain(script, answers()), observer=self.told.append)

    def client(self, key: Any = KEY, *, cache: Cache | None = DEFAULT, **options: Any) -> Any:
        options = {"retry": ONCE, "base_url": "https://one.example", "pool": self.pool, **options}
        return AsyncChatloom(key, cache=cache, **options)

    @property
    def requests(self) -> int:
        return len(self.pool.requests)


def first(*domains: str) -> StubReply:
    return StubReply({"domains": list(domains)})


async def look_up(client: AsyncChatloom, agent_id: str = "agt_1") -> str:
    return (await client.get_allowed_domains(agent_id))[0]


async def aged(case: Case, *agent_ids: str, **options: Any) -> Any:
    """A client that keeps answers about these agents, too old to be served unasked."""
    client = case.client(**options)
    for agent_id in agent_ids or ("agt_1",):
        await look_up(client, agent_id)
    await asyncio.sleep(100)
    return client


async def test_an_answer_is_served_until_it_is_old() -> None:
    case = Case()
    client = case.client(cache=Cache(ttl=60))
    found = []
    for wait in (0, 59.9, 0.2):
        await asyncio.sleep(wait)
        found.append(await look_up(client))
    assert found == ["v1.example", "v1.example", "v2.example"]


async def test_an_answer_tells_when_it_came() -> None:
    client, before = Case().client(), datetime.now(UTC)
    young = await client.get_allowed_domains("agt_1")
    await asyncio.sleep(7)
    kept = await client.get_allowed_domains("agt_1")
    assert before <= young.answered_at == kept.answered_at <= datetime.now(UTC)
    assert (young.is_stale, kept.is_stale) == (False, False)


async def test_the_caches_of_a_pool_are_bounded() -> None:
    case = Case()
    own = case.client(cache=Cache(ttl=1_000))
    assert await look_up(own) == "v1.example"
    for ttl in range(1, 100):
        await look_up(case.client())
        await look_up(case.client(cache=Cache(ttl=ttl)))
    assert len(case.pool.shared.caches) == 16
    assert await look_up(case.client()) == "v2.example"
    assert await look_up(own) == "v1.example"
    own.invalidate()
    assert await look_up(own) == f"v{case.requests}.example"


@pytest.mark.parametrize(
    "other",
    [
        {"key": "clf_other"},
        {"base_url": "https://two.example"},
        {"cache": None},
        {"cache": Cache(ttl=61)},
        {"pool": StubTransport([first("other.example")])},
    ],
    ids=lambda other: next(iter(other)),
)
async def test_key_server_pool_and_cache_tell_answers_apart(other: dict[str, Any]) -> None:
    case = Case()
    mine, theirs = await look_up(case.client()), await look_up(case.client(**other))
    assert mine != theirs


async def test_plain_values_are_each_callers_own() -> None:
    case = Case(StubReply({"hooks": [1]}, after=1.0))
    client = case.client()
    found = await asyncio.gather(*(client.get_raw("/api/v2/hooks") for _ in range(3)))
    found.append(await client.get_raw("/api/v2/hooks"))
    for each in found:
        each["hooks"].append(2)
    assert found == [{"hooks": [1, 2]}] * 4
    assert case.requests == 1


async def test_a_model_that_tells_no_time_stays_one() -> None:
    case = Case(StubReply({"hooks": [1]}))
    calls = case.client()._calls  # noqa: SLF001 - what the method of a new endpoint uses
    request = build_request("GET", "https://chatloom.app", "/api/v2/hooks")
    assert [await calls.fetch(request, Hooks) for _ in range(2)] == [Hooks((1,))] * 2
    assert case.requests == 1


async def test_queries_are_told_apart() -> None:
    case = Case(StubReply(1), StubReply(2))
    client = case.client()
    assert [await client.get_raw(f"/api/v2/hooks?page={page}") for page in (1, 2, 1)] == [1, 2, 1]


ONE = 2400 + 3 * len(b'{"domains": ["v1.example"]}')


@pytest.mark.parametrize("cache", [Cache(max_entries=2), Cache(max_bytes=2 * ONE)])
async def test_what_was_used_least_recently_goes_first(cache: Cache) -> None:
    case = Case()
    client = case.client(cache=cache)
    assert [await look_up(client, agent_id) for agent_id in ("a", "b", "a", "c", "a", "b")] == [
        f"v{number}.example" for number in (1, 2, 1, 3, 1, 4)
    ]
    assert case.pool.shared.answers(cache).statistics().entries == 2


async def test_what_exceeds_the_cache_is_not_kept() -> None:
    case = Case()
    client = case.client(cache=Cache(max_bytes=100))
    assert [await look_up(client), await look_up(client)] == ["v1.example", "v2.example"]


@pytest.mark.parametrize(("agent_id", "other"), [(None, "5"), ("agt_1", "2")])
async def test_what_is_invalidated_is_asked_again(agent_id: str | None, other: str) -> None:
    case = Case()
    client, foreign = case.client(), case.client("clf_other")
    for expected in ("123", f"4{other}3"):
        found = await look_up(client), await look_up(client, "agt_2"), await look_up(foreign)
        assert "".join(domain[1] for domain in found) == expected
        client.invalidate(agent_id)


async def test_an_answer_invalidated_under_way_is_not_kept() -> None:
    case = Case(StubReply({"domains": ["old.example"]}, after=1.0))
    client = case.client()
    early = asyncio.create_task(look_up(client))
    await asyncio.sleep(0.5)
    client.invalidate()
    found = [await look_up(client), await early, await look_up(client)]
    assert found == ["v1.example", "old.example", "v1.example"]


@pytest.mark.parametrize("cache", [DEFAULT, Cache(ttl=7), None], ids=["same", "other", "none"])
async def test_a_change_drops_what_was_kept(cache: Cache | None) -> None:
    case = Case(first("old.example"), StubReply(status=204))
    client = case.client()
    await look_up(client)
    await case.client(cache=cache).send_raw("PUT", "/api/plugin/agents/agt_1", json={})
    assert await look_up(client) == "v1.example"


async def test_a_get_with_a_body_is_always_asked() -> None:
    case = Case()
    client = case.client()
    for number in (1, 2):
        found = await client.send_raw("GET", "/api/plugin/search", json={"page": number})
        assert found == {"domains": [f"v{number}.example"]}


async def test_a_workspace_without_a_key_cannot_be_invalidated() -> None:
    case = Case()
    await look_up(case.client())
    with pytest.raises(ConfigurationError, match="make a call first"):
        case.client(lambda: KEY).invalidate()


def slow() -> StubReply:
    return StubReply({"domains": ["slow.example"]}, after=5.0)


async def test_a_thousand_identical_calls_make_one_request() -> None:
    case = Case(slow())
    found = await asyncio.gather(*(look_up(case.client()) for _ in range(1000)))
    assert (set(found), case.requests) == ({"slow.example"}, 1)
    size = 2400 + 3 * len(b'{"domains": ["slow.example"]}')
    told = case.pool.shared.answers(Cache()).statistics()
    assert told == CacheStatistics(joined=999, misses=1, entries=1, size=size)


async def test_only_the_last_cancelled_call_cancels_the_request() -> None:
    case = Case(slow())
    *calls, last = [asyncio.create_task(look_up(case.client())) for _ in range(10)]
    await asyncio.sleep(1)
    for call in calls:
        call.cancel()
    await asyncio.sleep(1)
    assert not last.done()
    last.cancel()
    await asyncio.sleep(0)  # it learns of it
    await asyncio.sleep(0)  # and one tick later the request is gone
    assert len(asyncio.all_tasks()) == 1
    assert [e.outcome for e in case.told if isinstance(e, AttemptEnded)] == ["cancelled"]
    assert await look_up(case.client()) == "v1.example"


@pytest.mark.parametrize(
    ("later", "deadline", "told"),
    [(0, 10, "slow"), (2, 6, "slow"), (2, None, "slow"), (0, 4, "within 4 s")],
)
async def test_each_call_has_its_own_deadline(
    later: float, deadline: float | None, told: str
) -> None:
    case = Case(slow())
    hasty, patient = (case.client(retry=RetryPolicy(deadline=limit)) for limit in (3.0, deadline))
    early = asyncio.create_task(look_up(hasty))
    await asyncio.sleep(later)
    late = asyncio.create_task(look_up(patient))
    with pytest.raises(DeadlineExceededError, match="within 3 s"):
        await early
    assert (now(), case.requests) == (3.0, 1)
    await asyncio.wait([late])
    assert told in str(late.exception() or late.result())
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("turns", range(2))
async def test_a_call_joining_at_the_end_is_answered(turns: int) -> None:
    case, loop = Case(slow()), asyncio.get_running_loop()
    early = asyncio.create_task(look_up(case.client(retry=RetryPolicy(deadline=1.0))))
    await asyncio.sleep(0)
    late: list[asyncio.Task[str]] = []

    async def join() -> str:
        for _ in range(turns):
            await asyncio.sleep(0)
        return await look_up(case.client())

    loop.call_at(1.0, lambda: late.append(loop.create_task(join())))
    with pytest.raises(DeadlineExceededError, match="within 1 s"):
        await early
    assert now() < 1.5
    assert await late[0] in ("slow.example", "v1.example")


async def test_a_deadline_holds_though_the_shared_one_moves() -> None:
    request = build_request("GET", "https://chatloom.app", "/x")
    flight = CallRecord(request, 1.0)
    call = CallRecord(request, 1.0, flight)
    enter(call, InFlight(), None)
    asyncio.get_running_loop().call_at(1.05, setattr, flight, "give_up_at", math.inf)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(10)
    assert call.withdraw_cancellation() is Ending.DEADLINE
    assert now() == pytest.approx(1.2)
    call.silence()


async def test_a_later_call_waits_longer_for_the_gate() -> None:
    refusals = [StubReply(status=429, headers={"retry-after": wait}) for wait in ("2", "30")]
    case = Case(*refusals)
    hasty, patient = (case.client(retry=RetryPolicy(deadline=limit)) for limit in (15.0, None))
    calls = [asyncio.create_task(look_up(patient, "agt_2"))]
    for client in (hasty, patient):
        await asyncio.sleep(0.5)
        calls.append(asyncio.create_task(look_up(client)))
    other, early, late = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(early, DeadlineExceededError)
    assert {other, late} == {"v1.example", "v2.example"}


async def test_a_deadline_ends_what_nobody_waits_for() -> None:
    client = Case(slow()).client(retry=RetryPolicy(deadline=3.0))
    with pytest.raises(DeadlineExceededError) as caught:
        await look_up(client)
    assert isinstance(caught.value.last_failure, APITimeoutError)
    assert (len(asyncio.all_tasks()), now()) == (1, 3.0)


async def test_all_who_wait_get_their_own_error() -> None:
    case = Case(StubReply(status=404, after=1.0))
    calls = (look_up(case.client()) for _ in range(3))
    errors: list[Any] = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(error) for error in errors] == [NotFoundError] * 3
    assert len({id(error) for error in errors}) == 3
    assert {len(error.attempts) for error in errors} == {1}


async def test_who_waits_tries_by_its_own_policy() -> None:
    case = Case(StubReply(status=500, after=1.0), StubReply(status=500, after=1.0))
    thorough = RetryPolicy(attempts=3)
    calls = (look_up(case.client(retry=each)) for each in (ONCE, thorough, thorough))
    error, *found = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(error, InternalServerError)
    assert (found, case.requests) == (["v1.example"] * 2, 3)


async def test_closing_a_client_ends_its_own_calls_only() -> None:
    case = Case(slow())
    mine, theirs = case.client(), case.client()
    own, other = (asyncio.create_task(look_up(each)) for each in (mine, theirs))
    await asyncio.sleep(1)
    await mine.aclose()
    with pytest.raises(ClientClosedError) as caught:
        await own
    assert caught.value.path == "/api/plugin/agents/agt_1/allowed-domains"
    assert await other == "slow.example"
    with pytest.raises(ClientClosedError):
        await look_up(mine)  # although it is kept


async def test_a_renewed_keys_answer_is_for_its_holders() -> None:
    case = Case(StubReply(status=401, after=1.0), first("of the new key"), first("of the old key"))
    keys = iter([KEY, "clf_of_another_workspace"])
    renewing, fixed = case.client(lambda: next(keys), retry=RetryPolicy()), case.client()
    early = asyncio.create_task(look_up(renewing))
    await asyncio.sleep(0.5)
    found = [await look_up(fixed), await early]
    assert [*found, await look_up(fixed), await look_up(renewing)] == [
        "of the old key",
        "of the new key",
    ] * 2


def test_one_loop_after_another_finds_what_was_kept() -> None:
    clock, client = FakeClock(), Case().client()
    found = [clock.run(look_up(client)) for _ in range(3)]
    assert found == ["v1.example"] * 3


def test_loops_in_threads_share_answers_and_no_request(served: Sandbox) -> None:
    pool, found, start = ConnectionPool(), [], threading.Barrier(4)

    async def ask() -> None:
        client = AsyncChatloom(ACME, base_url=served.base_url, pool=pool, cache=Cache())
        start.wait()
        for number in range(200):
            agents = await client.list_agents()
            domains = await client.get_allowed_domains(agents[number % 2].id)
            found.append(len(domains))

    in_threads(4, ask)
    asyncio.run(pool.aclose())
    assert len(found) == 800
    assert served.count() <= 4 * 3


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("deadline", [None, 2.0])
async def test_an_old_answer_is_better_than_a_failure(
    error: StubReply | ChatloomError, deadline: float | None
) -> None:
    case = Case(first("old.example"), error)
    policy = RetryPolicy(attempts=1, deadline=deadline)
    client = case.client(cache=Cache(ttl=60, stale_if_error=300), retry=policy)
    young = await client.get_allowed_domains("agt_1")
    await asyncio.sleep(300)
    old = await client.get_allowed_domains("agt_1")
    assert (old[0], old.is_stale, old.answered_at) == ("old.example", True, young.answered_at)


async def test_a_very_old_answer_is_not_served() -> None:
    client = await aged(Case(first("old.example"), DOWN), cache=Cache(ttl=60, stale_if_error=30))
    with pytest.raises(InternalServerError):
        await look_up(client)


@pytest.mark.parametrize(
    ("status", "left"), [(400, "b.example"), (401, "503"), (403, "503"), (404, "b.example")]
)
async def test_a_definite_answer_ends_the_old_one(status: int, left: str) -> None:
    case = Case(first("a.example"), first("b.example"), StubReply(status=status), DOWN, DOWN)
    client = await aged(case, "a", "b")
    asked = [await asyncio.gather(look_up(client, each), return_exceptions=True) for each in "aab"]
    told = [str(outcome) for [outcome] in asked]
    assert all(map(str.startswith, told, (f"{status}", "503", left)))


async def test_nobody_waits_for_what_is_known_to_fail() -> None:
    hangs = StubReply({}, after=9.0)
    case = Case(first("a.example"), first("b.example"), hangs, hangs, hangs)
    client = await aged(case, "a", "b", retry=RetryPolicy(attempts=1, deadline=4.0))
    waits = []
    for agent_id in ("a", "b", "a", "b"):
        since = now()
        assert (await client.get_allowed_domains(agent_id)).is_stale
        waits.append(now() - since)
    await asyncio.sleep(1)
    await client.get_allowed_domains("a")  # one call finds out, and nobody waits for it
    await client.get_allowed_domains("b")
    await asyncio.sleep(0)
    assert waits == [4.0, 0.0, 0.0, 0.0]
    assert case.requests == 4


@pytest.mark.parametrize("agent_id", ["a", "b"])
async def test_one_success_lets_all_be_asked_again(agent_id: str) -> None:
    case = Case(first("a.example"), first("b.example"), DOWN)
    client = await aged(case, "a", "b")
    found = []
    for asked in ("a", "a", agent_id):
        found.append((await client.get_allowed_domains(asked)).is_stale)
        await asyncio.sleep(1.5)
    assert found == [True, True, False]


async def test_one_agent_that_fails_leaves_the_others_young() -> None:
    case = Case(first("a.example"), first("b.example"), *(first("a.example"), DOWN) * 3)
    client = await aged(case, "a", "b")
    for _ in range(3):
        assert not (await client.get_allowed_domains("a")).is_stale
        assert (await client.get_allowed_domains("b")).is_stale
        await asyncio.sleep(70)


async def test_a_full_rate_limit_is_no_outage() -> None:
    case = Case()
    await aged(case)
    full = case.client(rate_limit=RateLimit(per_minute=1, burst=1), retry=RetryPolicy(deadline=1))
    await look_up(full, "agt_2")
    assert (await full.get_allowed_domains("agt_1")).is_stale
    assert not (await case.client().get_allowed_domains("agt_1")).is_stale


async def test_closing_the_pool_ends_a_background_renewal() -> None:
    case = Case(first("a.example"), DOWN, StubReply({}, after=9.0))
    client = await aged(case)
    await look_up(client)
    await asyncio.sleep(2)
    await look_up(client)
    await asyncio.sleep(1)
    assert len(asyncio.all_tasks()) == 2
    await case.pool.aclose()
    await asyncio.sleep(0.001)
    assert len(asyncio.all_tasks()) == 1


async def test_observers_hear_of_what_needed_no_request() -> None:
    case = Case(slow(), DOWN)
    client = case.client()
    await asyncio.gather(look_up(client), look_up(client))
    await look_up(client)
    await asyncio.sleep(100)
    await look_up(client)
    told = [event for event in case.told if isinstance(event, CacheAnswered)]
    assert [event.how for event in told] == ["joined", "hit", "stale"]
    assert {event.path for event in told} == {"/api/plugin/agents/agt_1/allowed-domains"}
    counted = case.pool.shared.answers(DEFAULT).statistics()
    assert (counted.joined, counted.hits, counted.stale) == (1, 1, 1)
    assert len([event for event in case.told if isinstance(event, CallStarted)]) == 2
    assert (client.stats().calls, client.stats().requests) == (4, 2)


@pytest.mark.parametrize(
    ("option", "value"),
    [("ttl", 0), ("ttl", math.nan), ("stale_if_error", -1), ("max_entries", 0), ("max_bytes", 1.5)],
)
def test_a_cache_that_cannot_work_is_refused(option: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=option):
        Cache(**{option: value})
