"""Opt-in pytest fixtures: a served sandbox and a clock of virtual time.

Switch them on with ``pytest_plugins = ["chatloom_async.testing.pytest_plugin"]`` in the top
``conftest.py``. They are synchronous, so that they work under any asyncio plugin and none. The
server comes in only with a test that asks for it.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from chatloom_async.testing.clock import FakeClock
    from chatloom_async.testing.sandbox import Sandbox

SANDBOX_KEY = "clf_sandbox"
"""The API key of the workspace that ``chatloom_sandbox`` serves."""


@pytest.fixture
def chatloom_sandbox() -> Generator[Sandbox]:
    """A ``Sandbox`` in its own thread, with the workspace ``sandbox`` of three agents.

    The key is ``SANDBOX_KEY``; the agents are ``agt_sandbox_1`` to ``agt_sandbox_3``, with two
    domains each. Fresh for every test.
    """
    from chatloom_async.testing.sandbox import Sandbox  # noqa: PLC0415 - only when used
    from chatloom_async.testing.workspaces import make_workspace  # noqa: PLC0415 - only when used

    workspace = make_workspace("sandbox", SANDBOX_KEY, agents=3, domains=2)
    with Sandbox([workspace]).in_thread() as sandbox:
        yield sandbox


@pytest.fixture
def chatloom_clock() -> FakeClock:
    """A ``FakeClock``: virtual time that passes only in its ``run``."""
    from chatloom_async.testing.clock import FakeClock  # noqa: PLC0415 - only when used

    return FakeClock()
