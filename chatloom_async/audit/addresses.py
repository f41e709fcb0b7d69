"""IP addresses in an entry: one of them, or a whole space of them.

Pure functions over lower-case text that is already free of a URL around it.
"""

import ipaddress
import re

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# RFC 5737, RFC 3849, RFC 9637.
_DOCUMENTATION = tuple(
    map(
        ipaddress.ip_network,
        ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"),
    )
)
# WHATWG URL, "ends in a number": browsers read the whole name as an IPv4 address, or refuse it.
_ENDS_IN_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?", re.DOTALL)
# A zone may hold anything (RFC 4007 §11), for ipaddress also the rest of a URL.
_ADDRESS = re.compile(r"[0-9.]+|(?P<open>\[)?[0-9a-fA-F.]*:[0-9a-fA-F:.]*(?:%[^\]]*)?(?(open)\])")
_SPACE = re.compile(
    r"""
    [0-9.]+ / (?:[0-9]|[12][0-9]|3[01]|[0-9]+(?:\.[0-9]+){3})   # 10.0.0.0/8, 10/255.0.0.0
    | [0-9]+(?:\.[0-9]+){3} - [0-9.]+                           # 10.0.0.1-9
    | (?=.*\*)(?:(?:[0-9*]+|0x[0-9a-f*]*)(?:\.|$))+             # 10.*, *.1
    | (?=.*:.*:)(?:
        \[?[0-9a-f:.]+\]? / (?:[0-9]{1,2}|1[01][0-9]|12[0-7])   # fd00::/8
        | \[?[0-9a-f:.]+\]? - \[?[0-9a-f:.]+\]?
        | (?=.*\*)\[?[0-9a-f:.*]+\]?
    )
    """,
    re.VERBOSE,
)
_ALL = re.compile(r".+/[0.]+")  # among the networks


def address_of(text: str) -> Address | None:
    """Return the address that a text is, in its plain form, in brackets or with a zone."""
    if not _ADDRESS.fullmatch(text):
        return None  # as almost always, and faster than by an exception
    try:
        return ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def ends_in_number(host: str) -> bool:
    """Tell a name that browsers read as an IPv4 address, or refuse."""
    return _ENDS_IN_NUMBER.fullmatch(host) is not None


def is_address_space(text: str) -> bool:
    """Tell a way to write many addresses: a network, a range, wildcards among numbers."""
    return _SPACE.fullmatch(text) is not None and bool(text.strip("*."))


def is_all_addresses(text: str) -> bool:
    """Tell the network that every address is in."""
    return _ALL.fullmatch(text) is not None and is_address_space(text)


def is_documentation(address: Address) -> bool:
    """Tell an address that stands in documents and that no machine has."""
    return any(address in network for network in _DOCUMENTATION)
