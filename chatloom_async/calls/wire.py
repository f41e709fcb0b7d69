"""Bytes to models: the only door of cattrs.

Strict where the API reference speaks (a null or a number is never turned into text), open where the
API may grow (unknown fields are kept in ``extra``, unknown enum values stay text). Pure functions;
nothing here knows of HTTP.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar

from attrs import evolve

from chatloom_async.errors import ResponseDecodeError
from chatloom_async.models import Agent, AgentList, AllowedDomains

if TYPE_CHECKING:
    from cattrs import Converter

Model = TypeVar("Model")
_Mode = Literal["quick", "detailed"]

_RENAMED = {
    "primary_color": "primaryColor",
    "secondary_color": "secondaryColor",
    "created_at": "createdAt",
}


def decode(body: bytes, model: type[Model]) -> Model:
    """Return the model that this answer describes; ``object`` takes any JSON value as it is.

    Raises:
        ResponseDecodeError: it is not JSON, or not what is documented; the message names the place.

    """
    value = decode_json(body)
    if model is object:
        return value  # type: ignore[no-any-return]  # any JSON value is an object
    try:
        return _hook(model, "quick")(value, model)  # type: ignore[arg-type,no-any-return]  # a run-time type
    except (TypeError, ValueError, KeyError):
        pass
    # Structured again in detail: the quick path does not know where it failed.
    try:
        return _hook(model, "detailed")(value, model)  # type: ignore[arg-type,no-any-return]  # a run-time type
    except Exception as error:  # noqa: BLE001 - cattrs raises groups of whatever the hooks raise
        place, reason = _locate(error)
    raise ResponseDecodeError(f"{place}: {reason}")


def decode_json(body: bytes) -> Any:
    """Return the JSON value of an answer (RFC 8259: UTF-8; a byte order mark is ignored).

    Raises:
        ResponseDecodeError: it is not JSON.

    """
    try:
        text = body.decode()
        return _JSON.decode(text[1:] if text[:1] == "\ufeff" else text)
    except UnicodeDecodeError:
        reason = "not UTF-8"
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at line {error.lineno}, column {error.colno}" if body else "empty"
    except ValueError as error:
        reason = str(error)
    except RecursionError:
        reason = "nested too deeply"
    raise ResponseDecodeError(f"the answer is not JSON: {reason}")


def prepare() -> None:
    """Import and compile the converters now: on first use they would hold up the event loop.

    Not at import, where they would cost those who import much and call nothing.
    """
    for model in (AgentList, AllowedDomains):
        _hook(model, "quick")


def decode_error(body: bytes) -> str | None:
    """Return the ``error`` text of an error answer (API reference, Errors), or None."""
    try:
        value = decode_json(body)
    except ResponseDecodeError:
        return None
    message = value.get("error") if isinstance(value, dict) else None
    return message if isinstance(message, str) and message else None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


_JSON = json.JSONDecoder(parse_constant=_refuse_constant)


@cache
def _hook(model: Hashable, mode: _Mode) -> Callable[[Any, Any], Any]:
    return _converter(mode).get_structure_hook(model)


@cache
def _converter(mode: _Mode) -> Converter:
    from cattrs import Converter  # noqa: PLC0415 - see prepare

    converter = Converter(detailed_validation=mode == "detailed")
    converter.register_structure_hook(str, _text)
    converter.register_structure_hook(int, _integer)
    converter.register_structure_hook(datetime, _moment)
    _register(converter, Agent)
    _register(converter, AgentList, agents=Agent)
    _register(converter, AllowedDomains, domains=str)
    return converter


def _register(converter: Converter, model: type[Any], **lists: type[Any]) -> None:
    """Teach the converter an object: wire names, lists of one type, unknown fields to extra."""
    from cattrs.gen import make_dict_structure_fn, override  # noqa: PLC0415

    names = [field.name for field in model.__attrs_attrs__ if field.name != "extra"]
    overrides = {name: override(rename=_RENAMED.get(name, name)) for name in names}
    overrides |= {name: override(struct_hook=_list_of(converter, of)) for name, of in lists.items()}
    overrides["extra"] = override(omit=True)
    known = frozenset(_RENAMED.get(name, name) for name in names)
    expected = len(known)
    fields = make_dict_structure_fn(
        model,
        converter,
        _cattrs_detailed_validation=converter.detailed_validation,
        **overrides,  # type: ignore[arg-type]  # attribute names, which mypy takes for options
    )

    def structure(value: Any, _: type[Any]) -> Any:
        if not isinstance(value, Mapping):
            raise _expected("object", value)
        result = fields(value, model)
        if len(value) == expected:
            return result
        return evolve(result, extra={k: v for k, v in value.items() if k not in known})

    converter.register_structure_hook(model, structure)


def _list_of(converter: Converter, of: type[Any]) -> Callable[[Any, Any], tuple[Any, ...]]:
    items = converter.get_structure_hook(list[of])  # type: ignore[valid-type]  # a run-time type

    def structure(value: Any, _: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):  # text is iterable too, and must not become letters
            raise _expected("list", value)
        return tuple(items(value, list[of]))  # type: ignore[valid-type]  # a run-time type

    return structure


def _text(value: Any, _: Any) -> str:
    if isinstance(value, str):
        return value
    raise _expected("str", value)


def _integer(value: Any, _: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise _expected("int", value)


def _moment(value: Any, _: Any) -> datetime:
    moment = datetime.fromisoformat(_text(value, str))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _expected(what: str, value: Any) -> TypeError:
    return TypeError(f"expected {what}, got {type(value).__name__}")


def _locate(error: BaseException) -> tuple[str, str]:
    """Walk cattrs' groups down to the first failure: its JSON path and its reason."""
    place = "$"
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
        place += _step(getattr(error, "__notes__", ()))
    if isinstance(error, KeyError):
        return place, "missing"
    if isinstance(error, TypeError):
        return place, str(error)
    return place, "expected an ISO 8601 timestamp"


def _step(notes: Iterable[str]) -> str:
    from cattrs import AttributeValidationNote, IterableValidationNote  # noqa: PLC0415

    for note in notes:
        if isinstance(note, AttributeValidationNote):
            return f".{_RENAMED.get(note.name, note.name)}"
        if isinstance(note, IterableValidationNote):
            return f"[{note.index}]"
    return ""
