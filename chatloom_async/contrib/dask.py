"""The same audit on a Dask cluster: one task per workspace (extra ``dask``).

Only names travel: a task's arguments, its key, the logs and the dashboard show the name of a
workspace, and each worker finds the key for it by itself. Workers may die: their tasks run again
elsewhere, and every workspace is delivered once. What a worker does is in ``dask_worker``.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, suppress
from typing import Any, Self
from uuid import uuid4

import distributed
from attrs import define, field
from distributed import CancelledError, Client
from distributed.comm.core import CommClosedError

from chatloom_async.audit.judge import Judge
from chatloom_async.audit.results import WorkspaceAudit
from chatloom_async.audit.run import AuditStream
from chatloom_async.calls.request import check_base_url
from chatloom_async.contrib.dask_worker import KeyByName, WorkerState, audit_here, dask_setup
from chatloom_async.errors import ChatloomError, ConfigurationError
from chatloom_async.fanout import FanOut
from chatloom_async.models import Gap
from chatloom_async.ratelimit.values import RateLimit

__all__ = ["LOCAL", "ClusterAudit", "KeyByName", "audit_on"]

LOCAL = "local"
"""In place of an address: a cluster of processes on this machine, for this audit only."""

_dask: Any = distributed  # what annotations it has are partial, and wrong about coroutines

_RETRIES = 2
_LOCAL_AT_ONCE = 32  # workspaces per worker process of a local cluster
_AHEAD = 4  # tasks per place on the cluster that are handed over at once
_LOOPBACK = "127.0.0.1"
_CONNECT = 10.0  # seconds to reach a scheduler
_GOODBYE = 2.0  # seconds for taking leave of a scheduler that was lost
_LOST = (CancelledError, CommClosedError)  # what futures end with when their scheduler is gone


def audit_on(  # noqa: PLR0913 - what is audited, where, and how it is judged
    cluster: str | Client,
    names: Iterable[str],
    keys: KeyByName,
    *,
    base_url: str | None = None,
    approved: Iterable[str] | None = None,
    ignore: Iterable[str] = (),
    rate_limit: RateLimit | None = RateLimit(),  # noqa: B008 - immutable
) -> ClusterAudit:
    """Audit workspaces on a cluster and yield each as it completes.

    ::

        keys = KeysFile("/shared/keys.toml")
        async with audit_on("tcp://scheduler:8786", names, keys) as results:
            async for workspace in results: ...

    A worker audits as many workspaces at once as it was given threads, and uses none of them: start
    workers with many (``dask worker --nthreads 32``). All tasks of a worker share a ConnectionPool.
    What cannot be audited, also for a task that failed for good, is yielded with a gap.

    Args:
        cluster: the address of a scheduler, ``"local"``, or a ``distributed.Client`` made with
            ``asynchronous=True``, which the caller closes.
        names: of the workspaces, each once.
        keys: finds the key for a name, on the worker.
        base_url: as for ``AsyncChatloom``, read here and not on the workers.
        approved: as for ``stream_audit``.
        ignore: as for ``stream_audit``.
        rate_limit: as for ``AsyncChatloom``, for each worker process alone. Where workspaces have a
            key in common, share it: ``RateLimit(shared=…)``, a path or a store that can be pickled.

    Raises:
        ConfigurationError: an option cannot work.
        ChatloomError: from the iteration: the scheduler is gone, and with it what was not yielded.
    """
    if isinstance(cluster, Client) and not cluster.asynchronous:
        raise ConfigurationError("the distributed.Client was not made with asynchronous=True")
    state = WorkerState(keys, check_base_url(base_url), Judge.of(approved, ignore), rate_limit)
    return ClusterAudit(cluster, names, state)


@define(eq=False)
class ClusterAudit:
    """What ``audit_on`` returns: enter it once, then iterate.

    Attributes:
        places: workspaces which the workers take at once, when it was entered. With 0 it waits for
            workers, as long as it takes: a cluster may start them only when there are tasks.
    """

    _cluster: str | Client
    _names: Iterable[str]
    _state: WorkerState
    places: int = field(default=0, init=False)
    _id: str = field(factory=lambda: f"chatloom-audit-{uuid4().hex[:12]}", init=False)
    _resources: AsyncExitStack = field(factory=AsyncExitStack, init=False)
    _client: Any = field(default=None, init=False)
    _address: str = field(default="", init=False)
    _results: AuditStream | None = field(default=None, init=False)
    _lost: bool = field(default=False, init=False)

    async def __aenter__(self) -> Self:
        """Connect, register the workers' state, hand over the first tasks."""
        try:
            self._client = await self._connect()
            self._address = self._client.scheduler.address
            await self._client.register_plugin(self._state, name=self._id)
            self._resources.push_async_callback(self._leave)
            threads: dict[str, int] = await self._client.nthreads()
            self.places = sum(threads.values())
            audits = FanOut(self._audit, self._names, concurrency=_AHEAD * max(1, self.places))
            self._results = await self._resources.enter_async_context(AuditStream(audits))
        except BaseException:
            await self._resources.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Cancel what is under way, unregister the workers' state, close what was opened here."""
        await self._resources.aclose()

    def __aiter__(self) -> AsyncIterator[WorkspaceAudit]:
        return self

    async def __anext__(self) -> WorkspaceAudit:
        """Return the next workspace, in the order in which they are finished."""
        if self._results is None:
            raise ConfigurationError("read it inside its 'async with' block")
        return await anext(self._results)

    async def _connect(self) -> Any:
        if isinstance(self._cluster, Client):
            return self._cluster
        target: Any = self._cluster
        if target == LOCAL:
            target = await self._start_local()
        client = _dask.Client(target, asynchronous=True, timeout=_CONNECT, set_as_default=False)
        self._resources.push_async_callback(client.close)  # also of one that never connected
        try:
            return await client
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"cannot reach a Dask scheduler at {self._cluster!r}: {error}"
            ) from None

    async def _start_local(self) -> Any:
        """Start a cluster; to cancel that waits for its end, or processes would be left behind."""
        cluster = _dask.LocalCluster(
            n_workers=os.cpu_count() or 1,
            threads_per_worker=_LOCAL_AT_ONCE,
            host=_LOOPBACK,
            dashboard_address=f"{_LOOPBACK}:0",  # it shows names and asks for no password
            asynchronous=True,
            preload=[dask_setup.__module__],
        )
        start = asyncio.ensure_future(cluster)

        async def close() -> None:
            await asyncio.wait([start])
            await cluster.close()

        self._resources.push_async_callback(close)
        return await asyncio.shield(start)

    async def _audit(self, name: str) -> WorkspaceAudit:
        """Hand over one workspace and wait for it, on whichever worker it ends."""
        if self._lost:
            raise self._lost_error()
        key = f"{self._id}-{name}"
        future = self._client.submit(
            audit_here, name, self._id, key=key, pure=False, retries=_RETRIES
        )
        audit: WorkspaceAudit | None = None
        try:
            audit = await future.result()
        except Exception as error:  # noqa: BLE001 - one workspace's trouble is its own gap
            if self._client.status == "running" and not isinstance(error, _LOST):
                gap = Gap(None, type(error).__name__, None, "the task failed on the cluster")
                return WorkspaceAudit(name, gaps=(gap,))
        finally:
            future.release()
        if audit is None or self._client.status == "closed":
            self._lost = True
            raise self._lost_error()
        return audit

    def _lost_error(self) -> ChatloomError:
        return ChatloomError(
            f"lost the Dask scheduler at {self._address}; go on with what is missing (--resume)"
        )

    async def _leave(self) -> None:
        if self._client.status == "closed":
            return
        with suppress(CancelledError, OSError):  # it may be gone unnoticed, or lost and back
            async with asyncio.timeout(_GOODBYE if self._lost else None):
                await self._client.unregister_worker_plugin(self._id)
