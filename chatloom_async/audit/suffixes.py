"""Public suffixes: the names below which anybody may register, and the top-level domains.

They come from the list of publicsuffix.org, ICANN and private sections, as installed with
``publicsuffixlist``. Not here: what an entry covers (``audit.domains``).
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from attrs import frozen


def is_public_suffix(host: str) -> bool:
    """Tell a name below which anybody may register."""
    suffixes = _suffixes()
    # The list's linter has it that "*.name" makes a public suffix of "name" as well.
    if host in suffixes.roots:
        return True
    return host.partition(".")[2] in suffixes.wild and host not in suffixes.exceptions


def is_below_suffix(host: str) -> bool:
    """Tell a name below a public suffix, as every name is that somebody has on the Internet."""
    return host.rpartition(".")[2] in _suffixes().tops and not is_public_suffix(host)


def is_above_suffix(host: str) -> bool:
    """Tell a name above a public suffix, as amazonaws.com is above s3.amazonaws.com."""
    return host in _suffixes().above


def is_known_top(label: str) -> bool:
    """Tell a top-level domain of the Internet; the list names every one that ICANN delegated."""
    return label in _suffixes().tops


@frozen
class _Suffixes:
    """The rules of the list, IDNA-encoded; a rule is ``name``, ``*.name`` or ``!name``."""

    roots: frozenset[str]  # of the first two kinds
    wild: frozenset[str]
    exceptions: frozenset[str]
    above: frozenset[str]
    tops: frozenset[str]


@cache
def _suffixes() -> _Suffixes:
    # Imported and read on first use, in some 20 ms. The package's own look-ups are made for
    # splitting names and tell nothing of what is above a suffix.
    from publicsuffixlist import PSLFILE  # noqa: PLC0415 - said above

    # publicsuffix.org, "Format": a rule is the line up to white space, and // begins a comment.
    lines = (
        line.partition(" ")[0] for line in Path(PSLFILE).read_text("utf-8").lower().splitlines()
    )
    told = (line for line in lines if line and not line.startswith("//"))
    rules = {rule if rule.isascii() else rule.encode("idna").decode() for rule in told}
    wild = frozenset(rule[2:] for rule in rules if rule.startswith("*."))
    exceptions = frozenset(rule[1:] for rule in rules if rule.startswith("!"))
    roots = wild.union(rule for rule in rules if rule[0] not in "*!")
    return _Suffixes(
        roots,
        wild,
        exceptions,
        frozenset(parent for root in roots for parent in parents(root)),
        frozenset(root.rpartition(".")[2] for root in roots),
    )


def parents(host: str) -> Iterator[str]:
    """Yield the names above a host, the nearest first."""
    while "." in host:
        host = host.partition(".")[2]
        yield host
