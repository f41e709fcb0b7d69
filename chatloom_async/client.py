"""The client: one short method per endpoint, and the options they share.

A method for another endpoint builds its request (``build_request``: values of the path, ``query``,
``json``) and returns ``self._calls.fetch(request, model)``. The model of an answer is a frozen
attrs class in ``models``, named in ``wire.prepare`` too. One that a GET returns has the fields
``answered_at`` and ``is_stale``, which a cache sets; if it is about one agent, ``invalidate`` names
its resource too. ``NoneType`` stands for an answer whose body does not matter.

A paged GET is one request per page, each with the whole deadline and its own place in a cache. A
method that walks the pages makes a reader that has ``until``, as ``get_workspace`` does.

Not here: how a request is checked (``calls.request``), one call (``calls.call``), and how JSON
becomes a model (``calls.structure``).
"""

from __future__ import annotations

import copy
from enum import Enum
from typing import Any, Self, cast

from attrs import evolve, frozen

from chatloom_async.auth import ApiKey
from chatloom_async.cache import Cache
from chatloom_async.calls import retry as retrying
from chatloom_async.calls import wire
from chatloom_async.calls.cached import CachedCalls
from chatloom_async.calls.call import Caller, ClientState
from chatloom_async.calls.credentials import Credentials, KeySource
from chatloom_async.calls.request import Query, build_request, check_base_url, check_raw_path
from chatloom_async.calls.retry import RetryPolicy
from chatloom_async.calls.workspace import read_workspace
from chatloom_async.errors import ConfigurationError
from chatloom_async.models import AgentList, AllowedDomains, WorkspaceSnapshot, as_dict, served
from chatloom_async.network.pool import ConnectionPool
from chatloom_async.ratelimit.values import LimiterStatistics, RateLimit
from chatloom_async.transport import Transport


class _Unchanged(Enum):
    """Stands for an option that ``with_options`` was not given; the client keeps its own."""

    UNCHANGED = "unchanged"


_UNCHANGED = _Unchanged.UNCHANGED
_DOMAINS = "/api/plugin/agents/{agent_id}/allowed-domains"


@served
@frozen(repr=False)
class ClientStatistics:
    """What a client has done so far.

    Attributes:
        calls: calls made.
        requests: requests handed to the transport for them.
        retried: attempts after the first ones.
        in_flight: calls under way on its pool, of all clients there.
        limiter: the gate of its key in the latest event loop; None before the first call, and
            without a rate limit.
        refused: attempts that were refused: by a 429, or by what stands for one.
    """

    calls: int
    requests: int
    retried: int
    in_flight: int
    limiter: LimiterStatistics | None
    refused: int = 0

    to_dict = as_dict


