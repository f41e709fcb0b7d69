import asyncio
import itertools
import os
import pickle
import signal
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import distributed
import pytest

from chatloom_async.audit.keys import KeysFile
from chatloom_async.audit.results import WorkspaceAudit
from chatloom_async.contrib.dask import audit_on
from chatloom_async.errors import ChatloomError, ConfigurationError
from chatloom_async.testing import Sandbox, Workspace, make_workspace

dask: Any = distributed

SECRET = "clf_SecretOfWorkspace"  # noqa: S105 - the point


def workspaces(count: int) -> list[Workspace]:
    return [make_workspace(f"w{n}", f"{SECRET}{n}", agents=2) for n in range(count)]


def keys_file(folder: Path, served: Sequence[Workspace]) -> KeysFile:
    path = folder / "keys.toml"
    path.write_text("".join(f'{each.name} = "{each.key}"\n' for each in served))
    return KeysFile(str(path))


@asynccontextmanager
async def cluster(*, processes: bool) -> AsyncIterator[Any]:
    """Start two workers with four places each; yield the client."""
    async with (
        dask.LocalCluster(
            n_workers=2,
            threads_per_worker=4,
            processes=processes,
            dashboard_address=":0",
            asynchronous=True,
            silence_logs=50,
        ) as workers,
        dask.Client(workers, asynchronous=True, set_as_default=False) as client,
    ):
        yield client


async def test_every_workspace_is_delivered_once_although_a_worker_is_killed(
    tmp_path: Path,
) -> None:
    served = workspaces(200)
    names = [each.name for each in served]
    done: list[WorkspaceAudit] = []
    with Sandbox(served, latency=0.05).in_thread() as sandbox:
        async with cluster(processes=True) as client:
            victim, _ = (await client.run(os.getpid)).values()
            keys = keys_file(tmp_path, served)
            async with audit_on(client, names, keys, base_url=sandbox.base_url) as results:
                async for each in results:
                    done.append(each)
                    if len(done) == 60:
                        os.kill(victim, signal.SIGKILL)
            told = str(await client.get_worker_logs()) + str(await client.get_scheduler_logs())
            told += str(await client.run_on_scheduler(_events_of_scheduler))
    assert Counter(each.workspace for each in done) == Counter(names)
    assert {len(each.agents) for each in done} == {2}
    assert not any(each.gaps for each in done)
    assert SECRET not in told


def _events_of_scheduler(dask_scheduler: Any) -> str:
    return repr(list(dask_scheduler.transition_log))


async def test_a_task_is_given_a_name_and_no_key(tmp_path: Path) -> None:
    served = workspaces(3)
    submitted: list[bytes] = []
    with Sandbox(served).in_thread() as sandbox:
        async with cluster(processes=False) as client:
            submit = client.submit

            def watched(*arguments: Any, **options: Any) -> Any:
                submitted.append(pickle.dumps((arguments[1:], options)))
                return submit(*arguments, **options)

            client.submit = watched
            keys = keys_file(tmp_path, served)
            names = [each.name for each in served]
            async with audit_on(client, names, keys, base_url=sandbox.base_url) as results:
                done = [each async for each in results]
    assert len(done) == len(submitted) == 3
    assert all(b"w" in each and SECRET.encode() not in each for each in submitted)


async def test_the_tasks_of_a_worker_share_one_pool(tmp_path: Path) -> None:
    served = workspaces(40)
    with Sandbox(served).in_thread() as sandbox:
        async with cluster(processes=False) as client:
            keys = keys_file(tmp_path, served)
            names = [each.name for each in served]
            async with audit_on(client, names, keys, base_url=sandbox.base_url) as results:
                done = [each async for each in results]
        assert sandbox.count() == 40 * 3
        assert sandbox.connections < 40
    assert len(done) == 40


async def test_what_a_worker_cannot_find_a_key_for_is_a_gap(tmp_path: Path) -> None:
    served = workspaces(1)
    with Sandbox(served).in_thread() as sandbox:
        keys = keys_file(tmp_path, served)
        async with (
            cluster(processes=False) as client,
            audit_on(client, ["w0", "w1"], keys, base_url=sandbox.base_url) as results,
        ):
            done = {each.workspace: each async for each in results}
    assert len(done["w0"].agents) == 2
    assert [gap.message for gap in done["w1"].gaps] == [
        f"keys file {keys.path!r} has no entry 'w1'"
    ]


async def test_a_failing_key_source_is_a_gap_without_its_words() -> None:
    async with (
        cluster(processes=False) as client,
        audit_on(client, ["w0"], _failing, base_url="http://127.0.0.1:9") as results,
    ):
        (done,) = [each async for each in results]
    (gap,) = done.gaps
    assert gap.error == "LookupError"
    assert SECRET not in gap.message


def _failing(name: str) -> str:
    raise LookupError(f"{SECRET} of {name}")


