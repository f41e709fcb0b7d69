"""Models as their users handle them: sequences, hashed, copied, pickled, turned into plain JSON."""

import copy
import json
import pickle
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from fastapi.encoders import jsonable_encoder
from litestar.serialization import encode_json
from pydantic import TypeAdapter, ValidationError

from chatloom_async import (
    Agent,
    AgentList,
    AllowedDomains,
    ConnectionPool,
    Success,
    WorkspaceSnapshot,
)
from chatloom_async.audit.diff import AuditDiff, Change, FindingChange, Unknown
from chatloom_async.audit.results import AuditReport, AuditRun, AuditTotals, Finding, WorkspaceAudit
from chatloom_async.calls.wire import from_dict
from chatloom_async.models import AuditedAgent, Gap, to_plain

MOMENT = datetime(2026, 1, 15, 9, tzinfo=UTC)
AGENT = Agent("a", "Sales", "#611F69", "#764ba2", "bottom-right", "modern", "active", MOMENT)
MORE = attrs.evolve(AGENT, id="b", extra={"tags": ["x", {"y": None}]})
MODELS = (
    AGENT,
    MORE,
    AgentList((AGENT, MORE), 2, {"next": None}),
    AllowedDomains(("a.example",), {"verified": [1.5]}),
)
AUDITED = AuditedAgent.of(MORE, ("a.example",))
URL = Finding("url", "low", None, None, "…")
GONE = FindingChange("gone", None, URL)


@pytest.mark.parametrize("value", [*MODELS, AUDITED, Gap("a", "E", 503, "m"), Success(1, AGENT)])
def test_a_value_is_shown_as_attrs_would(value: attrs.AttrsInstance) -> None:
    kind = type(value)
    shown = [each.name for each in attrs.fields(kind) if each.repr]
    bare = attrs.make_class(kind.__name__, shown)
    assert repr(value) == repr(bare(*(getattr(value, name) for name in shown)))


@pytest.mark.parametrize(
    ("listed", "empty"),
    [
        (AgentList((AGENT, MORE), 2), AgentList((), 0)),
        (AllowedDomains(("a.example", "b.example")), AllowedDomains(())),
    ],
)
def test_a_list_is_a_sequence(listed: Any, empty: Any) -> None:
    first, second = listed
    assert (len(listed), listed[-1], listed[:1]) == (2, second, (first,))
    assert second in listed
    assert "example" not in listed
    assert not empty


@pytest.mark.parametrize("model", MODELS)
def test_models_survive_pickle_copy_and_hash(model: object) -> None:
    assert pickle.loads(pickle.dumps(model)) == model  # noqa: S301 - our own
    assert copy.deepcopy(model) == copy.copy(model) == model
    assert len({model, copy.deepcopy(model)}) == 1  # whatever is in extra


def test_an_agent_becomes_plain_values_by_python_names() -> None:
    MORE.to_dict()["extra"]["tags"].append("z")  # which are the caller's own
    assert MORE.to_dict() == {
        "id": "b",
        "name": "Sales",
        "primary_color": "#611F69",
        "secondary_color": "#764ba2",
        "position": "bottom-right",
        "template": "modern",
        "status": "active",
        "created_at": "2026-01-15T09:00:00+00:00",
        "extra": {"tags": ["x", {"y": None}]},
    }


@pytest.mark.parametrize("value", [AGENT, URL])
def test_what_is_no_list_is_not_iterable(value: Any) -> None:
    with pytest.raises(TypeError, match="not iterable"):
        list(value)


def test_a_number_beyond_floats_is_null_in_json() -> None:
    read = json.loads('{"big": 1e400, "more": [-1e400, 0.5]}')
    assert attrs.evolve(AGENT, extra=read).to_dict()["extra"] == {"big": None, "more": [None, 0.5]}


@pytest.mark.parametrize("value", [b"bytes", {"a": {1}}, Agent])
def test_what_has_no_form_in_json_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="has no form in JSON"):
        to_plain(value)


@pytest.mark.parametrize(
    "value",
    [
        *MODELS,
        AUDITED,
        WorkspaceAudit("acme", (AUDITED,), gaps=(Gap(None, "E", 500, "…"),), read_at=MOMENT),
        AuditTotals().plus(WorkspaceAudit("acme")),
        AuditRun(MOMENT, approved=("a.example",)),
        Change("changed", "acme", "agt_1", "status", "active", "paused"),
        Unknown("acme", None, "both"),
        GONE,
    ],
)
def test_plain_values_are_read_back_as_the_value(value: Agent) -> None:
    assert from_dict(json.loads(json.dumps(value.to_dict())), type(value)) == value


def test_an_audited_agent_is_one_with_domains() -> None:
    assert AUDITED.to_dict() == {**MORE.to_dict(), "allowed_domains": ["a.example"]}
    assert AuditedAgent("a", "b", "c", "d", "e", "f", "g", MOMENT, ("h",)).allowed_domains == ("h",)


SERVED: list[Any] = [
    AGENT,
    AgentList((AGENT,), 1),
    AgentList((), 0),
    AllowedDomains(()),
    AllowedDomains(("ab", "cd")),
    WorkspaceSnapshot((AuditedAgent.of(AGENT, ("a.example",)),), (Gap(None, "E", 500, "no"),), 1),
    ConnectionPool().stats(),
    AuditReport((WorkspaceAudit("acme", (AUDITED,)),), (URL,), AuditTotals(), 1.0),
    AuditRun(MOMENT, approved=("a.example",), findings=(URL,)),
    AuditDiff((Change("added", "acme"),), (Unknown("b", None, "old"),), (GONE,)),
]


@pytest.mark.parametrize("value", SERVED, ids=repr)
def test_fastapi_serves_a_value_with_and_without_annotation(value: Any) -> None:
    assert jsonable_encoder({"values": [value]}) == {"values": [value.to_dict()]}
    adapter: TypeAdapter[Any] = TypeAdapter(type(value))
    assert adapter.dump_python(adapter.validate_python(value), mode="json") == value.to_dict()
    assert adapter.validate_json(adapter.dump_json(value)).to_dict() == value.to_dict()
    assert adapter.json_schema(mode="serialization")["type"] == "object"
    assert adapter.json_schema(mode="validation")["type"] == "object"


def test_another_type_is_not_served_in_its_place() -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(AgentList).validate_python(AllowedDomains(()))


@pytest.mark.parametrize("value", SERVED, ids=repr)
def test_litestar_serves_a_value(value: Any) -> None:
    assert json.loads(encode_json(value)).keys() | {"counts"} >= value.to_dict().keys()
