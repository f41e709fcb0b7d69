"""A domain as it is listed, taken apart: the host in it, and what it is beyond a host.

Pure functions over text. What is wrong with an entry, and how wrong, is said in ``findings``.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from attrs import frozen

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList
from collections.abc import Iterable, Iterator
from typing import Self

from chatloom_async.errors import ConfigurationError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}")
_PLAIN = re.compile(rf"(?:{_LABEL}\.)+[a-z]{{2,63}}")
_LONGEST = 253  # RFC 1035 §2.3.4, without the final dot
_LONGEST_WORTH_PARSING = 2048
_NOT_IDNA = "is no name that IDNA 2008 allows"
_URL_SIGNS = re.compile(r"[/?#@\\]|:\d*$")
# WHATWG URL, "ends in a number": browsers read the whole name as an IPv4 address, or refuse it.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
# RFC 6761 §6, RFC 6762 §3, RFC 7686, RFC 8375; "internal" is set aside by ICANN's resolution of
# 2024-07-29. Names for documentation, such as below "example", are what examples are made of.
_LOCAL = (".localhost", ".local", ".internal", ".home.arpa", ".test", ".invalid", ".onion")
# RFC 5737, RFC 3849, RFC 9637.
_DOCUMENTATION = tuple(
    map(
        ipaddress.ip_network,
        ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"),
    )
)


@frozen
class Entry:
    """One listed domain.

    Attributes:
        text: as listed.
        host: lower case, IDNA-encoded (RFC 5890), without a leading ``*.``; "" when there is none.
        wildcard: it has a ``*``.
        url: it has a scheme, port, path or credentials around the host.
        address: the host, when it is an IP address.
        problem: why it is no host name, or None.

    """

    text: str
    host: str
    wildcard: bool = False
    url: bool = False
    address: Address | None = None
    problem: str | None = None

    @property
    def identity(self) -> str:
        """What entries that mean the same have in common."""
        return f"{'*.' if self.wildcard else ''}{self.host or self.text.strip().casefold()}"


def parse_entry(text: str) -> Entry:
    """Take a listed domain apart."""
    if _PLAIN.fullmatch(text) and "xn--" not in text and len(text) <= _LONGEST:
        return Entry(text, text)  # as almost all
    if len(text) > _LONGEST_WORTH_PARSING:
        return Entry(text, "", problem=f"is longer than {_LONGEST} characters")
    bare = text.strip()
    problem = "has white space around it" if bare != text else None
    address = _address(bare)
    if address is not None:
        return Entry(text, str(address), address=address, problem=problem)
    host, url = _host_in(bare)
    address = _address(host)
    if address is not None:
        return Entry(text, str(address), url=url, address=address, problem=problem)
    wildcard = "*" in host
    host = host.removeprefix("*.") if host != "*" else ""
    if host or not wildcard:
        host, its_problem = _encoded(host)
        problem = its_problem or problem
    return Entry(text, host, wildcard, url, None, problem)


def is_local(host: str) -> bool:
    """Tell a name that means something else, or nothing, outside one machine or network."""
    if "." not in host:
        return bool(host) and not is_public_suffix(host)
    return f".{host}".endswith(_LOCAL)


def is_private(address: Address) -> bool:
    """Tell an address that is not reachable, or not the same host, from everywhere."""
    return not address.is_global or address.is_multicast


def is_documentation(address: Address) -> bool:
    """Tell an address that stands in documents and that no machine has."""
    return any(address in network for network in _DOCUMENTATION)


def is_public_suffix(host: str) -> bool:
    """Tell a name below which anybody may register (publicsuffix.org, the list as installed)."""
    return _suffixes().is_public(host)


@cache
def _suffixes() -> PublicSuffixList:
    # Imported on first use: reading the list takes 0.1 s and 4 MB.
    from publicsuffixlist import PublicSuffixList  # noqa: PLC0415

    return PublicSuffixList(accept_unknown=False)


def look_alike(host: str) -> str | None:
    """Return why a name may be taken for another one, or None (UTS #39 §5, RFC 5890)."""
    labels = host.split(".")
    for label in labels:
        if label.startswith("xn--"):
            shown = _decoded(label)
            scripts = {_script(letter) for letter in shown if letter.isalpha()} - _COMMON
            if len(scripts) > 1 and not any(scripts <= together for together in _TOGETHER):
                names = " and ".join(sorted(script.title() for script in scripts))
                return f"{shown!r} ({label}) mixes {names} letters"
            # Below a top-level domain of their own script such names are what they seem.
            if shown and set(shown) <= _LATIN_TWINS.keys() and not labels[-1].startswith("xn--"):
                latin = "".join(_LATIN_TWINS[letter] for letter in shown)
                return f"{shown!r} ({label}) looks like {latin!r}"
    return None


# UTS #39 §5.2, "highly restrictive": the scripts that are written together.
_TOGETHER = (
    {"LATIN", "CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "IDEOGRAPHIC"},
    {"LATIN", "CJK", "BOPOMOFO"},
    {"LATIN", "CJK", "HANGUL"},
)
_COMMON = {"MODIFIER"}  # modifier letters belong to many scripts (Scripts.txt: Common)
# From the data of UTS #39 (confusables.txt): letters that look the same in most fonts; and digits.
_LATIN_TWINS = dict(
    zip(
        "\u0430\u0441\u0501\u0435\u04bb\u0456\u0458\u04cf\u043e\u0440\u051b\u0455\u051d\u0445\u0443\u0475"
        "\u03b1\u03b9\u03bd\u03bf\u03c1\u03c5-0123456789",
        "acdehijlopqswxyvaivopu-0123456789",
        strict=True,
    )
)


def _script(letter: str) -> str:
    """Return a letter's script: the first word of its name in the Unicode character database."""
    return unicodedata.name(letter, "UNKNOWN").partition(" ")[0]


def _address(text: str) -> Address | None:
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        # A zone may hold anything (RFC 4007 §11), for ipaddress also the rest of a URL.
        return None if "]" in inner else ipaddress.ip_address(inner)
    except ValueError:
        return None


def _host_in(text: str) -> tuple[str, bool]:
    """Return the host of something that may be a URL, and whether it is more than a host."""
    if not _URL_SIGNS.search(text):
        return text, False
    try:
        parts = urlsplit(text if "://" in text or text.startswith("//") else f"//{text}")
        host = parts.hostname or ""
    except ValueError:
        host = ""
    return host, True


def _encoded(host: str) -> tuple[str, str | None]:
    """Return a host name in lower case and IDNA-encoded, and what is wrong with it."""
    name = host.removesuffix(".")
    if not name:
        return "", "has no host name in it"
    name, problem = (name.lower(), None) if name.isascii() else _to_ascii(name)
    if problem is not None:
        return "", problem
    if not _HOST.fullmatch(name) or len(name) > _LONGEST:
        return "", "is no host name: labels of letters, digits and inner hyphens, joined by dots"
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        return "", "ends in a number: browsers take it for an IPv4 address, or refuse it"
    return name, "ends with a dot" if host.endswith(".") else _wrong_punycode(name)


def _to_ascii(name: str) -> tuple[str, str | None]:
    """Return a name IDNA-encoded, and what is wrong with it.

    Browsers map some letters to others first (UTS #46, table of mappings), and drop invisible ones:
    such a name is not the one that is read. Mapping to lower case and composing change no name.
    """
    from idna import encode, uts46_remap  # noqa: PLC0415 - only for the few that need it

    plain = unicodedata.normalize("NFC", "".join(map(_lower, name)))
    try:
        if uts46_remap(name, std3_rules=False) != plain:
            return "", "holds characters that are not what they look like"
        return encode(plain).decode(), None
    except UnicodeError:
        return "", _NOT_IDNA


def _lower(letter: str) -> str:
    """Return a letter in lower case, unless that makes a plain one of a special one (U+212A: k)."""
    lower = letter.lower()
    return letter if lower.isascii() and not letter.isascii() else lower


def _wrong_punycode(name: str) -> str | None:
    for label in name.split("."):
        if label.startswith("xn--") and not _decoded(label):
            return _NOT_IDNA if _is_punycode(label) else "holds invalid punycode"
    return None


def _is_punycode(label: str) -> bool:
    try:
        return bool(label.removeprefix("xn--").encode().decode("punycode"))
    except UnicodeError:
        return False


def _decoded(label: str) -> str:
    from idna import decode  # noqa: PLC0415 - only for the few that need it

    try:
        return decode(label)
    except UnicodeError:
        return ""


_SHOWN = 80  # characters of a line in a message


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

        Raises:
            ConfigurationError: a line is neither a domain nor ``*.`` and a domain.

        """
        names: set[str] = set()
        parents: set[str] = set()
        for number, line in enumerate(
            lines.splitlines() if isinstance(lines, str) else lines, start=1
        ):
            text = line.partition("#")[0].strip()
            if not text:
                continue
            entry = parse_entry(text)
            if not entry.host or entry.url or entry.problem:
                raise ConfigurationError(
                    f"approved list, line {number}: {text[:_SHOWN]!r} is no domain; "
                    "write example.com or *.example.com"
                )
            (parents if entry.wildcard else names).add(entry.host)
        return cls(frozenset(names), frozenset(parents))

    def allows(self, entry: Entry) -> bool:
        """Tell whether everything an entry stands for is approved."""
        if not entry.host:
            return False
        if (entry.host in self.parents) if entry.wildcard else (entry.host in self.names):
            return True
        return any(parent in self.parents for parent in _parents(entry.host))


def _parents(host: str) -> Iterator[str]:
    while "." in host:
        host = host.partition(".")[2]
        yield host
