"""The command ``audit`` where a run is cut, repeated, broken or pointed at the wrong file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chatloom_async.audit.log import AuditLog, read_audits
from chatloom_async.audit.values import Gap, WorkspaceAudit
from chatloom_async.cli import main
from chatloom_async.testing import Sandbox, make_workspace

Captured = pytest.CaptureFixture[str]

LOST = WorkspaceAudit("beta", gaps=(Gap(None, "APIConnectionError", None, "refused"),))


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Two workspaces with two agents each, served; no key in the environment."""
    workspaces = [make_workspace(name, f"clf_key_of_{name}", agents=2) for name in ("acme", "beta")]
    with Sandbox(workspaces).in_thread() as server:
        monkeypatch.setenv("CHATLOOM_BASE_URL", server.base_url)
        monkeypatch.delenv("CHATLOOM_API_KEY", raising=False)
        yield server


@pytest.fixture
def keys(tmp_path: Path) -> str:
    path = tmp_path / "keys.toml"
    path.write_text('acme = "clf_key_of_acme"\nbeta = "clf_key_of_beta"\n')
    return str(path)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def write(path: Path, *audits: WorkspaceAudit) -> None:
    with AuditLog.open(path) as log:
        for audit in audits:
            log.append(audit)


# Cut runs


def test_a_resumed_run_reads_again_what_an_outage_hid_and_tells_so(
    served: Sandbox, keys: str, out: Path, capsys: Captured
) -> None:
    write(out, WorkspaceAudit("acme"), LOST)
    assert main(["audit", keys, "--out", str(out), "--resume"]) == 0
    assert {each.workspace: len(each.agents) for each in read_audits(out)} == {"acme": 0, "beta": 2}
    assert served.count(workspace="acme") == 0
    shown = capsys.readouterr()
    assert "reading 1 workspace again, hidden by an outage" in shown.err
    assert "2 workspaces" in shown.out
