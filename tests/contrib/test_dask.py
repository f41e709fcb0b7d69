import asyncio
import itertools
import os
import pickle
import signal
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from urllib.parse import quote

import distributed
import psutil  # distributed brings it
import pytest
from attrs import frozen

from chatloom_async.audit.keys import KeysFile
from chatloom_async.audit.results import WorkspaceAudit
from chatloom_async.auth import ApiKey
from chatloom_async.contrib.dask import ClusterAudit, audit_on
from chatloom_async.errors import ChatloomError, ConfigurationError
from chatloom_async.ratelimit.shared_file import SharedFile
from chatloom_async.ratelimit.values import RateLimit
from chatloom_async.testing import Sandbox, make_workspace

dask: Any = distributed

SECRET = "clf_SecretOfWorkspace"  # noqa: S105 - the point


@frozen
class Fleet:
    """Workspaces that a sandbox serves, their keys file, and two workers with four places each."""

    client: Any
    sandbox: Sandbox
    names: list[str]
    keys: KeysFile

    def audit(self, **options: Any) -> ClusterAudit:
        return audit_on(
            self.client, self.names, self.keys, base_url=self.sandbox.base_url, **options
        )


@asynccontextmanager
async def cluster(*, processes: bool = False) -> AsyncIterator[Any]:
    workers = dask.LocalCluster(
        n_workers=2,
        threads_per_worker=4,
        processes=processes,
        dashboard_address="127.0.0.1:0",
        asynchronous=True,
        silence_logs=50,
    )
    async with workers, dask.Client(workers, asynchronous=True, set_as_default=False) as client:
        yield client


@asynccontextmanager
async def fleet(
    folder: Path, count: int, *, latency: float = 0.0, processes: bool = False
) -> AsyncIterator[Fleet]:
    served = [make_workspace(f"w{n}", f"{SECRET}{n}", agents=2) for n in range(count)]
    path = folder / "keys.toml"
    path.write_text("".join(f'{each.name} = "{each.key}"\n' for each in served))
    with Sandbox(served, latency=latency).in_thread() as sandbox:
        async with cluster(processes=processes) as client:
            yield Fleet(client, sandbox, [each.name for each in served], KeysFile(str(path)))


async def everything_shown(client: Any) -> str:
    """Return what a cluster shows of itself: pages, logs, transitions, command lines."""
    scheduler = client.cluster.scheduler
    (socket,) = scheduler.http_server._sockets.values()  # noqa: SLF001 - its port is told nowhere
    workers = list(scheduler.workers)
    pages = ["main/workers", "main/logs", "main/exceptions"]
    for worker in workers:
        pages += [f"worker/{quote(worker, safe='')}", f"call-stacks/{quote(worker, safe='')}"]

    def read(page: str) -> str:
        url = f"http://127.0.0.1:{socket.getsockname()[1]}/info/{page}.html"
        with urllib.request.urlopen(url) as answer:
            return str(answer.read())

    shown = [await asyncio.to_thread(read, page) for page in pages]
    shown += [str(await client.get_worker_logs()), str(await client.get_scheduler_logs())]
    shown.append(repr(list(scheduler.transition_log)))
    shown += map(repr, (each.cmdline() for each in psutil.Process().children(recursive=True)))
    return "\n".join(shown)


async def test_a_killed_worker_loses_no_workspace(tmp_path: Path) -> None:
    done: list[WorkspaceAudit] = []
    async with fleet(tmp_path, 80, latency=0.05, processes=True) as here:
        victim, _ = (await here.client.run(os.getpid)).values()
        async with here.audit() as results:
            async for each in results:
                done.append(each)
                if len(done) == 20:
                    shown = await everything_shown(here.client)
                    os.kill(victim, signal.SIGKILL)
        shown += await everything_shown(here.client)
    assert Counter(each.workspace for each in done) == Counter(here.names)
    assert {len(each.agents) for each in done} == {2}
    assert not any(each.gaps for each in done)
    assert "chatloom-audit-" in shown
    assert SECRET not in shown


async def test_a_task_is_given_a_name_and_no_key(tmp_path: Path) -> None:
    async with fleet(tmp_path, 3) as here:
        submit = here.client.submit = Mock(wraps=here.client.submit)
        async with here.audit() as results:
            done = [each async for each in results]
        given = [pickle.dumps((each.args[1:], each.kwargs)) for each in submit.call_args_list]
        assert len(done) == len(given) == 3
        assert all(b"w" in each and SECRET.encode() not in each for each in given)
        # When the audit was left, a task does nothing.
        assert await submit(*submit.call_args.args, pure=False) is None
        assert here.sandbox.count() == 9


async def test_the_tasks_of_a_worker_share_one_pool(tmp_path: Path) -> None:
    async with fleet(tmp_path, 40) as here, here.audit() as results:
        assert len([each async for each in results]) == 40
        assert here.sandbox.count() == 40 * 3
        assert here.sandbox.connections < 40


async def test_workers_judge_as_they_are_told(tmp_path: Path) -> None:
    judged = {"approved": ["none.example"], "ignore": ["not-approved"]}
    async with fleet(tmp_path, 1) as here, here.audit(**judged) as results:
        assert (await anext(results)).findings == ()
    with pytest.raises(ConfigurationError, match="no rule 'x'"):
        audit_on("local", [], here.keys, ignore=["x"])


