"""The approved list: the domains that may be listed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from attrs import frozen

from chatloom_async.audit.domains import Entry, parse_entry
from chatloom_async.audit.suffixes import parents
from chatloom_async.errors import ConfigurationError

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
        if entry.wildcard:
            return entry.fixed in self.parents or self._allows_below(entry.fixed)
        return self.allows_host(entry.host)

    def allows_host(self, host: str) -> bool:
        """Tell whether a host is approved."""
        return host in self.names or self._allows_below(host)

    def _allows_below(self, host: str) -> bool:
        return bool(self.parents) and any(parent in self.parents for parent in parents(host))
