"""Bytes to models: the only door of cattrs.

Strict where the API reference speaks (a null or a number is never turned into text), open where the
API may grow (unknown fields are kept in ``extra``, unknown enum values stay text). Pure functions;
nothing here knows of HTTP. Not here: values as plain JSON (``models``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from datetime import UTC, datetime
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar, get_args, get_origin

import attrs

from chatloom_async.errors import ResponseDecodeError
from chatloom_async.models import AgentList, AllowedDomains

if TYPE_CHECKING:
    from cattrs import Converter

Model = TypeVar("Model")
_Mode = Literal["quick", "detailed"]
_Names = Literal["api", "python"]  # primaryColor, or primary_color

_NOT_SENT = ("extra", "answered_at", "is_stale")  # what is known of an answer beside its fields


def decode(body: bytes, model: type[Model]) -> Model:
    """Return the model that this answer describes; ``object`` takes any JSON value as it is.

    Raises:
        ResponseDecodeError: it is not JSON, or not what is documented; the message names the place.

    """
    value = decode_json(body)
    if model is object:
        return value  # type: ignore[no-any-return]  # any JSON value is an object
    return _structured(value, model, "api")


def from_dict(value: Any, model: type[Model]) -> Model:
    """Return what ``to_dict`` made this of; fields that the model does not know are left out.

    Raises:
        ResponseDecodeError: it is none; the message names the place.

    """
    return _structured(value, model, "python")


def _structured(value: Any, model: type[Model], names: _Names) -> Model:
    try:
        return _hook(model, "quick", names)(value, model)  # type: ignore[arg-type,no-any-return]  # a run-time type
    except (TypeError, ValueError, KeyError):
        pass
    # Structured again in detail: the quick path does not know where it failed.
    try:
        return _hook(model, "detailed", names)(value, model)  # type: ignore[arg-type,no-any-return]  # a run-time type
    except Exception as error:  # noqa: BLE001 - cattrs raises groups of whatever the hooks raise
        place, reason = _locate(error, names)
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
        _hook(model, "quick", "api")


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
def _hook(model: Hashable, mode: _Mode, names: _Names) -> Callable[[Any, Any], Any]:
    return _converter(mode, names).get_structure_hook(model)


@cache
def _converter(mode: _Mode, names: _Names) -> Converter:
    from cattrs import Converter  # noqa: PLC0415 - see prepare

    converter = Converter(detailed_validation=mode == "detailed")
    converter.register_structure_hook(str, _text)
    converter.register_structure_hook(bool, _boolean)
    converter.register_structure_hook(int, _integer)
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook(datetime, _moment)
    objects = _api_object if names == "api" else _python_object
    converter.register_structure_hook_factory(attrs.has, lambda kind: objects(kind, converter))
    for origin, hook in ((tuple, _list_of), (Mapping, _mapping), (Literal, _choice)):
        converter.register_structure_hook_factory(
            partial(_comes_from, origin), partial(hook, converter)
        )
    return converter


def _comes_from(origin: Any, kind: Any) -> bool:
    return get_origin(kind) is origin


def _api_object(model: type[Any], converter: Converter) -> Callable[[Any, Any], Any]:
    """Return what makes a model of an object of the API; unknown fields go to its ``extra``."""
    from cattrs.gen import make_dict_structure_fn, override  # noqa: PLC0415

    names = {name: _camel(name) for name in attrs.fields_dict(model) if name not in _NOT_SENT}
    fields = make_dict_structure_fn(
        model,
        converter,
        _cattrs_detailed_validation=converter.detailed_validation,
        **{name: override(omit=True) for name in _NOT_SENT},  # type: ignore[arg-type]  # as below
        **{name: override(rename=sent) for name, sent in names.items()},  # type: ignore[arg-type]  # attribute names, which mypy takes for options
    )
    known = frozenset(names.values())

    def structure(value: Any, _: type[Any]) -> Any:
        if not isinstance(value, Mapping):
            raise _expected("object", value)
        result = fields(value, model)
        if known.issuperset(value):
            return result
        return attrs.evolve(result, extra={k: v for k, v in value.items() if k not in known})

    return structure


def _python_object(model: type[Any], converter: Converter) -> Callable[[Any, Any], Any]:
    from cattrs.gen import make_dict_structure_fn  # noqa: PLC0415

    fields = make_dict_structure_fn(
        model, converter, _cattrs_detailed_validation=converter.detailed_validation
    )

    def structure(value: Any, _: type[Any]) -> Any:
        if not isinstance(value, Mapping):
            raise _expected("object", value)
        return fields(value, model)

    return structure


def _list_of(converter: Converter, kind: Any) -> Callable[[Any, Any], tuple[Any, ...]]:
    of = get_args(kind)[0]
    items = converter.get_structure_hook(list[of])  # type: ignore[valid-type]  # a run-time type

    def structure(value: Any, _: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):  # text is iterable too, and must not become letters
            raise _expected("list", value)
        return tuple(items(value, list[of]))  # type: ignore[valid-type]  # a run-time type

    return structure


def _mapping(_converter: Converter, _kind: Any) -> Callable[[Any, Any], Mapping[str, Any]]:
    def structure(value: Any, _: Any) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            raise _expected("object", value)
        return value

    return structure


def _choice(_converter: Converter, kind: Any) -> Callable[[Any, Any], str]:
    """Return what reads one of several words; one of a later release is read as the first."""
    words = get_args(kind)
    return lambda value, _: value if value in words else words[0]


def _camel(name: str) -> str:
    """Return a name as the API writes it: ``primary_color`` is ``primaryColor``."""
    return re.sub("_(.)", lambda letter: letter[1].upper(), name)


def _text(value: Any, _: Any) -> str:
    if isinstance(value, str):
        return value
    raise _expected("str", value)


def _integer(value: Any, _: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise _expected("int", value)


def _boolean(value: Any, _: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise _expected("bool", value)


def _number(value: Any, _: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise _expected("number", value)


def _moment(value: Any, _: Any) -> datetime:
    moment = datetime.fromisoformat(_text(value, str))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _expected(what: str, value: Any) -> TypeError:
    return TypeError(f"expected {what}, got {type(value).__name__}")


def _locate(error: BaseException, names: _Names) -> tuple[str, str]:
    """Walk cattrs' groups down to the first failure: its JSON path and its reason."""
    place = "$"
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
        place += _step(getattr(error, "__notes__", ()), names)
    if isinstance(error, KeyError):
        return place, "missing"
    if isinstance(error, TypeError):
        return place, str(error)
    return place, "expected an ISO 8601 timestamp"


def _step(notes: Iterable[str], names: _Names) -> str:
    from cattrs import AttributeValidationNote, IterableValidationNote  # noqa: PLC0415

    for note in notes:
        if isinstance(note, AttributeValidationNote):
            return f".{_camel(note.name) if names == 'api' else note.name}"
        if isinstance(note, IterableValidationNote):
            return f"[{note.index}]"
    return ""
