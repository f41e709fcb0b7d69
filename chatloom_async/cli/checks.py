"""What the ``doctor`` says of one thing it looked at."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

Verdict = Literal["ok", "note", "problem"]


@frozen
class Check:
    """One line of the doctor's report.

    Attributes:
        name: what was looked at.
        verdict: "note" for what is worth knowing and stops nothing.
        message: what was found.
        advice: what to do about it; "" where there is nothing to do.
    """

    name: str
    verdict: Verdict
    message: str
    advice: str = ""
