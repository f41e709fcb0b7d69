"""Answers to models: strict where the API reference speaks, open where the API may grow."""

import json
import sys
import tracemalloc
from datetime import UTC, datetime, timedelta, timezone

import pytest

from chatloom_async import Agent, AgentList, AllowedDomains, ResponseDecodeError
from chatloom_async.calls import wire
from chatloom_async.calls.wire import decode
from tests.faults.case import AGENT

TOKYO = timezone(timedelta(hours=9))


def agents(*listed: object, **changed: object) -> AgentList:
    payload = {"agents": list(listed), "count": len(listed)} | changed
    return decode(json.dumps(payload).encode(), AgentList)


def domains(value: object) -> AllowedDomains:
    return decode(json.dumps(value).encode(), AllowedDomains)


def refusal(body: object, model: type[object] = AgentList) -> str:
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(ResponseDecodeError) as caught:
        decode(encoded, model)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    return caught.value.message


def test_documented_answers_become_models() -> None:
    texts = "Sales Assistant", "#611F69", "#764ba2", "bottom-right", "modern", "active"
    moment = datetime(2026, 1, 15, 9, tzinfo=UTC)
    listed = (Agent("agt_1", *texts, moment), Agent("a", *texts, moment))
    assert agents(AGENT, AGENT | {"id": "a"}, count=7) == AgentList(listed, 7)
    assert domains({"domains": ["b.example", "a.example"]}) == AllowedDomains(
        ("b.example", "a.example")
    )


@pytest.mark.parametrize("field", AGENT)
def test_a_missing_field_is_refused_with_its_path(field: str) -> None:
    short = {name: value for name, value in AGENT.items() if name != field}
    assert refusal({"agents": [AGENT, short], "count": 2}) == f"$.agents[1].{field}: missing"


@pytest.mark.parametrize("field", AGENT)
@pytest.mark.parametrize(
    ("value", "kind"), [(None, "NoneType"), (5, "int"), (True, "bool"), ([], "list"), ({}, "dict")]
)
def test_a_field_that_is_no_text_is_refused(field: str, value: object, kind: str) -> None:
    body = {"agents": [AGENT | {field: value}], "count": 1}
    assert refusal(body) == f"$.agents[0].{field}: expected str, got {kind}"


@pytest.mark.parametrize(
    ("model", "body", "message"),
    [
        (AgentList, None, "$: expected object, got NoneType"),
        (AgentList, {}, "$.agents: missing"),
        (AgentList, {"agents": []}, "$.count: missing"),
        (AgentList, {"agents": None, "count": 0}, "$.agents: expected list, got NoneType"),
        (AgentList, {"agents": [AGENT, "x"], "count": 2}, "$.agents[1]: expected object, got str"),
        (AgentList, {"agents": [], "count": 0.0}, "$.count: expected int, got float"),
        (AgentList, {"agents": [], "count": False}, "$.count: expected int, got bool"),
        (AllowedDomains, {"domains": "example.com"}, "$.domains: expected list, got str"),
        (AllowedDomains, {"domains": ["a", None]}, "$.domains[1]: expected str, got NoneType"),
    ],
)
def test_what_is_not_as_documented_is_refused(
    model: type[object], body: object, message: str
) -> None:
    assert refusal(body, model) == message


@pytest.mark.parametrize(
    "unknown", [{"language": "sv", "tags": [1, None]}, {"primary_color": "x", "extra": 1}]
)
def test_unknown_fields_are_kept(unknown: dict[str, object]) -> None:
    assert agents(AGENT | unknown)[0].extra == unknown
    assert domains({"domains": []} | unknown).extra == unknown


