"""JSON values to attrs instances: any class, its optional fields, and instances that are frozen."""

import copy
import json
import pickle
import weakref
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from attrs import field, frozen

from chatloom_async import Agent, AgentList, AllowedDomains, ResponseDecodeError
from chatloom_async.calls.wire import decode, from_dict
from chatloom_async.models import to_plain
from tests.test_models import MODELS


@frozen
class Message:
    sent_at: datetime
    text: str
    from_visitor: bool = False


@frozen
class Conversation:
    id: str
    messages: tuple[Message, ...]
    satisfaction: float | None = None
    closed_by: Message | None = None
    per_channel: Mapping[str, int] = field(factory=dict, hash=False)
    extra: Mapping[str, Any] = field(factory=dict, hash=False)
    is_old: bool = field(default=False, eq=False)


@frozen
class Page:
    conversations: tuple[Conversation, ...]
    next_cursor: str | None
    tags: tuple[str, ...] = ("none",)


HELLO = {"sentAt": "2026-01-15T09:00:00Z", "text": "hello"}
FULL = {
    "id": "c",
    "messages": [HELLO, HELLO | {"fromVisitor": True}],
    "satisfaction": 4,
    "closedBy": HELLO,
    "perChannel": {"web": 2},
    "language": "sv",
}


def page(*conversations: object, **more: object) -> Page:
    sent = {"conversations": conversations, "nextCursor": None} | more
    return decode(json.dumps(sent).encode(), Page)


def test_a_class_nobody_registered_is_read() -> None:
    hello = Message(datetime(2026, 1, 15, 9, tzinfo=UTC), "hello")
    messages = (hello, attrs.evolve(hello, from_visitor=True))
    read = page(FULL, nextCursor="n", tags=["a"])
    assert read == Page(
        (Conversation("c", messages, 4.0, hello, {"web": 2}, {"language": "sv"}),), "n", ("a",)
    )
    assert from_dict(json.loads(json.dumps(to_plain(read))), Page) == read


def test_an_absent_optional_field_takes_a_default_of_its_own() -> None:
    found = page(*[{"id": "c", "messages": []}] * 2)
    assert found == Page((Conversation("c", ()),) * 2, None)
    assert found.tags == ("none",)
    first, second = found.conversations
    assert first.per_channel is not second.per_channel
    assert first.extra is not second.extra


def test_unknown_fields_are_kept_beside_absent_ones() -> None:
    sent = {"id": "c", "messages": [], "language": "sv"}
    assert page(sent).conversations[0].extra == {"language": "sv"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"satisfaction": True}, ".satisfaction: expected number, got bool"),
        ({"closedBy": {}}, ".closedBy.sentAt: missing"),
        ({"messages": [HELLO, HELLO | {"text": 5}]}, ".messages[1].text: expected str, got int"),
        ({"messages": [HELLO | {"fromVisitor": 1}]}, ".messages[0].fromVisitor: expected bool"),
        ({"perChannel": {"w" * 99: None}}, f".perChannel['{'w' * 39}]: expected int, got NoneType"),
    ],
)
def test_the_first_wrong_place_is_named(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ResponseDecodeError) as caught:
        page(FULL, FULL | wrong, {})
    assert caught.value.message.startswith(f"$.conversations[1]{message}")


def test_a_field_not_compared_is_no_answers() -> None:
    (found,) = page(FULL | {"isOld": True}).conversations
    assert (found.is_old, found.extra["isOld"]) == (False, True)
    assert from_dict(to_plain(attrs.evolve(found, is_old=True)), Conversation).is_old


def test_plain_values_are_read_as_strictly_as_answers() -> None:
    assert from_dict({"domains": ["a"], "new": 1}, AllowedDomains) == AllowedDomains(("a",))
    with pytest.raises(ResponseDecodeError, match=r"^\$\.created_at: expected str"):
        from_dict(MODELS[0].to_dict() | {"created_at": None}, Agent)


def agent() -> Agent:
    sent = dict.fromkeys(attrs.fields_dict(Agent), "x") | {"created_at": "2026-01-15"}
    return from_dict(sent | {"extra": {"a": [1]}}, Agent)


def test_a_read_instance_is_frozen() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        agent().name = "other"  # type: ignore[misc]  # the point
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        del agent().name
    with pytest.raises(AttributeError):
        agent().other = 1  # type: ignore[attr-defined]  # the point


def test_a_read_instance_equals_a_made_one() -> None:
    read = agent()
    made = Agent(**{each.name: getattr(read, each.name) for each in attrs.fields(Agent)})
    assert (read, hash(read), repr(read)) == (made, hash(made), repr(made))
    assert pickle.loads(pickle.dumps(read)) == copy.deepcopy(read) == copy.copy(read) == made  # noqa: S301 - our own
    assert attrs.evolve(read, name="y") == attrs.evolve(made, name="y")
    assert weakref.ref(read)() is read
    assert AgentList((read,), 1) == AgentList((made,), 1)
