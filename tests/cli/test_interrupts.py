"""Ctrl-C, SIGTERM and SIGHUP, once and twice."""

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from chatloom_async.audit.files import read_audits
from chatloom_async.client import AsyncChatloom
from chatloom_async.testing import Fault, Sandbox, demo_workspaces
from tests.cli.terminals import Cli, CtrlC, started


def test_ctrl_c_shows_the_tables_of_what_was_read(
    served: Sandbox, keys: str, out: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    served.plant(Fault.hang(workspace="beta", times=None))
    served.plant(Fault.status(503, path="*agt_acme_1*", retry_after="0.01"))
    log = CtrlC(at="✓ acme")
    monkeypatch.setattr(sys, "stderr", log)
    assert "Workspaces" in cli("audit", keys, "--out", out, "--verbose", status=130).out
    last = f"interrupted: 1 workspace complete in {out}; go on with --resume\n"
    if log.getvalue().endswith(last):  # else the answer came before the workspace was complete
        assert [each.workspace for each in read_audits(out)] == ["acme"]
    assert "interrupted: " in log.getvalue()


def test_ctrl_c_leaves_whole_lines(monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    monkeypatch.delenv("CHATLOOM_API_KEY", raising=False)
    shown = CtrlC(at='"workspace":')
    monkeypatch.setattr(sys, "stdout", shown)
    told = cli("audit", "--sandbox", "--out", "-", status=130).err
    assert told == "interrupted: 1 workspace complete\n"
    _, line = map(json.loads, shown.getvalue().splitlines())
    assert line["workspace"] in {each.name for each in demo_workspaces()}


@pytest.mark.usefixtures("acme_key")
def test_ctrl_c_ends_a_command_with_130(monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    async def list_agents(_: object) -> NoReturn:
        signal.raise_signal(signal.SIGINT)
        await asyncio.Event().wait()
        raise AssertionError("not interrupted")

    monkeypatch.setattr(AsyncChatloom, "list_agents", list_agents)
    assert cli("agents", status=130).err == "chatloom-async: interrupted\n"


def test_ctrl_c_ends_what_waits_outside_a_loop(monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    def read(_: object) -> object:
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("not interrupted")

    monkeypatch.setattr("chatloom_async.cli.audit.make_run", read)
    cli("audit", "-", status=130)


async def test_handlers_come_back_and_threads_have_none(cli: Cli) -> None:
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    cli("--nothing", status=2)
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
    await asyncio.to_thread(cli, "--nothing", status=2)


@pytest.mark.parametrize("names", ["SIGINT", "SIGTERM", "SIGHUP", "SIGTERM SIGINT"])
def test_a_hanging_audit_is_gone_with_130(served: Sandbox, keys: str, names: str) -> None:
    served.plant(Fault.hang(workspace="beta", times=None))
    with started("audit", keys, "--out", "-") as audit:
        assert audit.stdout is not None
        assert audit.stderr is not None
        assert json.loads(audit.stdout.readline())["run"]["ended_at"] is None
        assert json.loads(audit.stdout.readline())["workspace"] == "acme"
        for name in names.split():
            audit.send_signal(signal.Signals[name])
        assert audit.wait(20) == 130
        assert len(audit.stderr.read().splitlines()) <= 1
