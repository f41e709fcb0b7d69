"""One call beyond reading: what is sent, what is sent again, and what an empty answer means."""

import asyncio
from typing import Any

import pytest

from chatloom_async import (
    APIConnectionError,
    AsyncChatloom,
    ChatloomError,
    ConfigurationError,
    ConnectionPool,
    DeadlineExceededError,
    RetryPolicy,
)
from chatloom_async.testing import FakeClock, Sandbox, StubReply, StubTransport, make_workspace

KEY = "clf_calls"
CREATED = StubReply({"id": "msg_1"}, status=201)


def send(
    *replies: StubReply | ChatloomError,
    method: str = "POST",
    path: str = "/api/plugin/messages",
    **options: Any,
) -> tuple[Any, StubTransport]:
    """Send one raw request against a script; return the answer or the error, and the script."""
    clock = FakeClock()
    transport = StubTransport(replies, clock=clock)

    async def call() -> Any:
        async with AsyncChatloom(KEY, pool=transport) as chatloom:
            try:
                return await chatloom.send_raw(method, path, **options)
            except ChatloomError as error:
                return error

    return clock.run(call()), transport


def test_a_body_and_a_query_are_sent() -> None:
    query = {"page": 2, "before": None, "q": "a b&c", "all": True}
    answer, transport = send(CREATED, query=query, json={"text": "Grüße"})
    assert answer == {"id": "msg_1"}
    (request,) = transport.requests
    assert request.url.endswith("/api/plugin/messages?page=2&q=a%20b%26c&all=true")
    assert request.body == b'{"text":"Gr\\u00fc\\u00dfe"}'


# Whether it shows that nothing of the request can have been carried out.
FAILURES: list[tuple[StubReply | ChatloomError, bool]] = [
    (StubReply(status=429), True),
    (StubReply(status=503, headers={"Retry-After": "1"}), True),
    (APIConnectionError("refused", "connect"), True),
    (StubReply(status=503), False),
    (APIConnectionError("reset", "disconnected"), False),
    (APIConnectionError("reset", "stale"), False),
    (StubReply(after=60.0), False),
]


DOWN = StubReply(status=500)


@pytest.mark.parametrize(
    ("method", "repeatable", "failure", "again"),
    [
        *(("POST", None, *row) for row in FAILURES),
        ("PATCH", None, DOWN, False),
        *((method, None, DOWN, True) for method in ("PUT", "DELETE", "GET")),
        ("POST", True, DOWN, True),
        ("GET", False, DOWN, False),
    ],
)
def test_only_what_does_no_harm_is_repeated(
    *, method: str, repeatable: bool | None, failure: StubReply | ChatloomError, again: bool
) -> None:
    answer, transport = send(failure, CREATED, method=method, repeatable=repeatable)
    assert len(transport.requests) == 1 + again
    assert (answer == {"id": "msg_1"}) is again


@pytest.mark.parametrize(
    ("method", "status"), [("DELETE", 204), ("POST", 201), ("POST", 205), ("HEAD", 200)]
)
def test_an_answer_without_content_is_none(method: str, status: int) -> None:
    answer, _ = send(StubReply(status=status, body=b""), method=method)
    assert answer is None


@pytest.mark.parametrize(
    ("method", "path", "options", "problem"),
    [
        ("TRACE", "/x", {}, "the method is one of"),
        ("GET", "/x?a=1", {"query": {"b": 2}}, "give the query once"),
        ("GET", "/x", {"query": [("b", "2")]}, "the query is names and values"),
        ("GET", "/x", {"query": {"b": object()}}, "the query's 'b'"),
        ("GET", "/x", {"query": {"b": "\ud800"}}, "not valid text"),
        ("GET", "/x", {"query": {"b": float("nan")}}, "the query's 'b' is not JSON"),
        ("POST", "/x", {"json": {1, 2}}, "the body is not JSON"),
        ("POST", "/x", {"json": float("nan")}, "the body is not JSON"),
        ("POST", "/x", {"repeatable": "yes"}, "repeatable is True, False, or None"),
        ("GET", "x", {}, "is no path"),
    ],
)
def test_a_request_that_cannot_be_one_is_refused(
    method: str, path: str, options: dict[str, Any], problem: str
) -> None:
    error, transport = send(method=method, path=path, **options)
    assert isinstance(error, ConfigurationError)
    assert problem in str(error)
    assert transport.requests == []


@pytest.mark.looptime
async def test_a_call_ended_in_the_queue_was_unsent() -> None:
    workspaces = [make_workspace(name, f"clf_key_of_{name}") for name in ("acme", "beta")]
    policy = RetryPolicy(deadline=2.0)
    async with Sandbox(workspaces, latency=10.0) as sandbox, ConnectionPool(limit=1) as pool:
        patient, brisk = (
            AsyncChatloom(each.key, base_url=sandbox.base_url, pool=pool) for each in workspaces
        )
        holder = asyncio.create_task(patient.list_agents())
        await asyncio.sleep(0)
        with pytest.raises(DeadlineExceededError) as caught:
            await brisk.with_options(retry=policy).list_agents()
        holder.cancel()
        await asyncio.gather(holder, return_exceptions=True)
    assert [attempt.outcome for attempt in caught.value.attempts] == ["queued"]
