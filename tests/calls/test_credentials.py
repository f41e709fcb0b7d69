"""Where a client's key comes from: one asker for many calls, renewed once after a 401."""

import asyncio
import gc
import traceback
import weakref
from typing import Any

import pytest

from chatloom_async import (
    ApiKey,
    AsyncChatloom,
    AuthenticationError,
    Cache,
    ChatloomError,
    ConfigurationError,
    DeadlineExceededError,
    RetryPolicy,
)
from chatloom_async.testing import FakeClock, StubReply, StubTransport
from tests.clients import outcomes, scripted
from tests.garbage import no_collector
from tests.virtual import now

pytestmark = pytest.mark.virtual
KEY = "clf_current"
NO_AGENTS = StubReply({"agents": [], "count": 0})
REFUSED = StubReply({"error": "Invalid API key"}, 401)


def fingerprint(key: str) -> str:
    return ApiKey(key).fingerprint


class Source:
    """A key source that gives these answers, the last one for ever, and counts its questions."""

    def __init__(self, *answers: str | ApiKey | BaseException, after: float = 0.0) -> None:
        self.answers, self.after, self.asked = list(answers), after, 0

    def __call__(self) -> str | ApiKey:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def later(self) -> str | ApiKey:
        await asyncio.sleep(self.after)
        return self()


def made(
    api_key: Any, *replies: StubReply | ChatloomError, **options: Any
) -> tuple[AsyncChatloom, StubTransport]:
    # Without a limiter: calls that are to fail together leave together.
    return scripted(*replies, key=api_key, rate_limit=None, **options)


def test_a_missing_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHATLOOM_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match=r"^no API key: .* set CHATLOOM_API_KEY"):
        AsyncChatloom()


@pytest.mark.parametrize(
    ("given", "environment"),
    [
        (None, f"{KEY}\n"),
        *((each, "clf_other") for each in (KEY, Source(f"{KEY}\n"), Source(ApiKey(KEY)).later)),
    ],
)
async def test_the_environment_gives_the_key_unless_given(
    given: Any, environment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLOOM_API_KEY", environment)
    client, transport = made(given, NO_AGENTS)
    await client.list_agents()
    assert transport.requests[0].fingerprint == fingerprint(KEY)


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize(
    ("answer", "told"),
    [(OSError("vault is down"), (OSError, "vault")), ("sk_wrong", (ConfigurationError, "an API"))],
    ids=["an error", "no key"],
)
async def test_a_failing_callable_is_asked_once_for_many(
    kind: str, answer: str | Exception, told: tuple[type[Exception], str]
) -> None:
    source = Source(answer, after=2.0)
    client, transport = made(source if kind == "sync" else source.later)
    found = await outcomes(client, 20)
    assert {(type(each), str(each)[: len(told[1])]) for each in found} == {told}
    assert (len(found), source.asked, transport.requests) == (20, 1, [])
    assert now() == (0 if kind == "sync" else 2)


async def test_calls_do_not_lengthen_the_sources_traceback() -> None:
    client, _ = made(Source(OSError("vault is down")))
    for _ in range(2):
        for each in await outcomes(client, 20):
            assert isinstance(each, OSError)
            frames = traceback.extract_tb(each.__traceback__)
            assert frames[-1].name == "__call__"
            assert len(frames) < 15


@pytest.mark.parametrize(
    "options", [{}, {"cache": Cache(), "retry": RetryPolicy(deadline=3.0)}], ids=["raised", "late"]
)
def test_a_callables_error_needs_no_garbage_collection(options: Any) -> None:
    class VaultError(Exception):
        pass

    async def source() -> str:
        await asyncio.sleep(5)
        raise VaultError

    async def main() -> list[weakref.ref[Exception]]:
        client, _ = made(source, **options)
        alive: list[weakref.ref[Exception]] = []
        for call in [asyncio.create_task(client.list_agents()) for _ in range(3)]:
            try:
                await call
            except (VaultError, DeadlineExceededError) as error:
                alive.append(weakref.ref(error))
            del call
        return alive

    with no_collector():
        assert [alive() for alive in FakeClock().run(main())] == [None] * 3


async def test_a_slow_callable_outlives_calls_that_give_up() -> None:
    source = Source(KEY, after=5.0)
    client, transport = made(source.later, NO_AGENTS, retry=RetryPolicy(deadline=3.0))
    with pytest.raises(DeadlineExceededError):
        await client.list_agents()
    await client.list_agents()
    assert (source.asked, len(transport.requests), now()) == (1, 1, 5)


async def test_a_callable_cancelled_from_inside_is_an_error() -> None:
    client, transport = made(Source(asyncio.CancelledError()).later)
    with pytest.raises(ConfigurationError, match="the key source was cancelled"):
        await client.list_agents()
    assert transport.requests == []


@pytest.mark.parametrize("problem", [None, LookupError("sealed"), asyncio.CancelledError()])
@pytest.mark.parametrize("stay", [0.5, 2.0])
async def test_an_abandoned_callable_is_quiet(problem: BaseException | None, stay: float) -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))
    client, _ = made(Source(problem or KEY, after=1.0).later)
    call = asyncio.create_task(client.list_agents())
    await asyncio.sleep(0.1)
    call.cancel()
    await asyncio.wait([call])
    await asyncio.sleep(stay)
    del client
    gc.collect()
    assert complaints == []


