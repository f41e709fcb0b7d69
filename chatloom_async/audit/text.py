"""Text from elsewhere, made fit for a terminal, a table cell or a spreadsheet.

Names and messages come from the API and may hold anything: control characters that move the
cursor, marks that turn the writing direction, half a surrogate pair, ten thousand letters.
"""

import re
import unicodedata

# What begins a formula at the beginning of a cell, whichever of the usual separators ends a cell
# for the program that reads it; the last four are fullwidth forms.
_FORMULA = re.compile(r"""(^|[;,|\t])([\s"']*)([=+\-@\uff1d\uff0b\uff0d\uff20])""")
_HARMLESS = {"\u200c", "\u200d"}  # the joiners that scripts and emoji need


def visible(text: str, most: int | None = None) -> str:
    r"""Return the text on one line, unprintable characters written out as ``\n`` or ``\u202e``.

    ``most`` cuts it to that many characters, the last one then an ellipsis.
    """
    if most is not None and len(text) > most:
        text = text[: most - 1] + "…"
    if text.isprintable():
        return text
    return "".join(
        each if _shows(each) else each.encode("unicode_escape").decode("ascii") for each in text
    )


def spreadsheet(text: str) -> str:
    """Return the text so that no spreadsheet takes it for a formula, nor a terminal for orders.

    Line ends and other control characters are written out, as ``visible`` does.
    """
    return _FORMULA.sub(r"\1'\2\3", visible(text))


def plural(count: int, noun: str) -> str:
    """Return the number, grouped, and its noun: ``1 gap``, ``1,204 gaps``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return a time as people say it: ``0.4 s``, ``12 s``, ``3 min 05 s``, ``2 h 10 min``."""
    if seconds < 10:  # noqa: PLR2004 - below it, tenths tell something
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _shows(character: str) -> bool:
    return (
        character.isprintable()
        or character in _HARMLESS
        or unicodedata.category(character) == "Zs"  # spaces of other scripts
    )
