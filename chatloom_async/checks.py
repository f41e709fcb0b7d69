"""Numbers that callers give, checked before anything is done with them."""

from __future__ import annotations

import math
from typing import TypeGuard

from chatloom_async.errors import ConfigurationError

_LONGEST = 1e9  # seconds, some thirty years: no timer takes much more


def require_whole(name: str, value: object) -> None:
    """Accept a whole number, 1 or more.

    Raises:
        ConfigurationError: it is not one.

    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"{name} is a whole number, 1 or more")


def require_seconds(name: str, value: object) -> None:
    """Accept a positive, finite number of seconds.

    Raises:
        ConfigurationError: it is not one.

    """
    if not _is_number(value) or not 0 < value <= _LONGEST:
        raise ConfigurationError(f"{name} is a positive number of seconds, not {value!r}")


def require_number(name: str, value: object, *, at_least: float) -> None:
    """Accept a finite number that is large enough.

    Raises:
        ConfigurationError: it is not one.

    """
    if not _is_number(value) or not at_least <= value < math.inf:
        raise ConfigurationError(f"{name} is a number, {at_least} or more, not {value!r}")


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
