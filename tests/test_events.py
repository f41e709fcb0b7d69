"""Observers: what they are told of a call, and that they cannot break one."""

import asyncio
import contextlib
import logging

import pytest

from chatloom_async import AsyncChatloom, ChatloomError, NotFoundError, RetryPolicy
from chatloom_async.events import AttemptEnded, CallEnded, CallStarted, Event
from chatloom_async.testing import FakeClock, StubReply, StubTransport
from tests.virtual import virtual

KEY = "clf_observed_and_never_told"
DOMAINS = StubReply({"domains": []})


def told(*replies: StubReply | ChatloomError, timeout: float = 15.0) -> list[Event]:
    """Look one agent's domains up and return what the observer heard."""
    heard: list[Event] = []
    clock = FakeClock()
    transport = StubTransport(replies, clock=clock, observer=heard.append)

    async def call() -> None:
        policy = RetryPolicy(attempts=2)
        async with AsyncChatloom(KEY, pool=transport, retry=policy, timeout=timeout) as chatloom:
            await chatloom.get_allowed_domains("agt 1")

    with contextlib.suppress(ChatloomError):
        clock.run(call())
    return heard


def test_a_call_is_told_from_its_start_to_its_end() -> None:
    started, attempt, ended = told(DOMAINS)
    path = "/api/plugin/agents/agt%201/allowed-domains"
    assert isinstance(started, CallStarted)
    assert (started.method, started.path) == ("GET", path)
    assert started.route == "/api/plugin/agents/{agent_id}/allowed-domains"
    assert isinstance(attempt, AttemptEnded)
    assert (attempt.call, attempt.number, attempt.outcome) == (started.call, 1, "200")
    assert isinstance(ended, CallEnded)
    assert (ended.call, ended.attempts, ended.outcome) == (started.call, 1, "ok")


def test_every_attempt_is_told() -> None:
    outcomes = [e.outcome for e in told(StubReply(status=503), DOMAINS) if hasattr(e, "outcome")]
    assert outcomes == ["503", "200", "ok"]


@pytest.mark.parametrize(
    ("reply", "outcomes"),
    [
        (StubReply({"domains": None}), ["200", "ResponseDecodeError"]),
        (StubReply(status=404), ["404", "NotFoundError"]),
        (StubReply(after=9.0), ["timeout", "timeout", "APITimeoutError"]),
    ],
)
def test_a_failed_call_is_told_with_its_error(reply: StubReply, outcomes: list[str]) -> None:
    events = told(*[reply] * 2, timeout=1.0)
    assert [event.outcome for event in events if hasattr(event, "outcome")] == outcomes


def test_a_failing_key_source_is_told_by_its_error() -> None:
    heard: list[Event] = []
    transport = StubTransport([], observer=heard.append)
    chatloom = AsyncChatloom(lambda: {"a": "clf_a"}["b"], pool=transport)
    with pytest.raises(KeyError):
        FakeClock().run(chatloom.list_agents())
    assert [event.outcome for event in heard if hasattr(event, "outcome")] == ["KeyError"]


@virtual
async def test_a_cancelled_call_is_told_as_cancelled() -> None:
    heard: list[Event] = []
    transport = StubTransport([StubReply(after=9.0)], observer=heard.append)
    chatloom = AsyncChatloom(KEY, pool=transport)
    call = asyncio.create_task(chatloom.list_agents())
    await asyncio.sleep(1)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert [event.outcome for event in heard if hasattr(event, "outcome")] == ["cancelled"] * 2


def test_no_event_holds_the_key() -> None:
    events = told(StubReply(status=503), StubReply({"error": KEY}, status=400))
    assert KEY not in repr(events)
    assert len({event.key for event in events}) == 1


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
