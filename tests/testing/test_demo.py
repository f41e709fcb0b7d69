"""The demonstration: what it promises to hold, and that its faults meet something."""

from chatloom_async.testing import Sandbox, demo_faults, demo_workspaces
from tests.testing.asking import ask


def test_the_demonstration_has_something_to_find() -> None:
    *served, former = demo_workspaces()
    agents = [agent for workspace in served for agent in workspace.agents]
    domains = {domain for agent in agents for domain in agent.domains}
    assert former.revoked
    assert not all(agent.domains for agent in agents)
    assert {"localhost", "192.0.2.44", "*.northwind-travel.example"} <= domains
    for sign in ("https://", "xn--"):
        assert any(domain.startswith(sign) for domain in domains)


async def test_every_demonstrated_fault_meets_something_served() -> None:
    workspaces = [workspace for workspace in demo_workspaces() if not workspace.revoked]
    async with Sandbox(workspaces) as sandbox:
        for fault in demo_faults():
            assert fault.path is not None
            names = [fault.workspace] if fault.workspace else [w.name for w in workspaces]
            keys = [w.key for w in workspaces if w.name in names]
            assert 200 in [(await ask(sandbox, fault.path, key=key)).status for key in keys]
    assert [fault.times for fault in demo_faults()].count(None) == 1
