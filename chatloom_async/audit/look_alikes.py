"""Names that can be taken for others, by Unicode Technical Standard #39.

A label is told when it holds a sign that the standard keeps out of identifiers (§3.1), when it
mixes scripts that are not written together (§5.2), and when every letter in it looks like a Latin
one (§4). The last is in order below a top-level domain where people write that script.

The data is Unicode's, IdentifierStatus.txt of version 15.0 and confusables.txt of 17.0, reduced to
what is left in a host after UTS #46. Pure functions over hosts as people read them.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from functools import cache

# Identifier_Status=Allowed: runs of letters, marks and digits beyond ASCII, first and last.
_ALLOWED = """
b7-17e 1a1 1b0 1ce-1dc 1df-1e3 1e7-21b 21f 227-233 259 2bb-2bc 2ec 300-304 306-30c 30f-311
313-314 31b 323-328 32d-32e 330-331 335 338-339 342 375 37b-3ce 3fc-45f 48b-4ff 511-529 52f-559
561-586 58a 5b4 5d0-5f4 620-63f 641-655 660-669 670-672 674-68d 68f-6a0 6a2-6d5 6e5-6e6 6ee-6ff
750-7b1 870-88e 8a0-8ac 8b2 8b5-8c9 901-94d 94f-950 956-977 979-97f 981-9f1 9fe-a4d a5c-a74
a81-aef afa-b43 b47-b4d b55-b61 b66-b71 b82-bef c01-c33 c35-c56 c5d-c61 c66-c6f c80 c82-cd6 cdd
ce0-d00 d02-d03 d05-d3a d3d-d43 d46-d57 d60-d61 d66-d6f d7a-d7f d82-d8e d91-da5 da7-dde df2
e01-f0b f20-f29 f35-f37 f3e-10f0 10f7-10ff 1200-135f 1380-138f 1780-17a2 17a5-17a7 17a9-17cd
17d0 17d2 17d7-17dc 17e0-17e9 1e01-1e99 1ea1-1ef9 1f00-2027 2d27-2d2d 2d80-2dde 3005-3007
3041-312d 312f-31bf 3400-9fff a67f a717-a71f a788 a793 a7c1-a7ca a7d1-a7d9 a9e7-a9fe aa60-aa7f
ab01-ab2e ab66-ab67 ac00-d7a3 fa0e-fa29 11301 11303 1133b-1133c 16ff0-16ff1 1b11f-1b122
1b132-1b167 1df00-1df1e 1df25-1df2a 1e08f 1e7e0-1e7fe 20000-2b739 2b740-2b81d 2b820-2cea1
2ceb0-2ebe0 30000-323af
"""
# The same for punctuation.
_ALLOWED_SIGNS = frozenset("\u00b7\u0375\u058a\u05f3\u05f4\u0f0b\u2010\u2019\u2027\u30a0\u30fb")
# What looks like one ASCII letter, digit or sign: the prototype, then code points. Ligatures are
# left out. The strokes of kana and ideographs pass for signs of a URL between Latin letters.
_TWINS = r"""
- 2010 30fc 4e00
/ 2571 30ce 31d3 4e3f
\ 31d4 4e36
3 969 ae9
6 431
8 9ea a6a b03
9 9ed a67 b68 d6d
a 3b1 430 237a
c 441 1004 105a
e 435 4bd 212e
f 584
g 581
h 4bb 570
i 131 3b9 456 582 2373
j 458
l 4cf 5d5 5df 627 661 6f1 23fd
n 578 57c
o 3bf 3c3 43e 585 5e1 647 665 6be 6c1 6d5 6f5 966 9e6 a66 ae6 b20 b66 be6 c02 c66 c82 ce6 d02
o d20 d66 d82 e50 ed0 101d 1040 10ff 12d0 17e0 3007
p fe 3c1 440 2374
q 51b 563 566
r 433
s 455 d1f
u 3c5 57d 1200
v 3bd 5d8 667 6f7
w 448 51d 561
x 445 2573
y 3b3 443 4af 10e7
"""
# Where a script is at home: the top-level domains of the countries that write it.
_HOMES = {
    "ARABIC": "ae af bh dj dz eg iq ir jo km kw lb ly ma mr om pk ps qa sa sd so sy td tn ye",
    "ARMENIAN": "am",
    "BENGALI": "bd in",
    "CJK": "cn hk jp mo sg tw",
    "CYRILLIC": "ba bg by kg kz me mk mn rs ru su tj ua uz",
    "DEVANAGARI": "in np",
    "ETHIOPIC": "er et",
    "GEORGIAN": "ge",
    "GREEK": "cy gr",
    "GUJARATI": "in",
    "GURMUKHI": "in",
    "HEBREW": "il",
    "KANNADA": "in",
    "KATAKANA": "jp",
    "KHMER": "kh",
    "LAO": "la",
    "LATIN": "az is kz tr",  # they write U+0131 or U+00FE
    "MALAYALAM": "in",
    "MYANMAR": "mm",
    "ORIYA": "in",
    "SINHALA": "lk",
    "TAMIL": "in lk my sg",
    "TELUGU": "in",
    "THAI": "th",
}
# §5.2, "highly restrictive": the scripts that are written together.
_TOGETHER = (
    {"LATIN", "CJK", "HIRAGANA", "KATAKANA"},
    {"LATIN", "CJK", "BOPOMOFO"},
    {"LATIN", "CJK", "HANGUL"},
)
# A script is the first word of a letter's name in the Unicode Character Database, but for these.
_COMMON = {"COMBINING", "MODIFIER"}
_SCRIPTS = {
    "ARABIC-INDIC": "ARABIC",
    "EXTENDED": "ARABIC",
    "GRANTHA": "TAMIL",
    "IDEOGRAPHIC": "CJK",
    "KATAKANA-HIRAGANA": "CJK",
    "VIETNAMESE": "CJK",
}
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
    scripts = {script for sign in label if (script := _script(sign))}
    if len(scripts) > 1 and not any(scripts <= together for together in _TOGETHER):
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
        return sign in _ALLOWED_SIGNS
    if kind[0] not in "LMN":
        return True  # emoji and other pictures are no letters
    firsts, lasts = _allowed()
    return ord(sign) <= lasts[bisect_right(firsts, ord(sign)) - 1]


@cache
def _allowed() -> tuple[list[int], list[int]]:
    runs = [run.partition("-") for run in _ALLOWED.split()]
    return [int(first, 16) for first, *_ in runs], [int(last or one, 16) for one, _, last in runs]


def _script(sign: str) -> str | None:
    """Return the script of a letter, mark or digit; None when it belongs to many."""
    if unicodedata.category(sign)[0] not in "LMN" or (sign.isascii() and not sign.isalpha()):
        return None
    # A newer version of Unicode than that of this Python adds ideographs for the most part.
    word = unicodedata.name(sign, "CJK").partition(" ")[0]
    return None if word in _COMMON else _SCRIPTS.get(word, word)


def _as_latin(label: str) -> str | None:
    """Return the ASCII name that a label looks like; None when a sign in it looks like none."""
    decomposed = unicodedata.normalize("NFD", label)
    accents_count = any("a" <= sign <= "z" for sign in decomposed)  # Latin ones tell names apart
    latin = ""
    for sign in decomposed:
        accent = unicodedata.category(sign) == "Mn" and _script(sign) is None
        if accent and (not accents_count or (sign == _DOT and latin.endswith(("i", "j")))):
            continue
        twin = sign if sign.isascii() else _twins().get(sign)
        if twin is None:
            return None
        latin += twin
    return latin if any(map(str.isalnum, latin)) else None


@cache
def _twins() -> dict[str, str]:
    rows = [line.split() for line in _TWINS.strip().splitlines()]
    return {chr(int(code, 16)): ascii_sign for ascii_sign, *codes in rows for code in codes}


def _is_at_home(script: str, top: str) -> bool:
    if top.isascii():
        return top in _HOMES.get(script, "").split()
    return script in map(_script, top)
