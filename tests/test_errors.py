"""The one tree of errors: its shape, what raises each of them, and that nothing of them is lost."""

import copy
import inspect
import json
import pickle
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from chatloom_async import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AsyncChatloom,
    Attempt,
    AuthenticationError,
    BadRequestError,
    ChatloomError,
    ClientClosedError,
    ConfigurationError,
    DeadlineExceededError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RedirectError,
    ResponseDecodeError,
    RetryPolicy,
    errors,
)
from chatloom_async.testing import FakeClock, StubReply, StubTransport

PATH = "/api/plugin/agents"
ONCE = RetryPolicy(attempts=1)

CLASSES = tuple(
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, ChatloomError)
)


def told(
    *replies: StubReply | ChatloomError, retry: RetryPolicy = ONCE, timeout: float = 15.0
) -> tuple[ChatloomError, StubTransport]:
    """What ``list_agents`` raises after these replies, and what was asked."""
    clock = FakeClock()
    transport = StubTransport(replies, clock=clock)
    client = AsyncChatloom("clf_errors", pool=transport, retry=retry, timeout=timeout)
    with pytest.raises(ChatloomError) as caught:
        clock.run(client.list_agents())
    return caught.value, transport


def raised(*replies: StubReply | ChatloomError, **options: Any) -> ChatloomError:
    return told(*replies, **options)[0]


def status_error(
    status: int, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> APIStatusError:
    error = raised(StubReply(status=status, body=body, headers=headers or {}))
    assert isinstance(error, APIStatusError)
    return error


def filled(kind: type[ChatloomError]) -> ChatloomError:
    """One error with something in every field."""
    error: ChatloomError
    if issubclass(kind, APIStatusError):
        error = kind(418, "tea", b'{"error": "tea"}', {"x-request-id": "r-1"}, 2.5)
    elif kind is APIConnectionError:
        error = APIConnectionError("gone", "cut off")
    elif kind is DeadlineExceededError:
        error = DeadlineExceededError("late", filled(RateLimitError))
    else:
        error = kind("what happened")
    error.method, error.path = "GET", PATH
    error.attempts = (Attempt("503", 0.25, 1.5), Attempt("timeout", 15.0))
    error.add_note("tried 2 times, 16.8 s in all")
    return error


def fields(error: ChatloomError) -> dict[str, object]:
    return {"class": type(error), "args": error.args, "str": str(error)} | {
        name: fields(value) if isinstance(value, ChatloomError) else value
        for name, value in vars(error).items()
    }


TREE = {
    ChatloomError: (Exception,),
    ConfigurationError: (ChatloomError, ValueError),
    ClientClosedError: (ChatloomError, RuntimeError),
    APIConnectionError: (ChatloomError,),
    APITimeoutError: (APIConnectionError, TimeoutError),
    DeadlineExceededError: (ChatloomError, TimeoutError),
    ResponseDecodeError: (ChatloomError,),
    APIStatusError: (ChatloomError,),
    RedirectError: (APIStatusError,),
    BadRequestError: (APIStatusError,),
    AuthenticationError: (APIStatusError,),
    PermissionDeniedError: (APIStatusError,),
    NotFoundError: (APIStatusError,),
    RateLimitError: (APIStatusError,),
    InternalServerError: (APIStatusError,),
}


def test_the_tree_is_exactly_this_one() -> None:
    assert {kind: kind.__bases__ for kind in CLASSES} == TREE


def pickled(error: ChatloomError, protocol: int) -> ChatloomError:
    copied: ChatloomError = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301 - our own
    return copied


WAYS = [partial(pickled, protocol=number) for number in range(pickle.HIGHEST_PROTOCOL + 1)]


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, *WAYS])
def test_a_copy_keeps_every_field(
    kind: type[ChatloomError], duplicate: Callable[[ChatloomError], ChatloomError]
) -> None:
    error = filled(kind)
    other = duplicate(error)
    assert other is not error
    assert fields(other) == fields(error)
    other.add_note("of the copy")
    assert error.__notes__ == ["tried 2 times, 16.8 s in all"]


KINDS: dict[type[APIStatusError], tuple[int, ...]] = {
    RedirectError: (300, 301, 304, 308, 399),
    BadRequestError: (400,),
    AuthenticationError: (401,),
    PermissionDeniedError: (403,),
    NotFoundError: (404,),
    RateLimitError: (429,),
    APIStatusError: (402, 409, 422, 428, 499),
    InternalServerError: (500, 501, 503, 599),
}