async def test_leaving_early_leaves_nothing_on_the_cluster(tmp_path: Path) -> None:
    served = workspaces(60)
    with Sandbox(served, latency=0.05).in_thread() as sandbox:
        async with cluster(processes=False) as client:
            keys = keys_file(tmp_path, served)
            names = [each.name for each in served]
            async with audit_on(client, names, keys, base_url=sandbox.base_url) as results:
                await anext(results)
            plugins = await client.run(_audit_plugins)
            while await client.run_on_scheduler(_count_tasks):
                pass  # the cancellation is on its way
    assert list(plugins.values()) == [[], []]


async def test_a_task_that_begins_after_the_audit_was_left_does_nothing_and_does_not_fail(
    tmp_path: Path,
) -> None:
    served = workspaces(1)
    submitted: list[tuple[Any, ...]] = []
    with Sandbox(served).in_thread() as sandbox:
        async with cluster(processes=False) as client:
            submit = client.submit

            def watched(*arguments: Any, **options: Any) -> Any:
                submitted.append(arguments)
                return submit(*arguments, **options)

            client.submit = watched
            keys = keys_file(tmp_path, served)
            async with audit_on(client, ["w0"], keys, base_url=sandbox.base_url) as results:
                await anext(results)
            assert await submit(*submitted[0], pure=False) is None
        assert sandbox.count() == 3


async def test_no_workspace_is_lost_when_its_reader_is_cancelled_at_any_moment(
    tmp_path: Path,
) -> None:
    served = workspaces(80)
    names = [each.name for each in served]
    done: list[str] = []
    with Sandbox(served).in_thread() as sandbox:
        async with cluster(processes=False) as client:
            keys = keys_file(tmp_path, served)
            async with audit_on(client, names, keys, base_url=sandbox.base_url) as results:
                for moment in itertools.count():
                    reading = asyncio.ensure_future(anext(results))
                    for _ in range(moment % 25):
                        await asyncio.sleep(0)
                    reading.cancel()
                    (outcome,) = await asyncio.gather(reading, return_exceptions=True)
                    if isinstance(outcome, WorkspaceAudit):
                        done.append(outcome.workspace)
                    elif isinstance(outcome, StopAsyncIteration):
                        break
    assert Counter(done) == Counter(names)


async def test_a_second_reader_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    served = workspaces(3)
    with Sandbox(served).in_thread() as sandbox:
        async with cluster(processes=False) as client:
            keys, names = keys_file(tmp_path, served), [each.name for each in served]
            async with audit_on(client, names, keys, base_url=sandbox.base_url) as results:
                first = asyncio.ensure_future(anext(results))
                await asyncio.sleep(0)
                with pytest.raises(ConfigurationError, match="one reader"):
                    await anext(results)
                done = [await first, *[each async for each in results]]
    assert sorted(each.workspace for each in done) == names


def _audit_plugins(dask_worker: Any) -> list[str]:
    return [name for name in dask_worker.plugins if name.startswith("chatloom")]


def _count_tasks(dask_scheduler: Any) -> int:
    return len(dask_scheduler.tasks)


async def test_an_audit_without_workers_knows_it_and_waits_for_them(tmp_path: Path) -> None:
    served = workspaces(2)
    with Sandbox(served).in_thread() as sandbox:
        async with cluster(processes=False) as client:
            keys, names = keys_file(tmp_path, served), [each.name for each in served]
            await client.retire_workers()
            async with audit_on(client, names, keys, base_url=sandbox.base_url) as results:
                assert results.places == 0
                await client.cluster.scale(3)
                done = [each async for each in results]
    assert [len(each.agents) for each in done] == [2, 2]


async def test_a_cluster_that_is_not_there_is_told() -> None:
    with pytest.raises(ConfigurationError, match="cannot reach a Dask scheduler"):
        async with audit_on("nonsense://127.0.0.1:1", ["w0"], KeysFile("none.toml")):
            pass


async def test_a_lost_scheduler_ends_the_audit_and_is_no_gap(tmp_path: Path) -> None:
    served = workspaces(60)
    done: list[WorkspaceAudit] = []
    with Sandbox(served, latency=0.05).in_thread() as sandbox:
        async with cluster(processes=False) as client:
            keys = keys_file(tmp_path, served)
            names = [each.name for each in served]
            audit = audit_on(client, names, keys, base_url=sandbox.base_url)
            with pytest.raises(ChatloomError, match="lost the Dask scheduler at inproc://"):
                async with audit as results:
                    async for each in results:
                        done.append(each)
                        if len(done) == 3:
                            client.scheduler_comm.comm.abort()
            plugins = await client.run(_audit_plugins)
    assert len(done) < 60
    assert not any(each.gaps for each in done)
    assert list(plugins.values()) == [[], []]  # only the connection was lost


async def test_an_audit_may_be_left_after_its_client_was_closed(tmp_path: Path) -> None:
    served = workspaces(20)
    with Sandbox(served, latency=0.05).in_thread() as sandbox:
        async with cluster(processes=False) as client:
            keys = keys_file(tmp_path, served)
            names = [each.name for each in served]
            async with audit_on(client, names, keys, base_url=sandbox.base_url) as results:
                await anext(results)
                await client.close()
                with pytest.raises(ChatloomError, match="lost the Dask scheduler"):
                    _ = [each async for each in results]
