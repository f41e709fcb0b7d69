"""What is wrong with an answer: with all of a large one, or the first wrong place of any.

Some answers would cost far more to read than to send. A few hundred kilobytes of ``[[],[],`` take
ten times that in memory, hundreds of fields of another name each as much, and numbers with
fractions the time of many models. Looking at an answer takes a fraction of reading it. Not here:
reading it (``calls.wire``), and how a right one becomes a model (``calls.structure``).
"""

from __future__ import annotations

import re
from types import NoneType
from typing import Any, get_args

from attrs import NOTHING, has

from chatloom_async.calls.structure import Spelling, container_of, other_than, reader, spelt
from chatloom_async.errors import ResponseDecodeError

TOO_DEEP = "nested too deeply"
TOO_LARGE = "more than the memory holds"

# A larger answer has at most one object in 16 bytes or one list in 12, and one more for each value.
# Smaller ones hold next to nothing and take ten times the memory and time of models: [[],[], …
LARGE = 64 * 1024
_BYTES_OF_OBJECT, _BYTES_OF_LIST = 16, 12
# Nor has it hundreds of fields side by side, each of another name and next to nothing in it, which
# all take a place in two tables. A map of days to numbers has one in 14 bytes.
_BYTES_OF_NAME, _OF_ANOTHER_NAME = 12, 0.9
_NAME = rb'"[^"\\]*"\s*:'
# More than one float in so many bytes takes longer to read than an answer's models to make.
_BYTES_OF_FLOAT = 20
_FLOAT = rb"[\[,:]\s*-?\d+[.eE]\d"
_GLANCES, _GLANCE = 32, 256  # places that are looked at, and how many bytes there


def refuse_rubble(body: bytes) -> None:
    """Look at a large answer before it is read.

    Raises:
        ResponseDecodeError: it holds more objects, lists or names than an answer of its size.
    """
    # bytes.count looks at each byte alone, replace does not: a quarter of the time.
    objects, lists = (len(body) - len(body.replace(sign, b"")) for sign in (b"{", b"["))
    some = _glance(body)
    values = len(body) * some.count(b",") // len(some)
    if objects * _BYTES_OF_OBJECT + lists * _BYTES_OF_LIST + values > len(body):
        raise ResponseDecodeError(
            "$: nested too deeply, or more objects and lists than an answer of this size can have"
        )
    if some.count(b":") * _BYTES_OF_NAME > len(some):
        names = re.findall(_NAME, some)
        if len(set(names)) > max(len(some) / _BYTES_OF_NAME, _OF_ANOTHER_NAME * len(names)):
            raise ResponseDecodeError("$: more names of fields than an answer can have")


def is_full_of_floats(body: bytes) -> bool:
    """Tell whether its numbers take longer to read than its models to make."""
    some = _glance(body)
    many = some.count(b",") * _BYTES_OF_FLOAT > len(some) * 2
    return many and len(re.findall(_FLOAT, some)) * _BYTES_OF_FLOAT > len(some)


def _glance(body: bytes) -> bytes:
    """Return a few thousand bytes from all over a large answer."""
    step = len(body) // _GLANCES
    return b"".join([body[at : at + _GLANCE] for at in range(0, len(body), step)])


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
    for step, element in value.items() if container is dict else enumerate(value):
        if _problem(element, of, spelling):
            return _wrong(element, of, spelling, f"{place}[{step!r:.40}]")
    return None


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
