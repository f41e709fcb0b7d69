"""What the API returns, as frozen values, and how values become plain JSON values.

Not here: how an answer becomes one of them (``calls.wire``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from types import NoneType
from typing import Any, overload

from attrs import field, fields, frozen, has

_PLAIN = frozenset({str, int, float, bool, NoneType})


def to_plain(value: Any) -> Any:
    """Return a value as ``json.dumps`` takes it, with nothing in it that the original can change.

    An attrs instance becomes a dictionary by its attributes' names, a tuple a list, a datetime its
    ISO 8601 text.

    Raises:
        TypeError: there is something in it that has no form in JSON.

    """
    if type(value) in _PLAIN:
        return value
    if isinstance(value, list | tuple):
        return [to_plain(inner) for inner in value]
    if not isinstance(value, Mapping):
        value = to_plain_once(value)
    if isinstance(value, str):
        return value
    return {name: to_plain(inner) for name, inner in value.items()}


def to_plain_once(value: Any) -> dict[str, Any] | str:
    """Do so to the outermost value alone: the ``default`` of ``json.dumps``."""
    if isinstance(value, datetime):
        return value.isoformat()
    if has(type(value)):
        return {each.name: getattr(value, each.name) for each in fields(type(value))}
    raise TypeError(f"{type(value).__name__} has no form in JSON")


@frozen
class Agent:
    """One agent of a workspace (API reference, GET /api/plugin/agents).

    Attributes:
        id: the identifier to pass to ``get_allowed_domains``.
        name: display name shown in the widget header.
        primary_color: hex colour of the launcher and primary accents.
        secondary_color: hex colour of gradients and secondary accents.
        position: documented: bottom-right, bottom-left, top-right, top-left; others are kept.
        template: widget template name.
        status: usually "active"; deleted agents are not listed.
        created_at: aware datetime; the API sends ISO 8601.
        extra: fields this release does not know, as sent.

    """

    id: str
    name: str
    primary_color: str
    secondary_color: str
    position: str
    template: str
    status: str
    created_at: datetime
    extra: Mapping[str, Any] = field(factory=dict, hash=False)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values by these names: for ``json.dumps`` or a web framework."""
        return to_plain(self)  # type: ignore[no-any-return]  # of an attrs instance a dictionary


@frozen
class AgentList:
    """The agents of a workspace, newest first; iterated, measured, searched and indexed as a tuple.

    It is no ``collections.abc.Sequence``: the API's ``count`` is a number, a sequence's a method.
    ``agents`` is one, for whoever asks for it.

    Attributes:
        agents: the agents as a tuple.
        count: the number the API sent, documented to equal ``len(agents)``; not enforced.
        extra: fields this release does not know, as sent.

    """

    agents: tuple[Agent, ...]
    count: int
    extra: Mapping[str, Any] = field(factory=dict, hash=False)

    def __iter__(self) -> Iterator[Agent]:
        """Iterate over the agents."""
        return iter(self.agents)

    def __len__(self) -> int:
        """Return how many agents were sent."""
        return len(self.agents)

    def __contains__(self, agent: object) -> bool:
        """Tell whether an equal agent was sent."""
        return agent in self.agents

    @overload
    def __getitem__(self, index: int) -> Agent: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Agent, ...]: ...
    def __getitem__(self, index: int | slice) -> Agent | tuple[Agent, ...]:
        """Return one agent, or a tuple of them for a slice."""
        return self.agents[index]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values by these names: for ``json.dumps`` or a web framework."""
        return to_plain(self)  # type: ignore[no-any-return]  # of an attrs instance a dictionary


@frozen
class AllowedDomains:
    """The domains an agent's widget may load on, oldest first; used as a tuple like ``AgentList``.

    ``domains`` is the ``collections.abc.Sequence``, for whoever asks for one.

    Attributes:
        domains: the domains as a tuple. What an empty list means is not documented.
        extra: fields this release does not know, as sent.

    """

    domains: tuple[str, ...]
    extra: Mapping[str, Any] = field(factory=dict, hash=False)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the domains."""
        return iter(self.domains)

    def __len__(self) -> int:
        """Return how many domains are listed."""
        return len(self.domains)

    def __contains__(self, domain: object) -> bool:
        """Tell whether exactly this domain is listed."""
        return domain in self.domains

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        """Return one domain, or a tuple of them for a slice."""
        return self.domains[index]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values by these names: for ``json.dumps`` or a web framework."""
        return to_plain(self)  # type: ignore[no-any-return]  # of an attrs instance a dictionary
