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
_FOUR_PATTERN = re.compile(r"(?:(?:[0-9*]+|0x[0-9a-f*]*)(?:\.|$))+")
_SIX_PATTERN = re.compile(r"\[?[0-9a-f:.*]+\]?")
_FOUR_RANGE = re.compile(r"[0-9]+(?:\.[0-9]+){3}-[0-9.]+")
_SIX_RANGE = re.compile(r"\[?[0-9a-f:.]+\]?-\[?[0-9a-f:.]+\]?")
_FOUR_NETWORK = re.compile(r"[0-9.]+/(?P<length>[0-9]|[12][0-9]|3[01]|[0-9]+(?:\.[0-9]+){3})")
_SIX_NETWORK = re.compile(r"\[?[0-9a-f:.]+\]?/(?P<length>[0-9]{1,2}|1[01][0-9]|12[0-7])")


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
    """Tell a way to write many addresses.

    A network (10.0.0.0/8, 10/8, 10.0.0.0/255.0.0.0), a range (10.0.0.1-9), or wildcards among
    numbers (10.*, *.1), and the like of IPv6.
    """
    six = _is_six(text)
    if "/" in text:
        return _network_length(text) is not None
    if "-" in text:
        return (_SIX_RANGE if six else _FOUR_RANGE).fullmatch(text) is not None
    if "*" not in text or not text.strip("*."):
        return False
    return (_SIX_PATTERN if six else _FOUR_PATTERN).fullmatch(text) is not None


def is_all_addresses(text: str) -> bool:
    """Tell the network that every address is in."""
    length = _network_length(text)
    return length is not None and not length.strip("0.")


def _network_length(text: str) -> str | None:
    """Return the length of a network's prefix, or its mask; None when it is none."""
    network = (_SIX_NETWORK if _is_six(text) else _FOUR_NETWORK).fullmatch(text)
    return network["length"] if network else None


def _is_six(text: str) -> bool:
    return text.count(":") > 1


def is_private(address: Address) -> bool:
    """Tell an address that is not reachable, or not the same host, from everywhere."""
    return not address.is_global or address.is_multicast


def is_documentation(address: Address) -> bool:
    """Tell an address that stands in documents and that no machine has."""
    return any(address in network for network in _DOCUMENTATION)