async def test_workers_share_the_limit_of_a_common_key(tmp_path: Path) -> None:
    store = SharedFile(tmp_path / "limits")
    limit = RateLimit(per_minute=600, burst=6, shared=store)
    async with fleet(tmp_path, 1, processes=True) as here:
        here.names.extend(f"w{number}" for number in range(1, 6))
        keys = "".join(f'{name} = "{SECRET}0"\n' for name in here.names)
        Path(here.keys.path).write_text(keys)
        async with here.audit(rate_limit=limit) as results:
            done = [each async for each in results]
        name = ApiKey(f"{SECRET}0").name_for(here.sandbox.base_url)
        grant = await store.take(name, limit, 6)
    assert sum(each.requests for each in done) == 18
    assert grant.wait > 0
    assert grant.processes == 3  # two workers, and this one


async def test_what_a_worker_cannot_find_a_key_for_is_a_gap(tmp_path: Path) -> None:
    async with fleet(tmp_path, 1) as here:
        here.names.append("w1")
        async with here.audit() as results:
            done = {each.workspace: each async for each in results}
    assert len(done["w0"].agents) == 2
    (gap,) = done["w1"].gaps
    assert gap.message == f"keys file {here.keys.path!r} has no entry 'w1'"


async def test_a_failing_key_source_is_a_gap_without_its_words() -> None:
    async with (
        cluster() as client,
        audit_on(client, ["w0"], _failing, base_url="http://127.0.0.1:9") as results,
    ):
        [[gap]] = [each.gaps async for each in results]
    assert gap.error == "LookupError"
    assert SECRET not in gap.message


def _failing(name: str) -> str:
    raise LookupError(f"{SECRET} of {name}")


async def test_leaving_early_leaves_nothing_on_the_cluster(tmp_path: Path) -> None:
    async with fleet(tmp_path, 60, latency=0.05) as here:
        async with here.audit() as results:
            await anext(results)
        plugins = await here.client.run(_audit_plugins)
        while await here.client.run_on_scheduler(_count_tasks):
            pass  # the cancellation is on its way
    assert list(plugins.values()) == [[], []]


def _audit_plugins(dask_worker: Any) -> list[str]:
    return [name for name in dask_worker.plugins if name.startswith("chatloom")]


def _count_tasks(dask_scheduler: Any) -> int:
    return len(dask_scheduler.tasks)


async def test_a_cancelled_reader_loses_no_workspace(tmp_path: Path) -> None:
    done: list[str] = []
    async with fleet(tmp_path, 80) as here, here.audit() as results:
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
    assert Counter(done) == Counter(here.names)


async def test_an_audit_without_workers_knows_it_and_waits_for_them(tmp_path: Path) -> None:
    async with fleet(tmp_path, 2) as here:
        await here.client.retire_workers()
        async with here.audit() as results:
            assert results.places == 0
            await here.client.cluster.scale(3)
            done = [each async for each in results]
    assert [len(each.agents) for each in done] == [2, 2]


async def test_a_cluster_that_is_not_there_is_told() -> None:
    results = audit_on("nonsense://127.0.0.1:1", ["w0"], KeysFile("none.toml"))
    with pytest.raises(ConfigurationError, match="inside its 'async with' block"):
        await anext(results)
    with pytest.raises(ConfigurationError, match="cannot reach a Dask scheduler"):
        await results.__aenter__()


async def test_a_lost_scheduler_ends_the_audit_and_is_no_gap(tmp_path: Path) -> None:
    done: list[WorkspaceAudit] = []
    async with fleet(tmp_path, 60, latency=0.05) as here:
        with pytest.raises(ChatloomError, match="lost the Dask scheduler at inproc://"):
            async with here.audit() as results:
                async for each in results:
                    done.append(each)
                    if len(done) == 3:
                        here.client.scheduler_comm.comm.abort()
        plugins = await here.client.run(_audit_plugins)
    assert len(done) < 60
    assert not any(each.gaps for each in done)
    assert list(plugins.values()) == [[], []]  # only the connection was lost


async def test_an_audit_may_be_left_after_its_client_was_closed(tmp_path: Path) -> None:
    async with fleet(tmp_path, 20, latency=0.05) as here, here.audit() as results:
        await anext(results)
        await here.client.close()
        with pytest.raises(ChatloomError, match="lost the Dask scheduler"):
            _ = [each async for each in results]


async def test_a_local_cluster_is_private(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "keys.toml"
    path.write_text('w0 = "clf_w0"\n')
    async with audit_on("local", ["w1"], KeysFile(str(path))) as results:
        for each in psutil.Process().children(recursive=True):
            each.send_signal(signal.SIGINT)  # as a terminal does
        assert [each.workspace async for each in results] == ["w1"]
        family = [psutil.Process(), *psutil.Process().children(recursive=True)]
        sockets = [each for one in family for each in one.net_connections("inet")]
    listening = {each.laddr.ip for each in sockets if each.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}
    assert "KeyboardInterrupt" not in capfd.readouterr().err


async def test_a_local_cluster_cancelled_while_starting_is_closed(tmp_path: Path) -> None:
    async def enter() -> None:
        async with audit_on("local", [], KeysFile(str(tmp_path))):
            raise AssertionError("it was to be cancelled first")

    def workers() -> set[int]:
        family = psutil.Process().children(recursive=True)
        return {each.pid for each in family if "spawn_main" in " ".join(each.cmdline())}

    before, entering = workers(), asyncio.create_task(enter())
    while workers() <= before:
        await asyncio.sleep(0.01)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert workers() <= before
