"""A domain as it is listed, taken apart: its host, and what it covers; and the approved list.

Pure functions over text. What is wrong with an entry, and how wrong, is said in ``audit.findings``.
"""

import re
from collections.abc import Iterable
from typing import Literal, Self

from attrs import evolve, frozen

from chatloom_async.audit.addresses import (
    Address,
    address_of,
    ends_in_number,
    is_address_space,
    is_all_addresses,
)
from chatloom_async.audit.hosts import Reading, is_idna, read_host, trimmed
from chatloom_async.audit.suffixes import is_public_suffix, is_suffix_or_above, parents
from chatloom_async.errors import ConfigurationError

Coverage = Literal["one host", "hosts below", "anybody's hosts", "addresses", "everything"]
"""What an entry stands for, the most last. ``anybody's hosts`` are those that anybody can have."""

# Possessive, so that it is fast on what does not match either.
_PLAIN = re.compile(r"(?:[a-z0-9]++(?:-++[a-z0-9]++)*+\.)++[a-z]{2,}")
_LONGEST_LABEL = 63  # RFC 1035 §2.3.4; a plain host is no longer than one label may be
# Browsers open names with "_" and with hyphens anywhere, which RFC 1123 §2.1 does not know.
_HOST = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}")
_OUTER_HYPHEN = re.compile(r"(?:^|\.)-|-(?:\.|$)")
LONGEST = 253  # RFC 1035 §2.3.4, without the final dot
_LONGEST_WORTH_PARSING = 2048
_SHOWN = 80  # characters of a line of the approved list in a message
_HIDDEN = "holds characters that are not what they look like"
_NO_HOST = "is no host name: labels of letters, digits and inner hyphens, joined by dots"
_NO_PAGE = "has a scheme or port that no web page has"
_NOT_IDNA = "is no name that IDNA 2008 allows"
_FIRST_WILDCARD = re.compile(r"^[*.]*\.(?=[^*.])")  # "*.", and what is meant for it, such as "."
# RFC 6761 §6, RFC 6762 §3, RFC 7686, RFC 8375, RFC 9476; "internal" is set aside by ICANN's
# resolution of 2024-07-29. Names for documentation, such as below "example", are what examples are
# made of.
_LOCAL = (".localhost", ".local", ".internal", ".home.arpa", ".test", ".invalid", ".onion", ".alt")


@frozen
class Entry:
    """One listed domain.

    ``host`` is as browsers ask for it: lower case, IDNA-encoded; without a leading ``*.`` and a
    final dot; "" when there is none. It is ``hidden`` when it is not what a person reads in it: it
    stands behind credentials, or signs in it are read as others.
    """

    text: str  # as listed
    host: str
    wildcard: bool = False  # a "*", or a dot in its place, stands for a part of the host
    url: bool = False  # it has a scheme, port, path or credentials around the host
    address: Address | None = None  # the host, when it is one
    problem: str | None = None  # why it is no host name
    hidden: bool = False
    covers: Coverage = "one host"
    plain: bool = False  # browsers leave it as it is

    @property
    def identity(self) -> str:
        """What entries that mean the same have in common."""
        below = "*." if self.wildcard else ""
        return f"{below}{self.host}" if self.host else self.text.strip().casefold()

    @property
    def fixed(self) -> str:
        """The end of the host that no wildcard stands for, in whole labels."""
        return _fixed(self.host)


@frozen
class ApprovedDomains:
    """The domains that may be listed.

    ``*.example.com`` approves every name below example.com, and not example.com itself.
    """

    names: frozenset[str]
    parents: frozenset[str]

    @classmethod
    def of(cls, lines: Iterable[str]) -> Self:
        """Read one pattern per line; blank lines and what follows a ``#`` do not count.

        ConfigurationError: a line is neither a domain nor ``*.`` and a domain.
        """
        names: set[str] = set()
        above: set[str] = set()
        for number, line in enumerate(lines, start=1):
            text = line.partition("#")[0].strip()
            if not text:
                continue
            entry = parse_entry(text)
            if not entry.host or entry.url or entry.problem:
                raise ConfigurationError(
                    f"approved list, line {number}: {text[:_SHOWN]!r} is no domain; "
                    "write example.com or *.example.com"
                )
            (above if entry.wildcard else names).add(entry.host)
        return cls(frozenset(names), frozenset(above))

    def allows(self, entry: Entry) -> bool:
        """Tell whether everything an entry stands for is approved.

        What hides its host is never: credentials before it, or signs that browsers read as others.
        """
        if entry.hidden or not entry.host:
            return False
        same = self.parents if entry.wildcard else self.names
        return entry.fixed in same or not self.parents.isdisjoint(parents(entry.fixed))


