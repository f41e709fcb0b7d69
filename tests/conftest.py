"""Fixtures of the whole suite: the test kit's own plugin, as an application would load it."""

import asyncio

pytest_plugins = ["chatloom_async.testing.pytest_plugin"]

# looptime asks for the current loop in synchronous tests too; told that there is none, asyncio does
# not make one that nobody closes.
asyncio.set_event_loop(None)
