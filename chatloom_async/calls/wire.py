"""Bytes to models: JSON as RFC 8259 has it, and an answer that is not as documented as an error.

Pure functions; nothing here knows of HTTP. Not here: how a JSON value becomes a model
(``calls.structure``).
"""

from __future__ import annotations

import json
import re
from json.scanner import make_scanner
from typing import Any, NoReturn, TypeVar

from chatloom_async.calls.structure import TOO_DEEP, TOO_LARGE, reader, why_not
from chatloom_async.errors import ResponseDecodeError
from chatloom_async.models import AgentList, AllowedDomains

Model = TypeVar("Model")

# A larger answer has at most one object in 16 bytes or one list in 8. Smaller ones hold next to
# nothing and take ten times the memory and time of models: [[],[], …
_LARGE = 64 * 1024
_BYTES_OF_LIST = 8
_SPACE = re.compile(r"[ \t\n\r]*")


def decode(body: bytes, model: type[Model]) -> Model:
    """Return the model that this answer describes; ``object`` takes any JSON value as it is.

    Raises:
        ResponseDecodeError: it is not JSON, or not what is documented; the message names the place.

    """
    if len(body) > _LARGE and model is not object:
        _refuse_rubble(body)
    value = decode_json(body)
    if model is object:
        return value  # type: ignore[no-any-return]  # any JSON value is an object
    read = reader(model)  # type: ignore[arg-type]  # classes are hashable
    try:
        return read(value, model)  # type: ignore[no-any-return]  # a run-time type
    except Exception as error:  # noqa: BLE001 - whatever a value raises that is not of its kind
        reason = why_not(error, value, model)
    raise ResponseDecodeError(reason)


def decode_json(body: bytes) -> Any:
    """Return the JSON value of an answer (RFC 8259: UTF-8; a byte order mark is ignored).

    Raises:
        ResponseDecodeError: it is not JSON.

    """
    try:
        text = body.decode()
        try:
            value, end = _scan(text, 0)
        except StopIteration:  # no value begins here: there may be space before it
            value, end = _JSON.raw_decode(text, _after_space(text, text.startswith("\ufeff")))
        if end == len(text) or (end := _after_space(text, end)) == len(text):
            return value
        reason = _at(json.JSONDecodeError("Extra data", text, end))
    except UnicodeDecodeError:
        reason = "not UTF-8"
    except json.JSONDecodeError as error:
        reason = _at(error) if body else "empty"
    except ValueError as error:
        reason = str(error)
    except RecursionError:
        reason = TOO_DEEP
    except MemoryError:
        reason = TOO_LARGE
    raise ResponseDecodeError(f"the answer is not JSON: {reason}")


def decode_error(body: bytes) -> str | None:
    """Return the ``error`` text of an error answer (API reference, Errors), or None."""
    try:
        value = decode_json(body)
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


def _refuse_rubble(body: bytes) -> None:
    # bytes.count looks at each byte alone, replace does not: a quarter of the time.
    objects, lists = (len(body) - len(body.replace(sign, b"")) for sign in (b"{", b"["))
    if 2 * objects + lists > len(body) // _BYTES_OF_LIST:
        raise ResponseDecodeError(
            "$: nested too deeply, or more objects and lists than an answer of this size can have"
        )


def _after_space(text: str, start: int) -> int:
    space = _SPACE.match(text, start)
    return space.end() if space else start


def _at(error: json.JSONDecodeError) -> str:
    return f"{error.msg} at line {error.lineno}, column {error.colno}"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


_JSON = json.JSONDecoder(parse_constant=_refuse_constant)
_scan = make_scanner(_JSON)  # type: ignore[arg-type]  # it takes a decoder, as raw_decode gives it
