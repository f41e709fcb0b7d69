"""The demonstration: what it promises to hold, and that its faults meet something."""

from chatloom_async.testing import Sandbox, demo_faults, demo_workspaces
from tests.testing.asking import ask


def test_the_demonstration_has_something_to_find() -> None:
    workspaces = demo_workspaces()
    assert [workspace.revoked for workspace in workspaces] == [False] * 6 + [True]
    agents = [agent for workspace in workspaces for agent in workspace.agents]
    assert len(agents) >= 60
    domains = {domain for agent in agents for domain in agent.domains}
    assert sum(not agent.domains for agent in agents) >= 4
    assert {"localhost", "192.0.2.44", "*.northwind-travel.example"} <= domains
    assert any(domain.startswith("https://") for domain in domains)
    assert any(domain.startswith("xn--") for domain in domains)
    assert any(domain != domain.lower() and domain.lower() in domains for domain in domains)
    assert "center" in {agent.position for agent in agents}
    seen = [{d for agent in w.agents for d in agent.domains} for w in workspaces]
    assert sum("partners.example" in domains for domains in seen) == 2


async def test_every_demonstrated_fault_meets_something_served() -> None:
    workspaces = [workspace for workspace in demo_workspaces() if not workspace.revoked]
    async with Sandbox(workspaces) as sandbox:
        for fault in demo_faults():
            assert fault.path is not None
            names = [fault.workspace] if fault.workspace else [w.name for w in workspaces]
            keys = [w.key for w in workspaces if w.name in names]
            assert 200 in [(await ask(sandbox, fault.path, key=key)).status for key in keys]
    assert [fault.times for fault in demo_faults()].count(None) == 1