class AsyncChatloom:
    """The Chatloom API (API reference, Endpoints), for one workspace.

    Use it as ``async with AsyncChatloom() as chatloom``, or call ``aclose`` yourself. It may be
    made anywhere and used from any number of tasks and event loops.

    Args:
        api_key: the key, an ``ApiKey`` that names its header, or a callable (asynchronous or not)
            that returns either and is asked again after a 401; None: ``CHATLOOM_API_KEY``.
        base_url: None: ``CHATLOOM_BASE_URL``, or https://chatloom.app.
        timeout: seconds for one attempt, from connecting (at most 5 s of it) to the last byte.
        retry: what is tried again, how often and for how long.
        rate_limit: pacing, shared by all clients with this key and an equal limit on this pool;
            None: none.
        cache: how long answers are kept, for all clients with this key and an equal cache on this
            pool; None: not.
        pool: shared connections; the caller closes them. None: a pool of its own.

    Raises:
        ConfigurationError: an option cannot work; nothing was sent.
    """

    __slots__ = ("__dict__", "__weakref__", "_caller", "_calls", "_owns_pool")

    def __init__(  # noqa: PLR0913 - a key and six options; no more
        self,
        api_key: str | ApiKey | KeySource | None = None,
        *,
        base_url: str | None = None,
        timeout: float = 15.0,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - immutable
        rate_limit: RateLimit | None = RateLimit(),  # noqa: B008 - immutable
        cache: Cache | None = None,
        pool: Transport | None = None,
    ) -> None:
        """Check the options; the first call opens the pool."""
        try:
            credentials, address = Credentials(api_key), check_base_url(base_url)
        finally:
            del api_key, base_url  # a traceback shows the locals of its frames
        self._owns_pool = pool is None
        transport = ConnectionPool() if pool is None else pool
        caller = Caller(transport, credentials, address, timeout, retry, rate_limit, cache)
        self._caller, self._calls = caller, _calls(caller)

    async def list_agents(self) -> AgentList:
        """Return every agent of the workspace, newest first.

        Raises:
            AuthenticationError: the key is invalid, expired or revoked.
            ResponseDecodeError: the answer is not what is documented.
            ChatloomError: any other failure, after the retries the policy allows.
        """
        request = build_request("GET", self._caller.base_url, "/api/plugin/agents")
        return await self._calls.fetch(request, AgentList)

    async def get_allowed_domains(self, agent_id: str) -> AllowedDomains:
        """Return the domains an agent's widget may load on, oldest first.

        Raises:
            ConfigurationError: the id cannot be one; nothing was sent.
            NotFoundError: the agent does not exist or belongs to another workspace.
            AuthenticationError: the key is invalid, expired or revoked.
            ResponseDecodeError: the answer is not what is documented.
            ChatloomError: any other failure, after the retries the policy allows.
        """
        values = {"agent_id": agent_id}
        request = build_request("GET", self._caller.base_url, _DOMAINS, values)
        return await self._calls.fetch(request, AllowedDomains)

    async def get_workspace(self) -> WorkspaceSnapshot:
        """Return all agents with their domains, with up to 100 look-ups at the same time.

        What cannot be read is a gap in it. The policy's deadline is for all of it together. What is
        not read by then is a gap, or an old answer from the cache.

        Raises:
            AuthenticationError: the key is invalid, expired or revoked.
            ChatloomError: the agents cannot be listed.
        """
        mine, reader = self._caller, self
        if mine.retry.deadline is not None:
            reader = self._beside(evolve(mine, until=mine.give_up_at()))
        return await read_workspace(reader.list_agents, reader.get_allowed_domains)

    def invalidate(self, agent_id: str | None = None) -> None:
        """Drop what the caches of its pool keep of this workspace.

        All of it, or the domains of one agent. An answer that is under way is not kept either.

        Raises:
            ConfigurationError: the id cannot be one, or ``api_key`` is a callable that no call has
                asked yet, so that it is not known which workspace this is.
        """
        mine = self._caller
        resource = None
        if agent_id is not None:
            values = {"agent_id": agent_id}
            resource = build_request("GET", mine.base_url, _DOMAINS, values).resource
        key = mine.credentials.current
        if key is None:
            raise ConfigurationError(
                "the callable api_key was not asked yet; make a call first, or give the key itself"
            )
        mine.transport.shared.forget((key, mine.base_url), resource)

    async def get_raw(self, path: str) -> Any:
        """Return the JSON of a path this release has no method for, as plain Python values.

        Args:
            path: below the base URL, percent-encoded, maybe with a query: ``/api/plugin/…``.

        Raises:
            ConfigurationError: the path cannot be one; nothing was sent.
            ChatloomError: as for the other methods.
        """
        return await self.send_raw("GET", path)

    async def send_raw(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        json: object = None,
        repeatable: bool | None = None,
    ) -> Any:
        """Make a request this release has no method for, with everything the others have.

        Args:
            method: GET, HEAD, POST, PUT, PATCH or DELETE.
            path: below the base URL, percent-encoded: ``/api/plugin/…``.
            query: names and values, encoded here; None as a value leaves the name out.
            json: the body; None: no body.
            repeatable: True if sending it twice does no harm, because it carries an idempotency
                key, say; None: GET, HEAD, PUT and DELETE are (RFC 9110 §9.2.2). What is not is
                sent again only if no connection was made or the server refused it.

        Returns:
            The JSON of the answer as plain Python values; None where there is none (a 204, a HEAD,
            an empty answer to a POST).

        Raises:
            ConfigurationError: the request cannot be one; nothing was sent.
            ChatloomError: as for the other methods.
        """
        base_url, path = self._caller.base_url, check_raw_path(path)
        request = build_request(
            method, base_url, path, query=query, json=json, repeatable=repeatable
        )
        return await self._calls.fetch(request, object)

    def with_options(
        self,
        *,
        api_key: str | ApiKey | KeySource | _Unchanged = _UNCHANGED,
        timeout: float | _Unchanged = _UNCHANGED,
        retry: RetryPolicy | _Unchanged = _UNCHANGED,
        rate_limit: RateLimit | _Unchanged | None = _UNCHANGED,
        cache: Cache | _Unchanged | None = _UNCHANGED,
    ) -> Self:
        """Return another client on the same pool and base URL, with other options.

        With the same key and limit it shares this client's gate. With another limit it has a gate
        of its own; with another key it shares no answers, and only the gate of all keys. Closing it
        leaves the pool open; closing the owner of the pool closes both.

        Raises:
            ConfigurationError: an option cannot work.
        """
        credentials = self._caller.credentials
        try:
            if not isinstance(api_key, _Unchanged):
                if api_key is None:  # the key of the environment would be another workspace's
                    raise ConfigurationError("no API key; to keep this client's, leave it out")
                credentials = Credentials(api_key)
        finally:
            del api_key  # a traceback shows the locals of its frames
        options = {"timeout": timeout, "retry": retry, "rate_limit": rate_limit, "cache": cache}
        given: dict[str, Any] = {
            name: value for name, value in options.items() if not isinstance(value, _Unchanged)
        }
        state = ClientState()
        return self._beside(evolve(self._caller, credentials=credentials, state=state, **given))

    def _beside(self, caller: Caller, memo: dict[int, Any] | None = None) -> Self:
        """Return a client of the same class, with all that a subclass has put into this one."""
        other = object.__new__(type(self))
        attributes, slots = cast(
            "tuple[dict[str, Any] | None, dict[str, Any]]", object.__getstate__(self)
        )
        own = {**slots, **(attributes or {})}
        del own["_caller"], own["_calls"], own["_owns_pool"]
        for name, value in (own if memo is None else copy.deepcopy(own, memo)).items():
            object.__setattr__(other, name, value)
        other._caller, other._calls, other._owns_pool = caller, _calls(caller), False
        return other

    def __copy__(self) -> Self:
        """Return another client on the same pool, as ``with_options()`` does."""
        return self._beside(evolve(self._caller, state=ClientState()))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return one that shares the pool too: connections, limiters and keys are never copied."""
        return self._beside(evolve(self._caller, state=ClientState()), memo)

    @property
    def retry(self) -> RetryPolicy:
        """The policy of its calls."""
        return self._caller.retry

    def stats(self) -> ClientStatistics:
        """Return a snapshot of what was done so far."""
        mine = self._caller
        return ClientStatistics(
            calls=mine.state.calls,
            requests=mine.state.requests,
            retried=mine.state.retried,
            in_flight=len(mine.transport.shared.in_flight),
            limiter=None if mine.state.limiter is None else mine.state.limiter.statistics(),
            refused=mine.state.refused,
        )

    async def aclose(self) -> None:
        """End this client's calls in flight: they raise ``ClientClosedError``; idempotent.

        Of a workspace whose agents are listed already, the look-ups in flight become gaps.

        A pool of its own is closed too, which ends the calls of all clients on it. Calls may end a
        moment after this returns.
        """
        self._caller.state.closed = True
        if self._owns_pool:
            await self._caller.transport.aclose()
        else:
            self._caller.transport.shared.in_flight.end(self._caller.state)

    async def __aenter__(self) -> Self:
        """Return the client, ready; the first call opens the pool."""
        prepare()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        """Show where it points, and the key's fingerprint."""
        mine = getattr(self, "_caller", None)
        if mine is None:  # refused by the constructor, and shown by a debugger
            return "AsyncChatloom(refused)"
        return (
            f"AsyncChatloom({mine.credentials.current or 'key from a callable'}, {mine.base_url})"
        )


def prepare() -> None:
    """Import what the first answer and the first failure need: there it would hold up the loop."""
    wire.prepare()
    retrying.prepare()
    import chatloom_async.ratelimit.common  # noqa: F401, PLC0415 - said above


def _calls(caller: Caller) -> Caller | CachedCalls:
    if caller.cache is None:
        return caller
    return CachedCalls(caller, caller.transport.shared.answers(caller.cache))
