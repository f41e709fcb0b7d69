"""Fixtures of the whole suite: the test kit's own plugin, as an application loads it, and more."""

import asyncio
import os
from collections.abc import Generator, Iterator
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from chatloom_async.network import direct, trial
from chatloom_async.testing import Sandbox, make_workspace
from tests.virtual import virtual

pytest_plugins = ["chatloom_async.testing.pytest_plugin"]

# looptime asks for the current loop in synchronous tests too; told that there is none, asyncio does
# not make one that nobody closes.
asyncio.set_event_loop(None)

# No deadline: a slow machine is no defect of what is tested.
settings.register_profile("ci", max_examples=120, deadline=None)
settings.register_profile("long", max_examples=10_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

match os.environ.get("CHATLOOM_TEST_WAY"):
    case "session":  # never the direct one
        direct.Direct.of = lambda _: None  # type: ignore[method-assign, assignment]  # as if for none
    case "direct":  # however new aiohttp is
        trial.NEWEST = (99,)


@pytest.hookimpl(wrapper=True, trylast=True)  # before pytest-asyncio takes what is asynchronous
def pytest_pycollect_makeitem() -> Generator[None, Any, Any]:
    """Run the asynchronous tests of a module that is marked ``virtual`` in virtual time."""
    made = yield
    for item in made if isinstance(made, list) else ():
        if item.get_closest_marker("virtual") and iscoroutinefunction(item.obj):
            item.obj = virtual(item.obj)
    return made


LOOP = os.environ.get("CHATLOOM_TEST_LOOP")  # "uvloop" or "eager" instead of asyncio's own

if LOOP is not None:

    def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, object]:
        """Run what does without virtual time on another loop: looptime knows asyncio's only."""
        plain = item.get_closest_marker("looptime") is not None
        return {"asyncio": asyncio.new_event_loop} if plain else {str(LOOP): LOOPS[str(LOOP)]}


def _uvloop() -> asyncio.AbstractEventLoop:
    import uvloop  # noqa: PLC0415 - not on every system

    return uvloop.new_event_loop()


def _eager() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]  # 3.12
    return loop


LOOPS = {"uvloop": _uvloop, "eager": _eager}


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Two workspaces with two agents each, served; no key in the environment."""
    workspaces = [make_workspace(name, f"clf_key_of_{name}", agents=2) for name in ("acme", "beta")]
    with Sandbox(workspaces).in_thread() as server:
        monkeypatch.setenv("CHATLOOM_BASE_URL", server.base_url)
        monkeypatch.delenv("CHATLOOM_API_KEY", raising=False)
        yield server


@pytest.fixture
def keys(tmp_path: Path) -> str:
    path = tmp_path / "keys.toml"
    path.write_text('acme = "clf_key_of_acme"\nbeta = "clf_key_of_beta"\n')
    return str(path)
