"""Workspaces as data: refused where nobody could order them, made in any size."""

import pytest

from chatloom_async.testing import SandboxAgent, make_workspace


def test_an_unreadable_creation_time_is_refused() -> None:
    with pytest.raises(ValueError, match="yesterday"):
        SandboxAgent("agt_1", created_at="yesterday")


def test_a_single_name_is_no_tuple_of_domains() -> None:
    with pytest.raises(TypeError, match=r"\('example.com',\)"):
        SandboxAgent("agt_1", domains="example.com")  # type: ignore[arg-type]  # a comma is missing


def test_a_made_workspace_is_as_large_as_asked() -> None:
    workspace = make_workspace("big", "clf_big", agents=50, domains=3)
    assert workspace == make_workspace("big", "clf_big", agents=50, domains=3)
    assert len({agent.id for agent in workspace.agents}) == 50
    assert {len(agent.domains) for agent in workspace.agents} == {3}
    assert [a.created for a in workspace.agents] == sorted(a.created for a in workspace.agents)
