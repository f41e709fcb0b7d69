"""Names that can be taken for others, by Unicode Technical Standard #39.

A label is told when it holds a sign that the standard keeps out of identifiers (§3.1), when it
mixes scripts that are not written together (§5.2), and when every letter in it looks like a Latin
one (§4). The last is in order below a top-level domain where people write that script.

Pure functions over hosts as people read them. The data is Unicode's, in ``look_alikes.toml``.
"""

import tomllib
import unicodedata
from bisect import bisect_right
from functools import cache
from importlib.resources import files
from operator import itemgetter
from typing import Any

_KEYCAP = "\u20e3"  # the end of an emoji
_DOT = "\u0307"  # a dot above a letter that has one


def look_alike(host: str) -> str | None:
    """Return why a host may be taken for another one, or None."""
    if host.isascii():
        return None
    *_, top = labels = host.split(".")
    for label in labels:
        reason = None if label.isascii() else _reason(label, top)
        if reason is not None:
            return f"{label!r} {reason}"
    return None


def _reason(label: str, top: str) -> str | None:
    kept_out = next((sign for sign in label if not _is_allowed(sign)), None)
    if kept_out is not None:
        return f"holds {kept_out!r} (U+{ord(kept_out):04X}), kept out of identifiers by Unicode"
    scripts = set(filter(None, map(_script, label)))
    if len(scripts) > 1 and not any(map(scripts.issubset, _data()["together"])):
        return f"mixes {' and '.join(sorted(script.title() for script in scripts))} letters"
    latin = _as_latin(label)
    if latin is None or any(_is_at_home(script, top) for script in scripts):
        return None
    return f"looks like {latin!r}"


def _is_allowed(sign: str) -> bool:
    if sign.isascii() or sign == _KEYCAP:
        return True
    kind = unicodedata.category(sign)
    if kind[0] == "P" or kind == "Sm":
        return sign in _data()["allowed_signs"]
    if kind[0] not in "LMN":
        return True  # emoji and other pictures are no letters
    runs = _data()["allowed"]
    _, last = runs[bisect_right(runs, ord(sign), key=itemgetter(0)) - 1]
    return bool(ord(sign) <= last)


@cache
def _data() -> dict[str, Any]:
    text = files("chatloom_async.audit").joinpath("look_alikes.toml").read_text("utf-8")
    data = tomllib.loads(text)
    runs = (run.split("-") for run in data["allowed"].split())
    data["allowed"] = [(int(run[0], 16), int(run[-1], 16)) for run in runs]
    data["twins"] = {
        chr(int(code, 16)): twin for twin, codes in data["twins"].items() for code in codes.split()
    }
    return data


def _script(sign: str) -> str | None:
    """Return the script of a letter, mark or digit; None when it belongs to many."""
    if unicodedata.category(sign)[0] not in "LMN" or (sign.isascii() and not sign.isalpha()):
        return None
    # A newer version of Unicode than that of this Python adds ideographs for the most part.
    word = unicodedata.name(sign, "CJK").partition(" ")[0]
    script: str = _data()["scripts"].get(word, word)
    return script or None


def _as_latin(label: str) -> str | None:
    """Return the ASCII name that a label looks like; None when a sign in it looks like none."""
    decomposed = unicodedata.normalize("NFD", label)
    accents_count = any("a" <= sign <= "z" for sign in decomposed)  # Latin ones tell names apart
    latin = ""
    for sign in decomposed:
        accent = unicodedata.category(sign) == "Mn" and _script(sign) is None
        if accent and (not accents_count or (sign == _DOT and latin.endswith(("i", "j")))):
            continue
        twin = sign if sign.isascii() else _data()["twins"].get(sign)
        if twin is None:
            return None
        latin += twin
    return latin if any(map(str.isalnum, latin)) else None


def _is_at_home(script: str, top: str) -> bool:
    if top.isascii():
        return top in _data()["homes"].get(script, "").split()
    return script in map(_script, top)
