"""The backends of the README, each on the server it names: views, errors, leaving, the end."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from chatloom_async import ConnectionPool
from chatloom_async.testing import Fault, Sandbox, make_workspace
from tests.uses.test_readme import FILES

ROOT = Path(__file__).parents[2]
SERVERS = {
    "fastapi_app": "uvicorn fastapi_app:app --log-level warning --port {port}",
    "starlette_app": "uvicorn starlette_app:app --log-level warning --port {port}",
    "litestar_app": "granian --interface asgi litestar_app:app --port {port}",
    "quart_app": "hypercorn quart_app:app --bind 127.0.0.1:{port}",
    "django_app": "uvicorn django_app:app --log-level warning --port {port}",
    "aiohttp_app": "aiohttp_app",
}
EXAMPLE = "dashboard"
SLOW = [f"slow{number}" for number in range(60)]
TENANTS = ("acme", "globex", "hanging", *SLOW)


@pytest.fixture
def upstream() -> Iterator[Sandbox]:
    workspaces = [make_workspace(name, f"clf_{name}_key", agents=5) for name in TENANTS]
    with Sandbox(workspaces).in_thread() as sandbox:
        yield sandbox


@asynccontextmanager
async def served(app: str, folder: Path, upstream: Sandbox) -> AsyncIterator[tuple[Any, Any]]:
    """A backend in its own process, and a visitor's session."""
    for name, block in FILES.items():
        tenants = ", ".join(f'"{name}": "clf_{name}_key"' for name in TENANTS)
        keys = f"KEYS = {{{tenants}}}  #"
        (folder / name).write_text(block.replace("KEYS = {", keys), "utf-8")
    port = free_port()
    command = SERVERS.get(app, app).format(port=port).split()
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}",
        "CHATLOOM_BASE_URL": upstream.base_url,
        "PORT": str(port),
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: ASYNC220 - started once, before anything waits
            [sys.executable, "-X", "dev", "-m", *command],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            await until(lambda: answers(port), process)
            connector = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(
                f"http://127.0.0.1:{port}", connector=connector
            ) as visitor:
                yield visitor, process
        finally:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def until(true: Any, process: Any = None, seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            assert process is None or process.poll() is None, "the server ended"
            await asyncio.sleep(0.02)


async def view(visitor: aiohttp.ClientSession, tenant: str) -> tuple[int, Any]:
    async with visitor.get(f"/{tenant}") as answer:
        return answer.status, await answer.json(content_type=None)


@pytest.mark.parametrize("app", SERVERS)
async def test_a_backend_serves_dashboards(app: str, tmp_path: Path, upstream: Sandbox) -> None:
    async with served(app, tmp_path, upstream) as (visitor, process):
        status, page = await view(visitor, "acme")
        assert status == 200
        assert [len(agent["allowed_domains"]) for agent in page["agents"]] == [2] * 5
        assert page["is_stale"] is False

        views = await asyncio.gather(*(view(visitor, "acme") for _ in range(200)))
        assert views == [(200, page)] * 200
        assert upstream.count() == 6

        upstream.revoke("globex")
        for tenant, expected in (("nobody", 404), ("globex", 502)):
            status, told = await view(visitor, tenant)
            assert (status, told["status"]) == (expected, expected)
            assert "clf_" not in str(told)

        # The attempt's own timeout is 2 s, and two more would follow.
        upstream.plant(Fault.delay(30.0, times=None, workspace="hanging"))
        leaving = asyncio.create_task(view(visitor, "hanging"))
        await until(lambda: upstream.count(workspace="hanging"))
        leaving.cancel()
        await until(lambda: upstream.count(workspace="hanging", status=0), seconds=1.5)

        upstream.plant(Fault.delay(1.0, times=60, path="/api/plugin/agents"))
        before = upstream.count()
        last = asyncio.gather(*(view(visitor, tenant) for tenant in SLOW))
        await until(lambda: upstream.count() >= before + 60)
        process.send_signal(signal.SIGTERM)
        assert {status for status, _ in await last} == {200}
        await until(lambda: process.poll() is not None)
        assert upstream.count(workspace="hanging") == 1
        # As many as the pool may open, and one in place of that which the visitor who left ended.
        assert upstream.connections <= ConnectionPool().limit + 1
    assert_quiet(tmp_path)


async def test_the_example_application_shows_workspaces(tmp_path: Path, upstream: Sandbox) -> None:
    async with served(EXAMPLE, tmp_path, upstream) as (visitor, process):
        async with visitor.get("/globex") as answer:
            page = await answer.text()
        async with visitor.get("/nobody") as answer:
            assert answer.status == 502
            assert "Chatloom refuses the API key" in await answer.text()
        process.send_signal(signal.SIGTERM)
        await until(lambda: process.poll() is not None)
    assert page.count("<tr><td>") == 8
    assert "agt_globex_3: " in page
    assert_quiet(tmp_path)


def assert_quiet(folder: Path) -> None:
    log = (folder / "log").read_text("utf-8")
    assert "Warning" not in log
    assert "Traceback" not in log
