"""API keys and where they come from: checked early, shown never, renewed by one asker."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import chatloom_async
from chatloom_async import (
    ApiKey,
    AsyncChatloom,
    AuthenticationError,
    ChatloomError,
    ConfigurationError,
    RetryPolicy,
)
from chatloom_async.testing import FakeClock, StubReply, StubTransport

KEY = "clf_current"
PACKAGE = Path(chatloom_async.__file__).parent
NO_AGENTS = StubReply({"agents": [], "count": 0})
REFUSED = StubReply({"error": "Invalid API key"}, 401)


def fingerprint(key: str) -> str:
    return ApiKey(key).fingerprint


class Source:
    """A key source that gives these answers, the last one for ever, and counts its questions."""

    def __init__(self, *answers: str | ApiKey | Exception, after: float = 0.0) -> None:
        self.answers, self.after, self.asked = list(answers), after, 0

    def __call__(self) -> str | ApiKey:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def later(self) -> str | ApiKey:
        await asyncio.sleep(self.after)
        return self()


def made(
    api_key: Any,
    *replies: StubReply | ChatloomError,
    retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - immutable
) -> tuple[AsyncChatloom, StubTransport, FakeClock]:
    clock = FakeClock()
    transport = StubTransport(replies, clock=clock)
    return AsyncChatloom(api_key, pool=transport, retry=retry), transport, clock


# Keys that cannot be one


BAD_KEYS = [
    ("", "no API key: generate one"),
    ("  \n", "no API key: generate one"),
    ("clf_", "starts with clf_ and goes on"),
    ("sk_12345", "starts with clf_"),
    ("CLF_12345", "starts with clf_"),
    ("Bearer clf_12345", "white space"),
    ("clf_12 345", "white space"),
    ("clf_12\n345", "white space"),
    ("clf_12\r\nX-Admin: 1", "white space"),
    ("clf_12\t345", "white space"),
    ("clf_12\x00345", "white space or other than printable"),
    ("clf_12\x7f345", "white space or other than printable"),
    ("clf_12é345", "white space or other than printable"),
    ("clf_12\u200b345", "white space or other than printable"),
    ("clf_“12345”", "white space or other than printable"),
    (b"clf_12345", "is text, not bytes"),
    (12345, "is text, not int"),
]


@pytest.mark.parametrize(("value", "problem"), BAD_KEYS)
def test_a_key_that_cannot_be_one_is_refused_before_any_request(value: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        made(value)


@pytest.mark.parametrize("value", ["sk_12345", "clf_12 345", "clf_12\n345", "clf_12é345"])
@pytest.mark.parametrize("take", [ApiKey, AsyncChatloom, lambda key: AsyncChatloom(lambda: key)])
def test_a_refused_key_is_neither_in_the_message_nor_in_a_local(
    value: str, take: Callable[[str], object]
) -> None:
    async def attempt(key: list[str]) -> None:
        client = take(key[0])
        if isinstance(client, AsyncChatloom):
            await client.list_agents()

    with pytest.raises(ConfigurationError) as caught:
        asyncio.run(attempt([value]))
    stack = traceback.TracebackException.from_exception(caught.value, capture_locals=True).stack
    ours = [summary.locals for summary in stack if Path(summary.filename).parent == PACKAGE]
    assert ours
    assert value not in str(caught.value)
    assert repr(value)[1:-1] not in "".join(text for kept in ours if kept for text in kept.values())


def test_a_missing_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHATLOOM_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="set CHATLOOM_API_KEY"):
        AsyncChatloom()


def test_the_key_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATLOOM_API_KEY", f"{KEY}\n")
    client, transport, clock = made(None, NO_AGENTS)
    clock.run(client.list_agents())
    assert transport.requests[0].fingerprint == fingerprint(KEY)


def test_a_given_key_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATLOOM_API_KEY", "clf_other")
    client, transport, clock = made(KEY, NO_AGENTS)
    clock.run(client.list_agents())
    assert transport.requests[0].fingerprint == fingerprint(KEY)


def test_an_empty_key_is_not_replaced_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CHATLOOM_API_KEY", KEY)
    with pytest.raises(ConfigurationError):
        AsyncChatloom("")


@pytest.mark.parametrize("text", [f"{KEY}\n", f"  {KEY}\r\n", f"\t{KEY} "])
def test_white_space_around_a_key_is_dropped(text: str) -> None:
    assert ApiKey(text).headers() == {"Authorization": f"Bearer {KEY}"}


# The key as a value


def test_the_key_goes_into_the_authorization_header() -> None:
    assert ApiKey(KEY).headers() == {"Authorization": f"Bearer {KEY}"}


def test_the_key_goes_into_the_second_header_when_asked() -> None:
    assert ApiKey(KEY, header="X-API-Key").headers() == {"X-API-Key": KEY}


def test_another_header_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'Authorization' or 'X-API-Key'"):
        ApiKey(KEY, header="Cookie")  # type: ignore[arg-type]  # the point


def test_keys_are_equal_when_their_values_are() -> None:
    assert ApiKey(KEY) == ApiKey(f" {KEY}", header="X-API-Key")
    assert ApiKey(KEY) != ApiKey("clf_other")
    assert ApiKey(KEY) != KEY


def test_equal_keys_have_one_hash() -> None:
    assert len({ApiKey(KEY), ApiKey(KEY, header="X-API-Key"), ApiKey("clf_other")}) == 2


def test_the_fingerprint_is_the_beginning_of_the_hash() -> None:
    assert ApiKey(KEY).fingerprint == hashlib.sha256(KEY.encode()).hexdigest()[:8]


@pytest.mark.parametrize("show", [repr, str, lambda key: f"{key}", lambda key: "%s" % key])  # noqa: UP031
def test_a_key_shows_its_fingerprint_only(show: Callable[[ApiKey], str]) -> None:
    assert show(ApiKey(KEY)) == f"ApiKey(clf_[redacted], fingerprint={fingerprint(KEY)})"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_key_refuses_to_be_pickled(protocol: int) -> None:
    with pytest.raises(TypeError, match="name of a secret"):
        pickle.dumps(ApiKey(KEY), protocol)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_a_copied_key_is_the_key_itself(duplicate: Callable[[ApiKey], ApiKey]) -> None:
    key = ApiKey(KEY)
    assert duplicate(key) is key


def test_the_key_is_taken_out_of_a_text() -> None:
    assert ApiKey(KEY).redact(f"no {KEY}, not {KEY}!") == "no clf_[redacted], not clf_[redacted]!"


# Callables


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("answer", [KEY, f"{KEY}\n", ApiKey(KEY)])
def test_a_callable_gives_the_key(kind: str, answer: str | ApiKey) -> None:
    source = Source(answer)
    client, transport, clock = made(source if kind == "sync" else source.later, NO_AGENTS)
    clock.run(client.list_agents())
    assert transport.requests[0].fingerprint == fingerprint(KEY)


def test_a_callable_is_not_asked_before_the_first_call() -> None:
    source = Source(KEY)
    made(source)
    assert source.asked == 0


def test_a_callable_is_asked_once_for_many_calls() -> None:
    source = Source(KEY, after=1.0)
    client, _, clock = made(source.later, *[NO_AGENTS] * 20)

    async def main() -> None:
        await asyncio.gather(*(client.list_agents() for _ in range(20)))

    clock.run(main())
    assert source.asked == 1


def test_an_error_of_the_callable_reaches_its_caller() -> None:
    client, transport, clock = made(Source(LookupError("vault is sealed")))
    with pytest.raises(LookupError, match="vault is sealed"):
        clock.run(client.list_agents())
    assert transport.requests == []


def test_a_callable_is_asked_again_when_its_first_answer_failed() -> None:
    client, _, clock = made(Source(LookupError("sealed"), KEY), NO_AGENTS)

    async def main() -> int:
        with pytest.raises(LookupError):
            await client.list_agents()
        return len(await client.list_agents())

    assert clock.run(main()) == 0


def test_a_callable_that_gives_no_key_is_a_configuration_error() -> None:
    client, transport, clock = made(Source("sk_wrong"))
    with pytest.raises(ConfigurationError, match="starts with clf_"):
        clock.run(client.list_agents())
    assert transport.requests == []


# After a 401


def test_a_401_is_final_with_a_fixed_key() -> None:
    client, transport, clock = made(KEY, REFUSED)
    with pytest.raises(AuthenticationError, match="Invalid API key"):
        clock.run(client.list_agents())
    assert len(transport.requests) == 1


def test_a_401_is_replayed_with_the_key_that_was_rotated() -> None:
    client, transport, clock = made(Source("clf_old", "clf_new"), REFUSED, NO_AGENTS)
    clock.run(client.list_agents())
    assert [request.fingerprint for request in transport.requests] == [
        fingerprint("clf_old"),
        fingerprint("clf_new"),
    ]


def test_the_replay_of_a_401_does_not_wait() -> None:
    client, transport, clock = made(Source("clf_old", "clf_new"), REFUSED, NO_AGENTS)
    clock.run(client.list_agents())
    assert [request.at for request in transport.requests] == [0, 0]


def test_a_401_is_not_replayed_when_the_key_is_the_same() -> None:
    source = Source(KEY)
    client, transport, clock = made(source, REFUSED)
    with pytest.raises(AuthenticationError):
        clock.run(client.list_agents())
    assert (len(transport.requests), source.asked) == (1, 2)


def test_a_401_is_replayed_once_only() -> None:
    source = Source("clf_1", "clf_2", "clf_3")
    client, transport, clock = made(source, REFUSED, REFUSED)
    with pytest.raises(AuthenticationError) as caught:
        clock.run(client.list_agents())
    assert (len(transport.requests), source.asked) == (2, 2)
    assert [attempt.outcome for attempt in caught.value.attempts] == ["401", "401"]


def test_a_401_is_never_replayed_when_one_attempt_is_allowed() -> None:
    client, transport, clock = made(
        Source("clf_old", "clf_new"), REFUSED, retry=RetryPolicy(attempts=1)
    )
    with pytest.raises(AuthenticationError):
        clock.run(client.list_agents())
    assert len(transport.requests) == 1


@pytest.mark.parametrize("calls", [2, 50])
def test_many_calls_that_fail_together_have_one_asker(calls: int) -> None:
    source = Source("clf_old", "clf_new", after=0.5)
    refused = StubReply(status=401, after=1.0)
    client, transport, clock = made(source.later, *[refused] * calls, *[NO_AGENTS] * calls)

    async def main() -> None:
        await asyncio.gather(*(client.list_agents() for _ in range(calls)))

    clock.run(main())
    assert (source.asked, len(transport.requests)) == (2, 2 * calls)


def test_a_call_refused_with_a_key_replaced_meanwhile_takes_the_new_one_unasked() -> None:
    source = Source("clf_old", "clf_new")
    late = StubReply(status=401, after=5.0)
    client, _, clock = made(source, late, REFUSED, NO_AGENTS, NO_AGENTS)

    async def main() -> None:
        await asyncio.gather(client.list_agents(), client.list_agents())

    clock.run(main())
    assert source.asked == 2


def test_later_calls_use_the_rotated_key() -> None:
    client, transport, clock = made(Source("clf_old", "clf_new"), REFUSED, NO_AGENTS, NO_AGENTS)

    async def main() -> None:
        await client.list_agents()
        await client.list_agents()

    clock.run(main())
    assert transport.requests[-1].fingerprint == fingerprint("clf_new")


def test_the_401_comes_out_when_asking_again_fails() -> None:
    client, transport, clock = made(Source(KEY, LookupError(f"no {KEY}")), REFUSED)
    with pytest.raises(AuthenticationError) as caught:
        clock.run(client.list_agents())
    assert caught.value.__notes__ == ["asking for another key failed: LookupError"]
    assert len(transport.requests) == 1


def test_cancelling_the_asker_leaves_the_others_their_key() -> None:
    source = Source(KEY, after=1.0)
    client, transport, clock = made(source.later, NO_AGENTS)

    async def main() -> None:
        asker = asyncio.create_task(client.list_agents())
        other = asyncio.create_task(client.list_agents())
        await asyncio.sleep(0.5)
        asker.cancel()
        await other

    clock.run(main())
    assert len(transport.requests) == 1


def test_one_client_asks_in_every_event_loop_it_is_used_in() -> None:
    client, transport, clock = made(Source(KEY), NO_AGENTS, NO_AGENTS)
    clock.run(client.list_agents())
    clock.run(client.list_agents())
    assert len(transport.requests) == 2
