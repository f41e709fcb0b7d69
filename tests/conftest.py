"""Fixtures of the whole suite: the test kit's own plugin, as an application would load it."""

import asyncio
import os

from hypothesis import settings

pytest_plugins = ["chatloom_async.testing.pytest_plugin"]

# looptime asks for the current loop in synchronous tests too; told that there is none, asyncio does
# not make one that nobody closes.
asyncio.set_event_loop(None)

# No deadline: a slow machine is no defect of what is tested.
settings.register_profile("ci", max_examples=120, deadline=None)
settings.register_profile("long", max_examples=10_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
