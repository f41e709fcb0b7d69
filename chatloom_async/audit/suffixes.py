"""Public suffixes: the names below which anybody may register, and the top-level domains.

They come from the list of publicsuffix.org, ICANN and private sections, as installed with
``publicsuffixlist``. Not here: what an entry covers (``audit.domains``).
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path


def is_public_suffix(host: str) -> bool:
    """Tell a name below which anybody may register."""
    rules, _ = _list()
    # The list's linter has it that "*.name" makes a public suffix of "name" as well.
    if host in rules or f"*.{host}" in rules:
        return True
    return f"*.{host.partition('.')[2]}" in rules and f"!{host}" not in rules


def is_suffix_or_above(host: str) -> bool:
    """Tell a public suffix or a name above one, as amazonaws.com is above s3.amazonaws.com.

    Of names without a dot these are the top-level domains: the list has all that ICANN delegated.
    """
    return is_public_suffix(host) or host in _list()[1]


def parents(host: str) -> Iterator[str]:
    """Yield the names above a host, the nearest first."""
    while "." in host:
        host = host.partition(".")[2]
        yield host


@cache
def _list() -> tuple[frozenset[str], frozenset[str]]:
    """Return its rules, ``name``, ``*.name`` or ``!name``, IDNA-encoded, and the names above."""
    # Imported and read on first use, in some 20 ms. The package's own look-ups are made for
    # splitting names and tell nothing of what is above a suffix.
    from publicsuffixlist import PSLFILE  # noqa: PLC0415 - said above

    # publicsuffix.org, "Format": a rule is the line up to white space, and // begins a comment.
    lines = (
        line.partition(" ")[0] for line in Path(PSLFILE).read_text("utf-8").lower().splitlines()
    )
    told = (line for line in lines if line and not line.startswith("//"))
    rules = frozenset(rule if rule.isascii() else rule.encode("idna").decode() for rule in told)
    return rules, frozenset(parent for rule in rules for parent in parents(rule))
