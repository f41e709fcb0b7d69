"""What the API returns, as frozen values, and how values become plain JSON values.

Not here: how an answer becomes one of them (``calls.structure``).
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache
from math import isfinite
from operator import attrgetter
from types import NoneType
from typing import Any, Self, TypeVar, overload

from attrs import NOTHING, AttrsInstance, field, fields, fields_dict, frozen, resolve_types

Model = TypeVar("Model", bound=AttrsInstance)

_PLAIN = frozenset({str, int, bool, NoneType})


def to_plain(value: Any) -> Any:
    """Return a value as ``json.dumps`` takes it, with nothing in it that the original can change.

    An attrs instance becomes a dictionary by its attributes' names, a datetime its ISO 8601 text.
    TypeError: there is something in it that has no form in JSON.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is float:
        return value if isfinite(value) else None  # JSON writes no 1e400, and Python reads it
    if kind is tuple or kind is list:
        return [inner if type(inner) in _PLAIN else to_plain(inner) for inner in value]
    if kind is dict:
        return {name: to_plain(inner) for name, inner in value.items()}
    if isinstance(value, datetime):
        return value.isoformat()
    if hasattr(kind, "__attrs_attrs__"):
        return as_dict(value)
    if isinstance(value, Mapping):
        return to_plain(dict(value))
    raise TypeError(f"{kind.__name__} has no form in JSON")


def as_dict(value: AttrsInstance) -> dict[str, Any]:
    """Return plain JSON values by the attributes' names: for ``json.dumps`` or a web framework.

    Every ``to_dict`` is this.
    """
    found: dict[str, Any] = {}
    for name in _names(type(value)):
        inner = getattr(value, name)
        found[name] = inner if type(inner) in _PLAIN else to_plain(inner)
    return found


def shown(self: AttrsInstance) -> str:
    """Show an attrs instance as attrs does, which takes a while to write that for each class."""
    values = (
        f"{each.name}={getattr(self, each.name)!r}" for each in fields(type(self)) if each.repr
    )
    return f"{type(self).__name__}({', '.join(values)})"


@cache
def _names(kind: type[AttrsInstance]) -> tuple[str, ...]:
    return tuple(each.name for each in fields(kind))


