"""Test kit: for the tests of applications, and for our own.

What a request to a ``Sandbox`` gets is decided in ``tenants``: the documented answer (``api``), a
refusal (``quota``, which counts by ``meters`` and tells by ``dialects``) or a fault (``faults``).
It is put on the connection in ``delivery`` and remembered in ``records``. Two parts need no
socket: ``StubTransport`` (``stub``), which is a script of replies, and ``FakeClock`` (``clock``).
"""

from chatloom_async.testing.clock import FakeClock
from chatloom_async.testing.demo import demo_faults, demo_workspaces
from chatloom_async.testing.faults import Fault
from chatloom_async.testing.quota import Quota
from chatloom_async.testing.records import RecordedRequest
from chatloom_async.testing.sandbox import Sandbox
from chatloom_async.testing.stub import StubReply, StubRequest, StubTransport
from chatloom_async.testing.workspaces import SandboxAgent, Workspace, make_workspace

__all__ = [
    "FakeClock",
    "Fault",
    "Quota",
    "RecordedRequest",
    "Sandbox",
    "SandboxAgent",
    "StubReply",
    "StubRequest",
    "StubTransport",
    "Workspace",
    "demo_faults",
    "demo_workspaces",
    "make_workspace",
]
