"""Observers: what they are told of a call, and that they cannot break one."""

import asyncio
import contextlib
import logging
from typing import Any

import pytest

from chatloom_async import ApiKey, AsyncChatloom, ChatloomError, NotFoundError, RetryPolicy
from chatloom_async.events import AttemptEnded, CallEnded, CallStarted, Event
from chatloom_async.testing import FakeClock, StubReply, StubTransport
from tests.virtual import virtual

KEY = "clf_observed_and_never_told"
DOMAINS = StubReply({"domains": []})


def told(*replies: StubReply | ChatloomError, key: Any = KEY, left: bool = False) -> list[Event]:
    """Look one agent's domains up, or leave it amid, and return what the observer heard."""
    heard: list[Event] = []
    clock = FakeClock()
    transport = StubTransport(replies, clock=clock, observer=heard.append)
    policy = RetryPolicy(attempts=2)

    async def call() -> None:
        async with AsyncChatloom(key, pool=transport, retry=policy, timeout=1.0) as chatloom:
            async with asyncio.timeout(0.5 if left else None):
                await chatloom.get_allowed_domains("agt 1")

    with contextlib.suppress(ChatloomError, KeyError, TimeoutError, AssertionError):
        clock.run(call())
    return heard


def unknown() -> str:
    raise KeyError("no such tenant")


def test_a_call_is_told_from_start_to_end() -> None:
    started, attempt, ended = told(DOMAINS)
    path = "/api/plugin/agents/agt%201/allowed-domains"
    assert isinstance(started, CallStarted)
    assert (started.method, started.path) == ("GET", path)
    assert started.route == "/api/plugin/agents/{agent_id}/allowed-domains"
    assert isinstance(attempt, AttemptEnded)
    assert (attempt.call, attempt.number, attempt.outcome) == (started.call, 1, "200")
    assert isinstance(ended, CallEnded)
    assert (ended.call, ended.attempts, ended.outcome) == (started.call, 1, "ok")
    assert started.key == attempt.key == ended.key == ApiKey(KEY).fingerprint


@pytest.mark.parametrize(
    ("replies", "how", "outcomes"),
    [
        ([StubReply(status=503), DOMAINS], {}, ["503", "200", "ok"]),
        ([StubReply({"domains": None})], {}, ["200", "ResponseDecodeError"]),
        ([StubReply({"error": KEY}, status=404)], {}, ["404", "NotFoundError"]),
        ([StubReply(after=9.0)] * 2, {}, ["timeout", "timeout", "APITimeoutError"]),
        ([], {"key": unknown}, ["KeyError"]),
        ([], {}, ["AssertionError", "AssertionError"]),  # of the transport's, as of a trace hook's
        ([StubReply(after=9.0)], {"left": True}, ["cancelled", "cancelled"]),
    ],
)
def test_every_attempt_and_end_is_told(
    replies: list[StubReply], how: dict[str, Any], outcomes: list[str]
) -> None:
    events = told(*replies, **how)
    assert KEY not in repr(events)
    assert [event.outcome for event in events if hasattr(event, "outcome")] == outcomes


@virtual
async def test_an_observer_that_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: Event) -> None:
        raise ValueError("observer")

    replies = [DOMAINS, StubReply(status=404)]
    transport = StubTransport(replies, observer=broken)
    async with AsyncChatloom(KEY, pool=transport) as chatloom:
        domains = await chatloom.get_allowed_domains("agt_1")
        with pytest.raises(NotFoundError):
            await chatloom.get_allowed_domains("agt_2")
        assert len(domains) == 0
    assert [r.levelno for r in caplog.records if "observer" in r.message] == [logging.ERROR]
