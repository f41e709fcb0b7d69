"""What a Dask worker does for an audit (extra ``dask``); who hands out the work is in ``dask``.

Here: the state of one worker process, which finds keys, keeps a pool and audits by name.
"""

import inspect
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import distributed
from attrs import define, field
from distributed import WorkerPlugin

from chatloom_async.audit.judge import Judge
from chatloom_async.audit.keys import KeysFile
from chatloom_async.audit.results import WorkspaceAudit
from chatloom_async.audit.run import LOOKUPS, audit_workspace
from chatloom_async.auth import ApiKey
from chatloom_async.client import AsyncChatloom
from chatloom_async.network.pool import ConnectionPool
from chatloom_async.ratelimit.values import RateLimit

KeyByName = Callable[[str], str | ApiKey | Awaitable[str | ApiKey]]
"""Asked on the worker, with the name of a workspace: ``KeysFile``, or any callable
that can be pickled and holds no key."""

_dask: Any = distributed  # it has no annotations for this


@define(eq=False, slots=False)
class WorkerState(WorkerPlugin):  # dask accepts nothing but its subclasses
    """What one worker process keeps for an audit, whose tasks know no more than a name."""

    keys: KeyByName
    base_url: str
    judge: Judge
    rate_limit: RateLimit | None
    _pool: ConnectionPool | None = field(default=None, init=False)
    _key_of: KeyByName | None = field(default=None, init=False)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the open pool and keys read from a file: they go nowhere."""
        return {**self.__dict__, "_pool": None, "_key_of": None}

    async def teardown(self, worker: object) -> None:
        """Close the pool; the audit was left, or the worker ends."""
        _ = worker
        if self._pool is not None:
            await self._pool.aclose()

    async def audit(self, name: str) -> WorkspaceAudit:
        """Audit one workspace on this worker."""
        if self._pool is None:
            self._pool = ConnectionPool()
        client = AsyncChatloom(
            partial(self._find_key, name),
            base_url=self.base_url,
            rate_limit=self.rate_limit,
            pool=self._pool,
        )
        return await audit_workspace(name, client, LOOKUPS, self.judge)

    async def _find_key(self, name: str) -> str | ApiKey:
        if self._key_of is None:
            self._key_of = self.keys.open() if isinstance(self.keys, KeysFile) else self.keys
        answer = self._key_of(name)
        return await answer if inspect.isawaitable(answer) else answer


def dask_setup(_: object) -> None:
    """Leave Ctrl-C, which the terminal sends to every process, to the one that began the cluster.

    Dask calls it in the workers of a local cluster, which name this module as their preload.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)


async def audit_here(name: str, audit_id: str) -> WorkspaceAudit | None:
    """Run as the task, with this worker's state; None when the audit was left."""
    state: WorkerState | None = _dask.get_worker().plugins.get(audit_id)
    return None if state is None else await state.audit(name)
