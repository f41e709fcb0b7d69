"""Bytes to models: JSON as RFC 8259 has it, and an answer that is not as documented as an error.

Pure functions; nothing here knows of HTTP. Not here: how a JSON value becomes a model
(``calls.structure``), and what is wrong with one that does not (``calls.mistakes``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from json.scanner import make_scanner
from typing import Any, NoReturn, TypeVar

from chatloom_async.calls.mistakes import (
    LARGE,
    TOO_DEEP,
    TOO_LARGE,
    is_full_of_floats,
    refuse_rubble,
    why_not,
)
from chatloom_async.calls.structure import Reader, reader
from chatloom_async.errors import ResponseDecodeError
from chatloom_async.models import AgentList, AllowedDomains

Model = TypeVar("Model")
Scanner = Callable[[str, int], tuple[Any, int]]

_HTML = re.compile(rb"(?i)\s*<(!doctype|html)")
_SPACE = re.compile(r"[ \t\n\r]*")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _scanner(parse_float: Callable[[str], Any]) -> Scanner:
    decoder = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=parse_float)
    return make_scanner(decoder)  # type: ignore[arg-type]  # raw_decode hands it a decoder too


# To ask ``reader`` takes a tenth of a small answer's time.
READERS: dict[object, Reader] = {object: lambda value, _: value}
_scan = _scanner(float)
# Every float is 0.0, at a third of the time: a function of one text, without Python in it.
_scan_around_floats = _scanner(partial({0: 0.0}.get, 0))


def decode(body: bytes, model: type[Model], scan: Scanner = _scan) -> Model:
    """Return the model that this answer describes; ``object`` takes any JSON value as it is.

    JSON is UTF-8, and a byte order mark is ignored (RFC 8259 §8.1).

    Raises:
        ResponseDecodeError: it is not JSON, or not what is documented; the message names the place.

    """
    if len(body) > LARGE and model is not object:
        _inspect(body, model, scan)
    try:
        text = body.decode()
        try:
            value, end = scan(text, 0)
        except StopIteration:  # no value begins here: there may be space before it
            value, end = _scan_after_space(text, scan)
        if end != len(text):
            _check_rest(text, end)
    except (ValueError, RecursionError, MemoryError) as error:
        reason = f"the answer is not JSON: {_why_no_json(error, body)}"
    else:
        try:
            read = READERS[model]
        except KeyError:
            read = READERS[model] = reader(model)  # type: ignore[arg-type]  # classes are hashable
        try:
            return read(value, model)  # type: ignore[no-any-return]  # a run-time type
        except Exception as error:  # noqa: BLE001 - whatever a value raises that is not of its kind
            reason = why_not(error, value, model)
    raise ResponseDecodeError(reason)


def from_dict(value: object, kind: type[Model]) -> Model:
    """Return what ``to_dict`` made this of; fields that the class does not know are left out.

    Raises:
        ResponseDecodeError: it is none; the message names the first wrong place.

    """
    read = reader(kind, "snake_case")  # type: ignore[arg-type]  # classes are hashable
    try:
        return read(value, kind)  # type: ignore[no-any-return]  # a run-time type
    except Exception as error:  # noqa: BLE001 - whatever a value raises that is not of its kind
        reason = why_not(error, value, kind, "snake_case")
    raise ResponseDecodeError(reason)


def decode_error(body: bytes) -> str | None:
    """Return the ``error`` text of an error answer (API reference, Errors), or None."""
    try:
        value: Any = decode(body, object)
    except ResponseDecodeError:
        return None
    message = value.get("error") if isinstance(value, dict) else None
    return message if isinstance(message, str) and message else None


def prepare() -> None:
    """Import cattrs and compile the readers: on first use they would hold up the event loop.

    Not at import, where they would cost those who import much and call nothing.
    """
    for model in (AgentList, AllowedDomains):
        reader(model)


def _inspect(body: bytes, model: type[Any], scan: Scanner) -> None:
    """Refuse what would cost more to read than a right answer."""
    refuse_rubble(body)
    if scan is _scan and is_full_of_floats(body):  # longer to read than models to make
        decode(body, model, _scan_around_floats)


def _scan_after_space(text: str, scan: Scanner) -> tuple[Any, int]:
    try:
        return scan(text, _after_space(text, text.startswith("\ufeff")))
    except StopIteration as error:
        raise json.JSONDecodeError("Expecting value", text, error.value) from None


def _after_space(text: str, start: int) -> int:
    space = _SPACE.match(text, start)
    return space.end() if space else start


def _check_rest(text: str, end: int) -> None:
    if _after_space(text, end) != len(text):
        raise json.JSONDecodeError("Extra data", text, _after_space(text, end))


def _why_no_json(error: Exception, body: bytes) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    if isinstance(error, RecursionError):
        return TOO_DEEP
    if isinstance(error, MemoryError):
        return TOO_LARGE
    if not isinstance(error, json.JSONDecodeError):
        return str(error)
    if _HTML.match(body):
        return "it is HTML, as a proxy or another address than the API's sends it"
    return f"{error.msg} at line {error.lineno}, column {error.colno}" if body else "empty"
