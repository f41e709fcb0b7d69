"""The command ``sandbox``."""

import signal
import socket
import sys
from pathlib import Path

import pytest

from chatloom_async.audit.keys import KeysFile
from chatloom_async.cli.main import main
from tests.cli.terminals import CtrlC, started

Captured = pytest.CaptureFixture[str]


def test_a_port_that_is_taken_is_told(capsys: Captured) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["sandbox", "--port", str(taken.getsockname()[1])]) == 2
    told = capsys.readouterr().err
    assert told.endswith(": choose another --port\n")


def test_the_sandbox_prints_what_to_export_and_serves_it(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    with started("sandbox") as server:
        assert server.stdout is not None
        assert server.stderr is not None
        for _ in range(2):
            name, _, value = server.stdout.readline().strip().removeprefix("export ").partition("=")
            monkeypatch.setenv(name, value)
        assert "sandbox --keys demo.toml, then audit demo.toml" in server.stdout.readline()
        assert main(["agents"]) == 0
        server.send_signal(signal.SIGINT)
        assert server.wait() == 0
        assert server.stderr.read() == "chatloom-async: sandbox stopped\n"
    assert "agt_brightleaf_11" in capsys.readouterr().out


def test_a_keys_file_that_exists_is_written_over_only_by_force(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Captured
) -> None:
    path = tmp_path / "the keys.toml"
    path.write_text('acme = "clf_shown_once"\n')
    assert main(["sandbox", "--keys", str(path)]) == 2
    assert "exists; write to another file, or replace it: --force" in capsys.readouterr().err
    assert path.read_text() == 'acme = "clf_shown_once"\n'
    for force in (["--force"], []):  # what it wrote itself is not in its way
        shown = CtrlC(at="until Ctrl-C")
        monkeypatch.setattr(sys, "stdout", shown)
        assert main(["sandbox", "--keys", str(path), *force]) == 0
        assert f"chatloom-async audit '{path}'" in shown.getvalue()
        assert len(KeysFile(str(path)).read()) == 7