def test_text_is_kept_as_sent() -> None:
    text = " \U0001f916 <b>ünï</b>\u202e\x00 "
    assert agents(AGENT | {"name": text})[0].name == text


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-15T09:00:00.123456Z", datetime(2026, 1, 15, 9, 0, 0, 123456, tzinfo=UTC)),
        ("2026-01-15T09:00:00+09:00", datetime(2026, 1, 15, 9, tzinfo=TOKYO)),
        ("2026-01-15T09:00:00", datetime(2026, 1, 15, 9, tzinfo=UTC)),
        ("2026-W03-4", datetime(2026, 1, 15, tzinfo=UTC)),
        ("2026-01-15t09:00:00z", datetime(2026, 1, 15, 9, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_a_timestamp_becomes_an_aware_datetime(text: str, moment: datetime) -> None:
    created_at = agents(AGENT | {"createdAt": text})[0].created_at
    assert (created_at, created_at.utcoffset()) == (moment, moment.utcoffset())


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-13-01", "1768467600", "2026-01-15T25:00", "2026-01-15T09:60"]
)
def test_what_is_no_timestamp_is_refused(text: str) -> None:
    body = {"agents": [AGENT | {"createdAt": text}], "count": 1}
    assert refusal(body) == "$.agents[0].createdAt: expected an ISO 8601 timestamp"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "empty"),
        (b"<p>", "Expecting value at line 1, column 1"),
        (b"\n<!DOCTYPE html>", "it is HTML"),
        (b'{"domains": [],\n 1: 2}', "Expecting property name enclosed in double quotes at line 2"),
        (b'{"domains": ["\xff"]}', "not UTF-8"),
        (b'\xef\xbb\xbf\xef\xbb\xbf{"domains": []}', "Expecting value"),
        ('{"domains": []}'.encode("utf-16"), "not UTF-8"),
        (b"[" * 50_000, "nested too deeply"),
        (b'{"domains": [], "x": NaN}', "NaN is not a JSON value"),
        (b'{"domains": [], "x": ' + b"9" * 5_000 + b"}", "Exceeds the limit"),
    ],
)
def test_what_is_no_json_is_refused(body: bytes, reason: str) -> None:
    assert refusal(body, AllowedDomains).startswith(f"the answer is not JSON: {reason}")


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b' {"a": [1.5, true, null, "\xc3\xa9"]}\n', {"a": [1.5, True, None, "é"]}),
        (b'\xef\xbb\xbf["marked"]', ["marked"]),
        (b"1" + b"0" * 40, 10**40),
    ],
)
def test_json_is_plain_python_values(body: bytes, value: object) -> None:
    assert decode(body, object) == value


def cost(body: bytes, model: type[object]) -> tuple[int, int]:
    """Return how many functions are called, and the bytes of memory at most, to decode this."""
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    tracemalloc.start()
    sys.setprofile(count)
    try:
        decode(body, model)
    except ResponseDecodeError as error:
        assert len(str(error)) < 300
    finally:
        sys.setprofile(None)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return calls, peak


SIZE = 128 * 1024
RIGHT = json.dumps(AGENT).encode()
WRONG_ELEMENTS = {
    "empty objects": b"{}",
    "numbers": b"1",
    "floats": b"1.5",
    "nested lists": b"[[]]",
    "deep lists": b"[" * 900 + b"]" * 900,
    "long numbers": b"9" * 4_000,
}
WRONG_BODIES = {
    "one wrong field in the last agent": b'{"agents": ['
    + b",".join([RIGHT] * (SIZE // len(RIGHT)) + [RIGHT.replace(b'"active"', b"null")])
    + b'], "count": 1}',
    "a huge number": b'{"agents": [], "count": ' + b"9" * SIZE + b"}",
    "the same name again and again": b"{" + b'"agents":[],' * (SIZE // 12) + b'"a":0}',
    "no end of lists": b"[" * SIZE,
    "fields of many names": b'{"agents":[],'
    + ",".join(f'"{at:x}":1' for at in range(SIZE // 9)).encode()
    + b',"count":null}',
}


def listed(element: bytes) -> bytes:
    elements = b",".join([element] * (SIZE // (len(element) + 1)))
    return b'{"agents": [' + elements + b'], "count": 1}'


WRONG_BODIES |= {f"many {name}": listed(element) for name, element in WRONG_ELEMENTS.items()}


@pytest.mark.parametrize("body", WRONG_BODIES.values(), ids=WRONG_BODIES)
def test_refusing_costs_little_more_than_accepting(body: bytes) -> None:
    refusal(b'{"agents": [{}], "count": 1}')  # what is loaded once
    right, wrong = cost(listed(RIGHT), AgentList), cost(body, AgentList)
    assert wrong[0] < 3 * right[0]
    assert wrong[1] < 3 * right[1]


def test_many_misplaced_floats_are_not_read() -> None:
    assert refusal(listed(b"1.5")) == "$.agents[0]: expected object, got float"
    assert cost(listed(b"1.5"), AgentList)[1] < 6 * SIZE


@pytest.mark.parametrize(
    ("more", "times"),
    [
        ({"seen": [1.5, -2e9] * 40}, 311),
        ({f"is{at}": at for at in range(30)}, 311),
        ({"visits": {f"{at:08}": at % 10 for at in range(9_000)}}, 1),
    ],
)
def test_however_much_unknown_is_kept(more: dict[str, object], times: int) -> None:
    assert {each.extra == more for each in agents(*[AGENT | more] * times)} == {True}


@pytest.mark.parametrize(
    ("failure", "reason"),
    [(MemoryError, "more than the memory holds"), (RecursionError, "nested too deeply")],
)
def test_want_of_memory_is_an_error_of_ours(
    failure: type[Exception], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise failure

    class Body(bytes):
        decode = fail  # type: ignore[assignment]  # no text comes of it

    assert refusal(Body(b"{}"), AllowedDomains) == f"the answer is not JSON: {reason}"
    monkeypatch.setitem(wire.READERS, AllowedDomains, fail)
    assert refusal(b"{}", AllowedDomains) == f"$: {reason}"
