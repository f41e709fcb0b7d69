"""Large answers that would cost far more to read than to send, refused before they are read.

A few hundred kilobytes of ``[[],[],`` take ten times that in memory, hundreds of fields of another
name each as much, and numbers with fractions the time of many models. Looking at an answer takes a
fraction of reading it. Not here: reading it (``calls.wire``).
"""

from __future__ import annotations

import re

from chatloom_async.errors import ResponseDecodeError

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
