"""IP addresses in an entry: one of them, or a whole space of them.

Pure functions over lower-case text that is already free of a URL around it.
"""

from __future__ import annotations

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
_SIX = r"\[?(?=.*:.*:)[0-9a-f:.*]+\]?"
# What may be written for several addresses; a single wildcard is no number, see below.
_SPACE = re.compile(
    r"(?:(?:[0-9*]+|0x[0-9a-f*]*)(?:\.|$))+"  # 10.*, *.1, 192.168.*.*, 0x7f.*
    r"|[0-9]+(?:\.[0-9]+){3}-[0-9.]+"  # 10.0.0.1-9, 10.0.0.1-10.0.0.9
    rf"|{_SIX}-{_SIX}"  # fd00::1-fd00::9
    rf"|{_SIX}"  # fd00:*:*
)
# 10.0.0.0/8, 10/8, 10.0.0.0/255.0.0.0; fd00::/8.
_NETWORK = re.compile(
    rf"[0-9.]+/(?P<four>[0-9]|[12][0-9]|3[01]|[0-9]+(?:\.[0-9]+){{3}})"
    rf"|{_SIX}/(?P<six>[0-9]{{1,2}}|1[01][0-9]|12[0-7])"
)


def address_of(text: str) -> Address | None:
    """Return the address that a text is, in its plain form, in brackets or with a zone."""
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        # A zone may hold anything (RFC 4007 §11), for ipaddress also the rest of a URL.
        return None if "]" in inner else ipaddress.ip_address(inner)
    except ValueError:
        return None


def ends_in_number(host: str) -> bool:
    """Tell a name that browsers read as an IPv4 address, or refuse."""
    return _ENDS_IN_NUMBER.fullmatch(host) is not None


def is_address_space(text: str) -> bool:
    """Tell a way to write many addresses: a network, a range, a wildcard among numbers."""
    if _NETWORK.fullmatch(text):
        return True
    several = "-" in text or ("*" in text and text.strip("*.") != "")
    return several and _SPACE.fullmatch(text) is not None


def is_all_addresses(text: str) -> bool:
    """Tell the network that every address is in."""
    network = _NETWORK.fullmatch(text)
    return network is not None and (network["four"] or network["six"]).strip("0.") == ""


def is_private(address: Address) -> bool:
    """Tell an address that is not reachable, or not the same host, from everywhere."""
    return not address.is_global or address.is_multicast


def is_documentation(address: Address) -> bool:
    """Tell an address that stands in documents and that no machine has."""
    return any(address in network for network in _DOCUMENTATION)