def parse_entry(text: str) -> Entry:
    """Take a listed domain apart."""
    if is_plain(text):
        return Entry(text, text, plain=True)
    bare = trimmed(text)
    entry = _parsed(bare)
    if bare == text:
        return entry
    return evolve(entry, text=text, problem=entry.problem or "has white space in or around it")


def name_of(text: str) -> str:
    """Return what the spellings of a domain have in common; an odd entry is only itself."""
    entry = parse_entry(text)
    return text if entry.url or entry.problem else entry.identity


def is_plain(text: str) -> bool:
    """Tell a host that browsers leave as it is, as almost all are; it is read without a parser."""
    return len(text) <= _LONGEST_LABEL and _PLAIN.fullmatch(text) is not None and "xn--" not in text


def is_local(host: str) -> bool:
    """Tell a name that means something else, or nothing, outside one machine or network."""
    if "." not in host:
        return bool(host) and not is_public_suffix(host)
    return f".{host}".endswith(_LOCAL)


def _parsed(bare: str) -> Entry:
    # "<all_urls>" is in the match patterns of browser extensions.
    if bare == "<all_urls>" or is_all_addresses(bare):
        return Entry(bare, "", covers="everything")
    if len(bare) > _LONGEST_WORTH_PARSING:
        return Entry(bare, "", problem=f"is longer than {LONGEST} characters")
    if is_address_space(bare.lower()):
        return Entry(bare, "", covers="addresses")
    reading = Reading(bare, bare) if address_of(bare) else read_host(bare)
    if reading is None:
        return Entry(bare, "", url=True, problem=_NO_PAGE)
    address = address_of(reading.host or reading.written)
    return _named(bare, reading) if address is None else _numbered(bare, reading, address)


def _numbered(bare: str, reading: Reading, address: Address) -> Entry:
    hidden = address_of(reading.written) is None
    problem = "is an IP address in a form that hides it" if hidden else None
    if address.version == 6 and address.scope_id is not None:  # noqa: PLR2004 - IPv6
        problem = "has a zone, which browsers refuse"
    elif not reading.host:
        problem = _NO_PAGE
    return Entry(
        bare,
        str(address) if reading.host else "",
        url=reading.url,
        address=address,
        problem=problem,
        hidden=hidden or reading.credentials,
    )


def _named(bare: str, reading: Reading) -> Entry:
    name = reading.host.removesuffix(".") or reading.written.lower()
    host = _FIRST_WILDCARD.sub("", name)
    wildcard = "*" in name or host != name
    covers: Coverage = "one host"
    if reading.scheme_only or ("*" in name and not name.strip("*.")):
        host, covers = "", "everything"
    elif is_address_space(name):
        host, covers = "", "addresses"
    elif wildcard:
        fixed = _fixed(host)
        anybodys = not fixed or is_suffix_or_above(fixed)
        covers = "anybody's hosts" if anybodys else "hosts below"
    problem = _problem_of(name, host, reading)
    return Entry(
        bare,
        "" if not reading.host or problem in (_NO_HOST, _NOT_IDNA) else host,
        wildcard,
        reading.url,
        None,
        problem,
        problem == _HIDDEN or reading.credentials,
        covers,
    )


def _fixed(host: str) -> str:
    _, wildcard, after = host.rpartition("*")
    return after.partition(".")[2] if wildcard else host


def _problem_of(name: str, host: str, reading: Reading) -> str | None:
    if not reading.host:
        return _refusal(reading)
    if host and (not _HOST.fullmatch(host.replace("*", "x")) or len(name) > LONGEST):
        return _NO_HOST
    if reading.hidden:
        return _HIDDEN
    if not host:
        return None  # it has a coverage of its own
    if "xn--" in host and not is_idna(host):
        return _NOT_IDNA
    if _OUTER_HYPHEN.search(host):
        return "has a label that begins or ends with a hyphen"
    if "*" in host or name not in (host, f"*.{host}"):
        return "has a wildcard that is not the whole first label"
    return "ends with a dot" if reading.host.endswith(".") else None


def _refusal(reading: Reading) -> str:
    """Return why browsers refuse a host."""
    written = reading.written.lower()
    without_port = read_host(written)
    if without_port and without_port.host:
        return _NO_PAGE
    if not written:
        return "has no host name in it"
    if ends_in_number(written):
        return "ends in a number: browsers take it for an IPv4 address, or refuse it"
    if not written.isascii() or "xn--" in written:
        return _NOT_IDNA
    return _NO_HOST