@pytest.mark.parametrize(
    ("status", "kind"), [(status, kind) for kind, those in KINDS.items() for status in those]
)
def test_a_status_becomes_its_class(status: int, kind: type[APIStatusError]) -> None:
    error = status_error(status)
    assert (type(error), error.status) == (kind, status)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html><h1>Bad gateway</h1></html>", "Bad Gateway"),
        (b"  upstream\n\n is  away ", "upstream is away"),
        (b"x" * 300, "x" * 200),
        (b'{"error": ""}', '{"error": ""}'),
        (b'{"error": {"code": 7}}', '{"error": {"code": 7}}'),
        (b'["error"]', '["error"]'),
        (b'{"error": "more", "code": 3}', "more"),
        (b"\xff\xfe", "��"),
        (b'\xef\xbb\xbf{"error": "marked"}', "marked"),
        (b'{"error": "\\ud800!"}', "?!"),
        (b'{"error": "one\\ntwo\\u001b[31m"}', "one two [31m"),
        (b"[" * 60_000, "[" * 200),
        (b"\x00\x1b", "Bad Gateway"),
    ],
)
def test_any_error_body_makes_a_message(body: bytes, message: str) -> None:
    assert status_error(502, body).message == message


def test_an_unknown_status_without_body_has_no_message() -> None:
    assert status_error(599).message == "no message"


def test_a_body_is_kept_up_to_64_kib() -> None:
    body = bytes(range(256)) * 300
    assert status_error(500, body).body == body[: 64 * 1024]


@pytest.mark.parametrize("name", ["X-Request-Id", "Request-Id"])
def test_an_error_tells_of_its_headers(name: str) -> None:
    error = status_error(503, headers={name: "r-17", "Retry-After": "7"})
    assert error.headers == {name.lower(): "r-17", "retry-after": "7"}
    assert (error.request_id, error.retry_after) == ("r-17", 7.0)
    assert (status_error(503).request_id, status_error(503).retry_after) == (None, None)


@pytest.mark.parametrize(
    ("location", "named"),
    [
        ("//elsewhere.example/x?y", "elsewhere.example"),
        ("javascript:alert(1)", "another path"),
        ("http://[", "another path"),
        ("https://a\x1b\udc80.example/", "a ?.example"),
        (None, "nowhere"),
    ],
)
def test_a_redirect_names_the_host_it_points_to(location: str | None, named: str) -> None:
    message = status_error(302, headers={"Location": location} if location else {}).message
    assert message == f"a redirect to {named} is not followed; set base_url to the API itself"


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [(StubReply(body=b"{}"), "malformed"), (ClientClosedError("closed"), "ClientClosedError")],
)
def test_an_error_names_its_request_and_attempt(
    reply: StubReply | ChatloomError, outcome: str
) -> None:
    error = raised(reply)
    assert (error.method, error.path) == ("GET", PATH)
    assert [attempt.outcome for attempt in error.attempts] == [outcome]


def test_an_errors_traceback_ends_in_the_call() -> None:
    error = raised(*[APIConnectionError("gone", "connect")] * 4, retry=RetryPolicy())
    innermost = traceback.extract_tb(error.__traceback__)[-1]
    assert (Path(innermost.filename).name, innermost.name) == ("call.py", "fetch")


def test_every_attempt_is_recorded_with_its_outcome() -> None:
    lost = APIConnectionError("gone", "disconnected")
    replies = (StubReply(status=503), StubReply(after=60), lost, StubReply(status=404, after=0.5))
    error = raised(*replies, retry=RetryPolicy(), timeout=2)
    attempts = error.attempts
    assert isinstance(error, NotFoundError)  # the last one
    assert [each.outcome for each in attempts] == ["503", "timeout", "disconnected", "404"]
    assert [each.elapsed for each in attempts] == pytest.approx([0, 2, 0, 0.5])


@pytest.mark.parametrize(
    "replies",
    [
        [StubReply(status=503)] * 4,
        [StubReply(status=429, headers={"Retry-After": "5"}), StubReply(status=404)],
    ],
    ids=["between attempts", "at a closed gate"],
)
def test_waits_are_recorded_and_none_after_the_last(replies: list[StubReply]) -> None:
    error, transport = told(*replies, retry=RetryPolicy())
    at = [request.at for request in transport.requests]
    waits = [attempt.wait for attempt in error.attempts]
    assert waits == pytest.approx([*(late - early for early, late in pairwise(at)), 0])


