"""The stub transport: a script of replies that behaves as a connection pool would."""

import asyncio
from contextlib import nullcontext

import pytest
from attrs import evolve

from chatloom_async import (
    APIConnectionError,
    ApiKey,
    APITimeoutError,
    AsyncChatloom,
    ChatloomError,
    ClientClosedError,
)
from chatloom_async.testing import FakeClock, StubReply, StubTransport
from chatloom_async.transport import Request, Response
from tests.virtual import virtual

KEY = ApiKey("clf_stub")
URL = "https://chatloom.app/api/plugin/agents"
REQUEST = Request("GET", "https://chatloom.app", "/api/plugin/agents", "/api/plugin/agents")


def ask(*replies: StubReply | ChatloomError) -> Response:
    clock = FakeClock()
    return clock.run(StubTransport(replies, clock=clock).exchange(REQUEST, KEY, 15.0))


def test_a_reply_is_a_json_value_or_bytes() -> None:
    answer = ask(StubReply({"domains": ["é"]}, 201, {"X-A": "1"}))
    assert (answer.status, answer.body) == (201, b'{"domains": ["\\u00e9"]}')
    assert (answer.headers, answer.headers["x-a"]) == ({"X-A": "1"}, "1")
    assert ask(StubReply(body=b"\xff")).body == b"\xff"


def test_a_script_is_read_as_it_is_needed() -> None:
    script, clock = iter([StubReply(0), StubReply(1)]), FakeClock()
    answer = clock.run(StubTransport(script, clock=clock).exchange(REQUEST, KEY, 1))
    assert (answer.body, next(script)) == (b"0", StubReply(1))


def test_each_error_of_the_script_is_a_copy() -> None:
    error = APIConnectionError("gone", "tls")
    for _ in range(2):
        with pytest.raises(APIConnectionError) as caught:
            ask(error)
        assert caught.value.reason == "tls"
        assert caught.value is not error


def test_what_is_no_reply_is_named() -> None:
    with pytest.raises(TypeError, match=r"a StubReply or a ChatloomError, not TimeoutError\(\)"):
        ask(TimeoutError())  # type: ignore[arg-type]  # as its users may


def test_a_request_beyond_the_script_fails_once() -> None:
    transport = StubTransport([])
    with pytest.raises(AssertionError, match=f"no reply for GET {URL}"):
        FakeClock().run(AsyncChatloom("clf_stub", pool=transport).list_agents())
    assert len(transport.requests) == 1


@pytest.mark.parametrize(("timeout", "ended"), [(0.5, 0.5), (2.0, 2.0), (15.0, 3.0)])
def test_a_late_reply_comes_late_or_never(timeout: float, ended: float) -> None:
    clock = FakeClock()
    exchange = StubTransport([StubReply(after=3)], clock=clock).exchange(REQUEST, KEY, timeout)
    with pytest.raises(APITimeoutError) if timeout < 3 else nullcontext():
        clock.run(exchange)
    assert clock.monotonic() == ended


@virtual
async def test_requests_are_recorded_without_their_key() -> None:
    transport = StubTransport([StubReply(), StubReply()])
    await transport.exchange(REQUEST, KEY, 1)
    await asyncio.sleep(7)
    await transport.exchange(evolve(REQUEST, target=REQUEST.resource + "/x"), KEY, 1)
    assert [(request.method, request.url, request.at) for request in transport.requests] == [
        ("GET", URL, 0),
        ("GET", f"{URL}/x", 7),
    ]
    assert {request.fingerprint for request in transport.requests} == {KEY.fingerprint}
    assert "clf_stub" not in repr(transport.requests)


@virtual
async def test_a_closed_stub_refuses() -> None:
    transport = StubTransport([StubReply()])
    await transport.aclose()
    with pytest.raises(ClientClosedError):
        await transport.exchange(REQUEST, KEY, 1)
    assert transport.requests == []


def test_a_stub_works_in_real_time_by_default() -> None:
    transport = StubTransport([StubReply({"agents": [], "count": 0}, after=0.001)])
    assert len(asyncio.run(AsyncChatloom("clf_stub", pool=transport).list_agents())) == 0
