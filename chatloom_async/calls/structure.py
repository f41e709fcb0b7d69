"""JSON values to attrs instances: the only door of cattrs.

Strict where a type is given (a null or a number is never turned into text), open where the API may
grow: unknown fields are kept in ``extra`` if the class has it. Any attrs class can be read whose
fields are text, numbers, truth values, moments, ``Literal``, tuples, ``Mapping`` or such classes.
Not here: JSON itself (``calls.wire``), what is wrong with a value (``calls.mistakes``), and the way
back (``models``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, cast, get_args, get_origin

from attrs import NOTHING, Attribute, Factory, fields, has, resolve_types

if TYPE_CHECKING:
    from cattrs import Converter

Spelling = Literal["camelCase", "snake_case"]
Reader = Callable[[Any, Any], Any]
_origin: Callable[[Any], Any] = get_origin  # which typeshed describes without ``Literal``


@cache
def reader(kind: Hashable, spelling: Spelling = "camelCase") -> Reader:
    """Return the function that takes a JSON value and this type, and returns an instance.

    It raises whatever comes, at the first wrong place; ``mistakes.why_not`` then tells which it is.
    """
    return _converter(spelling).get_structure_hook(kind)


def container_of(kind: Any) -> Any:
    """Return what a JSON value of this type has to be, if it holds several; else None."""
    return _CONTAINERS.get(_origin(kind))


@cache
def _converter(spelling: Spelling) -> Converter:
    from cattrs import Converter  # noqa: PLC0415 - see wire.prepare

    converter = Converter(detailed_validation=False)
    for leaf, hook in _LEAVES.items():
        converter.register_structure_hook(leaf, hook)

    def of_object(kind: Any) -> Reader:
        return _object_reader(kind, converter, spelling)

    def of_many(kind: Any) -> Reader:
        container = container_of(kind)
        of = get_args(kind)[container is dict]
        return _each_reader(container, of, converter.get_structure_hook(of))

    converter.register_structure_hook_factory(has, of_object)
    converter.register_structure_hook_factory(lambda kind: _origin(kind) is Literal, _choice)
    converter.register_structure_hook_factory(lambda kind: container_of(kind) is not None, of_many)
    return converter


def _object_reader(model: Any, converter: Converter, spelling: Spelling) -> Reader:
    """Compile a reader with one line for each field, as attrs compiles an ``__init__``.

    An instance is filled unfrozen, for a frozen class sets its attributes four times as slowly,
    and no ``__init__`` or validator of the model's runs.
    """
    known = spelt(model, spelling)
    names = {each.name: name for name, each in known.items()}
    required = sum(each.default is NOTHING for each in known.values())
    scope = {
        "make": _unfrozen(model),
        "model": model,
        # Both refuse, in C, what is no text. There is no suffix "", so that a text is returned.
        "text": str.removesuffix,
        "join": "".join,
        "others": lambda value: {n: v for n, v in value.items() if n not in known},
    }
    lines = ["def read(value, _):", "result = make()"]
    for each in fields(model):
        field, default, of = each.name, each.default, each.type
        taken = f"default_{field}"
        if isinstance(default, Factory):  # type: ignore[arg-type]  # a class, typed as functions
            taken += "(result)" if default.takes_self else "()"
            default = default.factory
        scope[f"default_{field}"] = default
        if field in names:
            name = repr(names[field])
            if of is str:
                read = f"text(value[{name}], '')"
            elif of == tuple[str, ...] and default is NOTHING:
                lines += [
                    f"texts = value[{name}]",
                    "if type(texts) is not list: raise TypeError",
                    "join(texts)",
                ]
                read = "tuple(texts)"
            else:
                scope[f"read_{field}"] = converter.get_structure_hook(of)
                scope[f"type_{field}"] = of
                read = f"read_{field}(value[{name}], type_{field})"
            taken = read if default is NOTHING else f"{read} if {name} in value else {taken}"
        elif field == "extra":
            taken = f"others(value) if len(value) > {required} else {{}}"
        lines.append(f"result.{field} = {taken}")
    lines += ["result.__class__ = model", "return result"]
    exec("\n    ".join(lines), scope)  # noqa: S102 - of field names alone
    return cast("Reader", scope["read"])


def _unfrozen(model: Any) -> type[Any]:
    """Return a class whose instances can be filled, and become the model's."""
    methods = {
        "__init__": object.__init__,
        "__setattr__": object.__setattr__,
        "__delattr__": object.__delattr__,  # CPython sees both as one: neither may be Python's
    }
    return type(model.__name__, (model,), {"__slots__": (), **methods})


def _each_reader(container: type, of: Any, hook: Reader) -> Reader:
    def structure(value: Any, _: Any) -> Any:
        _require(container, value)
        if container is list:
            return tuple([hook(each, of) for each in value])
        return {name: hook(each, of) for name, each in value.items()}

    return structure


@cache
def spelt(model: Any, spelling: Spelling) -> Mapping[str, Attribute[Any]]:
    """Return the fields that are read, by their names as sent.

    Of an answer these are the compared ones: how old it is, say, makes no answer another one.
    """
    known = fields(resolve_types(model))
    if spelling == "snake_case":
        return {each.name: each for each in known}
    return {_camel(each.name): each for each in known if each.eq and each.name != "extra"}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def _require(container: type, value: object) -> None:
    if type(value) is not container:  # text is iterable too, and must not become letters
        raise other_than(container, value)


def other_than(container: type, value: object) -> TypeError:
    """Return the error of a value that is no list, or no object."""
    return _expected("list" if container is list else "object", value)


def _text(value: Any, _: Any) -> str:
    if type(value) is str:
        return value
    raise _expected("str", value)


def _integer(value: Any, _: Any) -> int:
    if type(value) is int:  # which True is not
        return value
    raise _expected("int", value)


def _number(value: Any, _: Any) -> float:
    if type(value) in (int, float):
        return float(value)
    raise _expected("number", value)


def _truth(value: Any, _: Any) -> bool:
    if type(value) is bool:
        return value
    raise _expected("bool", value)


def _moment(value: Any, _: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except TypeError:
        raise _expected("str", value) from None
    except ValueError:
        moment = _of_rfc_3339(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _of_rfc_3339(text: str) -> datetime:
    """Read what it allows and Python does not: "t" and "z", and a leap second."""
    try:
        return datetime.fromisoformat(re.sub(r"(:\d\d:)60", r"\g<1>59", text.upper()))
    except ValueError:
        raise TypeError("expected an ISO 8601 timestamp") from None


def _choice(kind: Any) -> Reader:
    """Read one of several words; one of a later release is read as the first."""
    words = get_args(kind)
    return lambda value, _: value if value in words else words[0]


_LEAVES: Mapping[type, Reader] = {
    str: _text,
    int: _integer,
    float: _number,
    bool: _truth,
    datetime: _moment,
}
_CONTAINERS: Mapping[object, type] = {tuple: list, Mapping: dict}


def _expected(what: str, value: object) -> TypeError:
    return TypeError(f"expected {what}, got {type(value).__name__}")