def served(model: type[Model]) -> type[Model]:
    """Let a web framework take the values of a class with ``to_dict`` as they are, and show them.

    FastAPI asks pydantic about the type of an endpoint, and makes a ``dict`` of a value without it.
    Pydantic reads what ``to_dict`` made, too.
    """

    def keys(self: Any) -> tuple[str, ...]:
        plain = self.to_dict.__func__ is as_dict
        return _names(self.__class__) if plain else tuple(self.to_dict())

    def core_schema(cls: type[Model], _source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema as core  # noqa: PLC0415 - pydantic asks: it is there

        known = core.typed_dict_schema(
            {
                each.name: core.typed_dict_field(
                    handler.generate_schema(each.type), required=each.default is NOTHING
                )
                for each in fields(resolve_types(cls))
            }
        )
        plain = core.plain_serializer_function_ser_schema(lambda value: value.to_dict())
        read = core.no_info_after_validator_function(lambda found: cls(**found), known)
        return core.union_schema([core.is_instance_schema(cls), read], serialization=plain)

    def json_schema(cls: type[Model], _schema: Any, _handler: Any) -> dict[str, Any]:
        return {"type": "object", "title": cls.__name__}

    indexed = getattr(model, "__getitem__", None)

    def get_item(self: Any, name: Any) -> Any:
        if isinstance(name, str) or indexed is None:
            return getattr(self, name)
        return indexed(self, name)

    for name, method in (
        ("__repr__", shown),
        ("keys", keys),
        ("__getitem__", get_item),
        ("__iter__", getattr(model, "__iter__", None)),  # else Python tries 0, 1, 2 as names
        ("__get_pydantic_core_schema__", classmethod(core_schema)),
        ("__get_pydantic_json_schema__", classmethod(json_schema)),
    ):
        setattr(model, name, method)
    return model


@served
@frozen(repr=False)
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
        extra: fields this release does not know, as sent; who shares a cache shares them.
    """

    id: str
    name: str
    primary_color: str
    secondary_color: str
    position: str
    template: str
    status: str
    created_at: datetime
    extra: Mapping[str, Any] = field(factory=dict, hash=False, kw_only=True)

    to_dict = as_dict


_sent_values = attrgetter(*(name for name in fields_dict(Agent) if name != "extra"))


@served
@frozen(repr=False)
class AuditedAgent(Agent):
    """An agent and the domains that it may load on.

    Attributes:
        allowed_domains: oldest first; None: they could not be read, and a gap says why.
    """

    allowed_domains: tuple[str, ...] | None

    @classmethod
    def of(cls, agent: Agent, allowed_domains: tuple[str, ...] | None) -> Self:
        """Return an agent with its domains."""
        return cls(*_sent_values(agent), allowed_domains, extra=agent.extra)  # type: ignore[misc,arg-type]  # mypy takes the star for any number


@served
@frozen(repr=False)
class Gap:
    """Something that could not be read.

    ``agent`` is an id, None for the workspace: then its agents, or those without domains, are
    missing. ``error`` is the class of the error, ``status`` the HTTP status it had, if any.
    """

    agent: str | None
    error: str
    status: int | None
    message: str

    to_dict = as_dict


@served
@frozen(repr=False)
class AgentList:
    """The agents of a workspace, newest first; iterated, measured, searched and indexed as a tuple.

    It is no ``collections.abc.Sequence``: the API's ``count`` is a number, a sequence's a method.
    ``agents`` is one, for whoever asks for it.

    Attributes:
        agents: the agents as a tuple.
        count: the number the API sent, documented to equal ``len(agents)``; not enforced.
        extra: fields this release does not know, as sent.
        answered_at: when the API answered, as an aware datetime; None without a ``Cache``.
        is_stale: whether it is older than the cache's ``ttl``, because the API fails.
    """

    agents: tuple[Agent, ...]
    count: int
    extra: Mapping[str, Any] = field(factory=dict, hash=False)
    answered_at: datetime | None = field(default=None, eq=False, repr=False)
    is_stale: bool = field(default=False, eq=False, repr=False)

    def __iter__(self) -> Iterator[Agent]:
        return iter(self.agents)

    def __len__(self) -> int:
        return len(self.agents)

    def __contains__(self, agent: object) -> bool:
        return agent in self.agents

    @overload
    def __getitem__(self, index: int) -> Agent: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Agent, ...]: ...
    def __getitem__(self, index: int | slice) -> Agent | tuple[Agent, ...]:
        return self.agents[index]

    to_dict = as_dict


@served
@frozen(repr=False)
class AllowedDomains:
    """The domains an agent's widget may load on, oldest first; used as a tuple like ``AgentList``.

    ``domains`` is the ``collections.abc.Sequence``, for whoever asks for one.

    Attributes:
        domains: the domains as a tuple. What an empty list means is not documented.
        extra, answered_at, is_stale: as of ``AgentList``.
    """

    domains: tuple[str, ...]
    extra: Mapping[str, Any] = field(factory=dict, hash=False)
    answered_at: datetime | None = field(default=None, eq=False, repr=False)
    is_stale: bool = field(default=False, eq=False, repr=False)

    def __iter__(self) -> Iterator[str]:
        return iter(self.domains)

    def __len__(self) -> int:
        return len(self.domains)

    def __contains__(self, domain: object) -> bool:
        return domain in self.domains

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        return self.domains[index]

    to_dict = as_dict


@served
@frozen(repr=False)
class WorkspaceSnapshot:
    """A workspace at one moment: its agents with their domains, and what could not be read.

    Attributes:
        agents: newest first, also those whose domains could not be read.
        gaps: what is missing from ``agents``.
        count: the number of agents that the API sent.
        answered_at: when the oldest of its answers came; None without a ``Cache``.
        is_stale: whether one of them is stale, because the API fails.
    """

    agents: tuple[AuditedAgent, ...]
    gaps: tuple[Gap, ...]
    count: int
    answered_at: datetime | None = field(default=None, eq=False)
    is_stale: bool = field(default=False, eq=False)

    to_dict = as_dict