@pytest.mark.parametrize(
    ("replies", "policy", "notes"),
    [
        (
            [StubReply(status=429, headers={"Retry-After": "9.96"}), StubReply(status=404)],
            RetryPolicy(),
            ["tried 2 times, 10.0 s in all"],
        ),
        (
            [StubReply(status=503), StubReply(after=9)],
            RetryPolicy(deadline=5),
            [f"the last failure: 503 null (GET {PATH})", "tried 2 times, 5.0 s in all"],
        ),
    ],
    ids=["with the time at the gate", "when a call was late"],
)
def test_notes_say_what_was_tried(
    replies: list[StubReply], policy: RetryPolicy, notes: list[str]
) -> None:
    error = raised(*replies, retry=policy)
    assert error.__notes__ == notes
    if isinstance(error, DeadlineExceededError):
        assert isinstance(error.last_failure, InternalServerError)
        assert error.last_failure.path == error.path


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (filled(ConfigurationError), f"what happened (GET {PATH})"),
        (filled(NotFoundError), f"418 tea (GET {PATH})"),
        (ConfigurationError("bad option"), "bad option"),
        (NotFoundError(404, "Agent not found"), "404 Agent not found"),
    ],
)
def test_an_error_reads_as_message_and_request(error: ChatloomError, text: str) -> None:
    assert str(error) == text


def test_an_error_made_by_hand_has_empty_fields() -> None:
    error = NotFoundError(404, "Agent not found")
    assert (error.body, error.headers, error.retry_after) == (b"", {}, None)
    assert (error.method, error.path, error.attempts) == ("", "", ())


LATE = APITimeoutError("no complete answer within 15 s")
LIMITED = RateLimitError(429, "Too many", b"secret body", {"x-secret": "1"}, 7.2)
FOR_VISITORS: list[tuple[ChatloomError, int, int | None]] = [
    (ConfigurationError("timeout is a number"), 500, None),
    (ConfigurationError("'..' is no agent id", "agent_id"), 404, None),
    (ClientClosedError("closed"), 503, 5),
    (APIConnectionError("refused", "connect"), 502, None),
    (APIConnectionError("queued", "queued"), 504, None),
    (LATE, 504, None),
    (DeadlineExceededError("late", LATE), 504, None),
    (DeadlineExceededError("no room", None, 12.4), 503, 13),
    (DeadlineExceededError("late", LIMITED), 503, 8),
    (ResponseDecodeError("$: missing"), 502, None),
    (BadRequestError(400, "no"), 502, None),
    (AuthenticationError(401, "no"), 502, None),
    (PermissionDeniedError(403, "slow down", b"", {}, 3.0), 503, 3),
    (NotFoundError(404, "no"), 404, None),
    (APIStatusError(408, "slow"), 504, None),
    (LIMITED, 503, 8),
    (RateLimitError(429, "Too many"), 503, 5),
    (RedirectError(301, "elsewhere"), 502, None),
    (InternalServerError(500, "no", b"", {}, 9.0), 502, None),
    (InternalServerError(503, "no", b"", {}, 0.2), 503, 1),
]


@pytest.mark.parametrize(("error", "status", "wait"), FOR_VISITORS)
def test_visitors_learn_whose_fault_it_is(
    error: ChatloomError, status: int, wait: int | None
) -> None:
    problem = error.to_problem()
    assert error.http_status == problem["status"] == status
    assert problem.get("retry_after") == wait
    assert json.loads(json.dumps(problem)) == problem


def test_every_class_has_a_row_for_visitors() -> None:
    assert {type(error) for error, _, _ in FOR_VISITORS} == set(CLASSES) - {ChatloomError}


def test_a_problem_holds_nothing_of_the_answer() -> None:
    LIMITED.path = "/api/plugin/agents/agt_secret"
    told = json.dumps([error.to_problem() for error, _, _ in FOR_VISITORS])
    assert not [word for word in ("Too many", "secret", "agt_", "'..'", "15 s") if word in told]


def test_an_application_s_own_error_has_a_problem() -> None:
    class UnpaidError(ChatloomError):
        http_status = 402

    assert UnpaidError("secret").to_problem()["detail"] == "Payment Required"


def test_a_visitor_learns_that_the_key_is_refused() -> None:
    refused, broken = (kind(401, "no") for kind in (AuthenticationError, InternalServerError))
    assert "key" in refused.to_problem()["detail"]
    assert refused.to_problem()["detail"] != broken.to_problem()["detail"]
