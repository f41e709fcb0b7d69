"""The command ``sandbox``."""

import signal
import socket
import sys
from pathlib import Path

import pytest

from chatloom_async.audit.keys import KeysFile
from tests.cli.terminals import Cli, CtrlC, started


def test_a_port_that_is_taken_is_told(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        told = cli("sandbox", "--port", taken.getsockname()[1], status=2).err
    assert told.endswith(": choose another --port\n")


def test_the_sandbox_prints_what_to_export_and_serves_it(
    monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    with started("sandbox") as server:
        assert server.stdout is not None
        assert server.stderr is not None
        for _ in range(2):
            name, _, value = server.stdout.readline().strip().removeprefix("export ").partition("=")
            monkeypatch.setenv(name, value)
        assert "sandbox --keys demo.toml, then audit demo.toml" in server.stdout.readline()
        assert "agt_brightleaf_11" in cli("agents").out
        server.send_signal(signal.SIGINT)
        assert server.wait() == 0
        assert server.stderr.read() == "chatloom-async: sandbox stopped\n"


def test_a_keys_file_that_exists_is_written_over_only_by_force(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cli: Cli
) -> None:
    path = tmp_path / "the keys.toml"
    path.write_text('acme = "clf_shown_once"\n')
    told = cli("sandbox", "--keys", path, status=2).err
    assert "exists; write to another file, or replace it: --force" in told
    assert path.read_text() == 'acme = "clf_shown_once"\n'
    for force in (["--force"], []):  # what it wrote itself is not in its way
        shown = CtrlC(at="until Ctrl-C")
        monkeypatch.setattr(sys, "stdout", shown)
        cli("sandbox", "--keys", path, *force)
        assert f"chatloom-async audit '{path}'" in shown.getvalue()
        assert len(KeysFile(str(path)).read()) == 7