async def test_every_401_comes_out_when_asking_again_fails() -> None:
    source = Source(KEY, LookupError(f"no {KEY}"), after=0.5)
    client, transport = made(source.later, *[StubReply(status=401, after=1.0)] * 20)
    for each in await outcomes(client, 20):
        assert isinstance(each, AuthenticationError)
        assert each.__notes__ == ["asking for another key failed: LookupError"]
    assert (source.asked, len(transport.requests)) == (2, 20)


async def test_a_401_is_told_when_asking_ends_late() -> None:
    source = Source(KEY, KEY, after=10.0)
    client, _ = made(source.later, REFUSED, retry=RetryPolicy(deadline=15.0))
    with pytest.raises(DeadlineExceededError) as caught:
        await client.list_agents()
    assert [attempt.outcome for attempt in caught.value.attempts] == ["401"]
    assert isinstance(caught.value.last_failure, AuthenticationError)


@pytest.mark.parametrize(
    ("key", "attempts", "requests"),
    [
        (KEY, 4, 1),
        (Source(KEY), 4, 1),
        (Source("clf_1", "clf_2", "clf_3"), 4, 2),
        (Source("clf_1", "clf_2"), 1, 1),
    ],
    ids=["a fixed key", "the same key", "another and another", "one attempt"],
)
async def test_a_401_is_replayed_once(key: str | Source, attempts: int, requests: int) -> None:
    client, transport = made(key, *[REFUSED] * 2, retry=RetryPolicy(attempts=attempts))
    with pytest.raises(AuthenticationError, match="Invalid API key") as caught:
        await client.list_agents()
    assert [attempt.outcome for attempt in caught.value.attempts] == ["401"] * requests
    assert len(transport.requests) == requests
    if isinstance(key, Source):
        assert key.asked == 2
    else:
        assert not hasattr(caught.value, "__notes__")  # nobody was asked for another one


async def test_many_calls_have_one_asker() -> None:
    source = Source("clf_old", "clf_new", after=0.5)
    refused = StubReply(status=401, after=1.0)
    client, transport = made(source.later, *[refused] * 50, *[NO_AGENTS] * 50)
    assert source.asked == 0
    await outcomes(client, 50)
    told = [(request.fingerprint, request.at) for request in transport.requests]
    old, new = (fingerprint("clf_old"), 0.5), (fingerprint("clf_new"), 2.0)
    assert (source.asked, told) == (2, [old] * 50 + [new] * 50)


async def test_a_key_replaced_meanwhile_is_taken_unasked() -> None:
    source = Source("clf_old", "clf_new")
    late = StubReply(status=401, after=5.0)
    client, _ = made(source, late, REFUSED, NO_AGENTS, NO_AGENTS)
    await asyncio.gather(client.list_agents(), client.list_agents())
    assert source.asked == 2


async def test_a_key_refused_as_it_came_is_renewed() -> None:
    source = Source("clf_old", "clf_new", after=1.0)
    client, transport = made(source.later, REFUSED, NO_AGENTS, NO_AGENTS)
    first = asyncio.create_task(client.list_agents())
    await asyncio.sleep(1)
    await asyncio.gather(first, client.list_agents())
    assert transport.requests[-1].fingerprint == fingerprint("clf_new")


def test_one_client_asks_in_every_event_loop() -> None:
    client, transport = made(Source(KEY), NO_AGENTS, NO_AGENTS)
    for _ in range(2):
        FakeClock().run(client.list_agents())
    assert len(transport.requests) == 2
