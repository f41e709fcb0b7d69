"""What is wrong with a JSON value that became no model: the first wrong place, and the reason.

Not here: how a right one becomes a model (``calls.structure``).
"""

from __future__ import annotations

from collections.abc import Iterable
from types import NoneType
from typing import Any, get_args

from attrs import NOTHING, has

from chatloom_async.calls.structure import Spelling, container_of, other_than, reader, spelt

TOO_DEEP = "nested too deeply"
TOO_LARGE = "more than the memory holds"


def why_not(error: Exception, value: object, kind: Any, spelling: Spelling = "camelCase") -> str:
    """Return the first wrong place of a value, and the reason, for what its reader raised.

    ``$.agents[1].createdAt: expected str, got NoneType``. The value is read again until there, so
    that reading a right one needs no book-keeping.
    """
    try:
        if not isinstance(error, RecursionError | MemoryError):
            return _wrong(value, kind, spelling, "$") or "$: not as documented"
    except (RecursionError, MemoryError) as another:
        error = another
    return f"$: {TOO_DEEP if isinstance(error, RecursionError) else TOO_LARGE}"


def _wrong(value: Any, kind: Any, spelling: Spelling, place: str) -> str | None:
    if NoneType in get_args(kind):  # X | None
        if value is None:
            return None
        kind = next(each for each in get_args(kind) if each is not NoneType)
    container = dict if has(kind) else container_of(kind)
    if container is None:
        problem = _problem(value, kind, spelling)
        return f"{place}: {problem}" if problem else None
    if type(value) is not container:
        return f"{place}: {other_than(container, value)}"
    if has(kind):
        return _wrong_field(value, kind, spelling, place)
    of = get_args(kind)[container is dict]
    for step, element in _steps(value):
        if _problem(element, of, spelling):
            return _wrong(element, of, spelling, f"{place}[{step!r:.40}]")
    return None


def _steps(value: Any) -> Iterable[tuple[object, Any]]:
    return value.items() if type(value) is dict else enumerate(value)


def _wrong_field(value: Any, kind: Any, spelling: Spelling, place: str) -> str | None:
    for name, each in spelt(kind, spelling).items():
        if name in value:
            found = _wrong(value[name], each.type, spelling, f"{place}.{name}")
            if found:
                return found
        elif each.default is NOTHING:
            return f"{place}.{name}: missing"
    return None


def _problem(value: Any, kind: Any, spelling: Spelling) -> str | None:
    try:
        reader(kind, spelling)(value, kind)
    except TypeError as error:
        return str(error)
    except ValueError:
        return "not as documented"
    except KeyError:
        return "missing"
    return None
