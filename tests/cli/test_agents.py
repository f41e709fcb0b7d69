"""The commands ``agents`` and ``domains``."""

import json
import re

import pytest

from chatloom_async.testing import Sandbox, SandboxAgent, Workspace
from tests.cli.terminals import Cli

pytestmark = pytest.mark.usefixtures("acme_key")


def test_agents_are_listed_with_the_day_they_were_made_on(cli: Cli) -> None:
    shown = cli("agents").out
    assert "agt_acme_2" in shown
    assert re.search(r"bottom-right +\d{4}-\d\d-\d\d$", shown, re.MULTILINE)


def test_agents_are_listed_as_data(cli: Cli) -> None:
    first = json.loads(cli("agents", "--format", "jsonl").out.splitlines()[0])
    assert (first["id"], first["status"]) == ("agt_acme_2", "active")
    head, *_ = cli("agents", "--format", "csv").out.splitlines()
    assert head == "\ufeffid,name,status,template,position,created_at"


def test_domains_are_listed_one_a_line(cli: Cli) -> None:
    assert cli("domains", "agt_acme_1").out == "site1.agent1.example\nsite2.agent1.example\n"


def test_an_agent_without_domains_is_told(served: Sandbox, cli: Cli) -> None:
    served.add(Workspace("acme", "clf_key_of_acme", (SandboxAgent("agt_1"),)))
    assert cli("domains", "agt_1") == ("", "no domain listed\n")
