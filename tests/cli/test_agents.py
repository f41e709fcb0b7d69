"""The commands ``agents`` and ``domains``."""

import json
import re

import pytest

from chatloom_async.cli.main import main
from chatloom_async.testing import Sandbox, SandboxAgent, Workspace

Captured = pytest.CaptureFixture[str]


pytestmark = pytest.mark.usefixtures("acme_key")


def test_agents_are_listed_with_the_day_they_were_made_on(capsys: Captured) -> None:
    assert main(["agents"]) == 0
    shown = capsys.readouterr().out
    assert "agt_acme_2" in shown
    assert re.search(r"bottom-right +\d{4}-\d\d-\d\d$", shown, re.MULTILINE)


def test_agents_are_listed_as_data(capsys: Captured) -> None:
    assert main(["agents", "--format", "jsonl"]) == 0
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert (first["id"], first["status"]) == ("agt_acme_2", "active")
    assert main(["agents", "--format", "csv"]) == 0
    head, *_ = capsys.readouterr().out.splitlines()
    assert head == "\ufeffid,name,status,template,position,created_at"


def test_domains_are_listed_one_a_line(capsys: Captured) -> None:
    assert main(["domains", "agt_acme_1"]) == 0
    assert capsys.readouterr().out == "site1.agent1.example\nsite2.agent1.example\n"


def test_an_agent_without_domains_is_told(served: Sandbox, capsys: Captured) -> None:
    served.add(Workspace("acme", "clf_key_of_acme", (SandboxAgent("agt_1"),)))
    assert main(["domains", "agt_1"]) == 0
    assert capsys.readouterr() == ("", "no domain listed\n")
