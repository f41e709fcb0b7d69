"""The command ``audit``: whole runs, cut ones, and what is refused before the first request."""

import errno
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import distributed
import pytest

from chatloom_async.audit.files import read_audits
from chatloom_async.audit.keys import KeysFile
from chatloom_async.audit.results import WorkspaceAudit
from chatloom_async.contrib import dask
from chatloom_async.models import Gap
from chatloom_async.testing import Fault, Sandbox
from tests.audit.samples import write
from tests.cli.terminals import COMMAND, ROOT, Cli, Failing

TIMES = "\N{MULTIPLICATION SIGN}"
LOST = WorkspaceAudit("beta", gaps=(Gap(None, "APIConnectionError", None, "refused"),))
clusters: Any = distributed


def workspaces_in(path: Path) -> list[str]:
    return sorted(audit.workspace for audit in read_audits(path))


def test_the_demonstration_shows_what_it_has() -> None:
    # As a newcomer runs it: a process of its own, an empty environment.
    command, path = [*COMMAND, "audit", "--sandbox"], {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        command, cwd=ROOT, env=path, capture_output=True, encoding="utf-8", timeout=60, check=True
    )
    assert done.stderr == ""
    for told in ("7 workspaces", "no domain is listed", "InternalServerError"):
        assert told in done.stdout
    assert "former-client   (whole workspace)   AuthenticationError" in done.stdout
    assert "export CHATLOOM_API_KEY" in done.stdout
    last = done.stdout.splitlines()[-1]
    assert "requests, 14 of them retries after" in last
    causes = {"500": 6, "429": 4, "503": 1, "502": 1, "lost connection": 1, "cut answer": 1}
    for cause, count in causes.items():
        assert f"{cause} {TIMES}{count}" in last


@pytest.mark.usefixtures("acme_key")
def test_the_workspace_of_the_environment_is_audited(served: Sandbox, cli: Cli) -> None:
    shown = cli("audit")
    assert "1 workspace " in shown.out
    assert "3 requests, none of them retried" in shown.out
    assert shown.err == ""
    assert served.count(workspace="acme") == 3


@pytest.mark.parametrize("to", ["{out}", "-"])
def test_each_workspace_becomes_one_line(
    served: Sandbox, keys: str, out: Path, to: str, cli: Cli
) -> None:
    shown = cli("audit", keys, "--out", to.format(out=out))
    written, told = (shown.out, shown.err) if to == "-" else (out.read_text(), shown.out)
    begun, *lines, ended = map(json.loads, written.splitlines())
    assert (begun["run"]["workspaces"], begun["run"]["ended_at"]) == (["acme", "beta"], None)
    assert ended["run"]["began_at"] == begun["run"]["began_at"] < ended["run"]["ended_at"]
    assert [each["rule"] for each in ended["run"]["findings"]] == ["shared-domain"] * 4
    assert sorted(line["workspace"] for line in lines) == ["acme", "beta"]
    assert [(line["of"], len(line["agents"])) for line in lines] == [(2, 2), (2, 2)]
    assert "clf_" not in written
    assert "6 requests" in told
    assert served.count() == 6


def test_an_audit_judges_as_it_is_told(served: Sandbox, keys: str, here: Path, cli: Cli) -> None:
    (here / "approved.txt").write_text("# ours\n*.agent1.example\n")
    options = ["--approved", "approved.txt", "--ignore", "shared-domain", "--fail-on", "high"]
    assert "Across" not in cli("audit", keys, "--out", "out", *options, status=1).out
    found = {each.domain for audit in read_audits("out") for each in audit.findings}
    assert found == {"site1.agent2.example", "site2.agent2.example"}
    assert served.count() == 6


def test_final_failures_are_told_apart(served: Sandbox, keys: str, cli: Cli) -> None:
    served.revoke("beta")
    served.plant(Fault.status(503, path="*agt_acme_1*"))
    served.plant(Fault.status(501, path="*agt_acme_2*"))
    shown = cli("audit", keys, "--verbose", "--fail-on", "gap", status=1)
    assert sorted(line for line in shown.err.splitlines() if line[0] in "↻✗✓") == [
        "↻ acme · agt_acme_1: 503",
        "✓ acme · agt_acme_1: answered after 2 requests",
        "✗ acme · agt_acme_2: 501",
        "✗ beta · its agents: 401",
    ]


def test_two_names_for_one_key_are_noted(served: Sandbox, tmp_path: Path, cli: Cli) -> None:
    path = tmp_path / "keys.csv"
    path.write_text("acme,clf_key_of_acme\ncopy,clf_key_of_acme\n")
    assert "'acme' and 'copy' have the same key" in cli("audit", path).err
    assert served.count() == 6


def test_a_resumed_run_judges_anew(served: Sandbox, keys: str, here: Path, cli: Cli) -> None:
    (here / "approved.txt").write_text("elsewhere.example\n")
    command = ["audit", keys, "--out", "out", "--fail-on", "high"]
    cli(*command)
    cli(*command, "--resume", "--approved", "approved.txt", status=1)
    cli(*command, "--resume", "--approved", "approved.txt", "--ignore", "not-approved")
    assert served.count() == 6


def test_an_audit_outlives_its_terminal(
    served: Sandbox, keys: str, out: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Failing(errno.EIO)
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    cli("audit", keys, "--out", out)
    assert workspaces_in(out) == ["acme", "beta"]
    assert served.count() == 6


def test_what_is_missing_is_asked(served: Sandbox, keys: str, out: Path, cli: Cli) -> None:
    gaps = (Gap(None, "AuthenticationError", 401, "no"),)
    kept = WorkspaceAudit("acme", gaps=gaps, read_at=datetime(2026, 3, 1, 12, tzinfo=UTC))
    write(out, kept, LOST)
    out.write_text(f'{out.read_text()}{{"workspace":"be')  # as a killed run leaves it
    shown = cli("audit", keys, "--out", out, "--resume")
    assert {each.workspace: len(each.agents) for each in read_audits(out)} == {"acme": 0, "beta": 2}
    assert served.count(workspace="acme") == 0
    assert f"keeping 1 workspace of {out}, the first of them read 2026-03-01 12:00" in shown.err
    assert "keeping 1 gap too; only a new run (--force) asks again" in shown.err
    assert "reading 1 workspace again, hidden by an outage" in shown.err
    assert "2 workspaces" in shown.out


@pytest.mark.parametrize(
    "arguments",
    [
        ["--out", "new", "--parquet", "new"],
        ["--out", "new", "--parquet", "sub/../new"],
        ["--out", "link", "--parquet", "target"],
        ["--parquet", "keys.toml", "--out", "new", "--resume"],
        ["--out", "hard", "--force"],
        ["--approved", "list", "--out", "list", "--resume"],
        ["--approved", "list", "--parquet", "list", "--out", "new", "--resume"],
    ],
)
def test_no_file_is_written_over_another(
    served: Sandbox, keys: str, here: Path, arguments: list[str], cli: Cli
) -> None:
    (here / "list").write_text("example.com\n")
    (here / "sub").mkdir()
    (here / "link").symlink_to("target")
    (here / "hard").hardlink_to(keys)
    before = {path: path.is_file() and path.read_bytes() for path in here.iterdir()}
    assert "are the same file" in cli("audit", keys, *arguments, status=2).err
    assert {path: path.is_file() and path.read_bytes() for path in here.iterdir()} == before
    assert served.count() == 0


@pytest.fixture
def strange_lists(here: Path) -> None:
    (here / "latin1.txt").write_bytes("bücher.example\n".encode("latin-1"))
    (here / "wrong.txt").write_text("example.com\nhttps://example.com/chat\n")


@pytest.mark.usefixtures("strange_lists")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["audit"], "nothing to audit"),
        (["audit", "none.toml"], "No such file"),
        (["audit", "{keys}", "--out", "/nowhere/at/all"], "/nowhere/at/all"),
        (["audit", "{keys}", "--parquet", "/nowhere/at/all"], "cannot write '/nowhere/at/all'"),
        (["audit", "{keys}", "--approved", "none.txt"], "cannot read approved list 'none.txt'"),
        (["audit", "{keys}", "--approved", "{keys}"], "is it the keys file?"),
        (["audit", "{keys}", "--approved", "latin1.txt"], "is not text: save it as UTF-8"),
        (["audit", "{keys}", "--approved", "wrong.txt"], "'wrong.txt': approved list, line 2"),
        (["audit", "{keys}", "--resume"], "give it with --out FILE"),
        (["audit", "{keys}", "--out", "-", "--format", "csv"], "--out - prints JSON lines"),
        (["audit", "--sandbox", "--dask", "local"], "--dask needs a keys file"),
        (["audit", "{keys}", "--resume", "--out", "x", "--force"], "take one"),
        (["audit", "{keys}", "--dask", "x", "--proxy", "http://x"], "workers make the requests"),
        (["audit", "{keys}", "--proxy", "socks5://x"], "not an HTTP proxy"),
        (["diff", "none", "none"], "No such file"),
        (["report", "none", "--html", "x.html"], "No such file"),
        (["report", "{keys}", "--html", "x.html"], "line 1"),
        (["sandbox", "--port", "99999"], "up to 65535"),
        (["sandbox", "--port", "http"], "up to 65535"),
        (["sandbox", "--keys", "/nowhere/at/all"], "cannot write '/nowhere/at/all'"),
        (["agents"], "no API key"),
        (["domains", ".."], "no API key"),
    ],
)
def test_what_cannot_work_is_told_before_any_request(
    served: Sandbox, keys: str, arguments: list[str], told: str, cli: Cli
) -> None:
    shown = cli(*(argument.format(keys=keys) for argument in arguments), status=2)
    assert told in shown.err
    assert "clf_" not in shown.err.replace("starts with clf_", "")
    assert "Traceback" not in shown.err
    assert shown.out == ""
    assert served.count() == 0


@pytest.mark.usefixtures("served")
def test_a_wrong_key_in_the_environment_is_refused(
    monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    monkeypatch.setenv("CHATLOOM_API_KEY", "sk_secret")
    told = cli("audit", status=2).err
    assert "CHATLOOM_API_KEY: an API key starts with clf_" in told
    assert "sk_secret" not in told


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("option", "package"), [("parquet", "pyarrow"), ("dask", "distributed")])
def test_a_missing_extra_is_named(
    served: Sandbox, keys: str, option: str, package: str, cli: Cli
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, f"chatloom_async.contrib.{option}", None)
        shown = cli("audit", keys, f"--{option}", "local", status=2)
    told = f"--{option} needs {package}: pip install 'chatloom_async[{option}]'"
    assert shown.err == f"chatloom-async: {told}\n"
    assert served.count() == 0


def test_an_audit_runs_on_a_cluster(served: Sandbox, keys: str, out: Path, cli: Cli) -> None:
    options = {"protocol": "tcp", "dashboard_address": ":0", "silence_logs": 50}
    with clusters.LocalCluster(n_workers=1, processes=False, **options) as cluster:
        shown = cli("audit", keys, "--dask", cluster.scheduler_address, "--out", out)
    assert workspaces_in(out) == ["acme", "beta"]
    assert "6 requests, 0 of them retries" in shown.out
    assert served.count() == 6


@pytest.mark.usefixtures("here")
def test_a_scheduler_without_workers_is_told(served: Sandbox, keys: str, cli: Cli) -> None:
    results = MagicMock(places=0)
    results.__aenter__.return_value = results

    def audit_on(_cluster: str, _names: list[str], source: KeysFile, **_: object) -> MagicMock:
        assert source == KeysFile(keys)  # its whole path: workers run elsewhere
        assert "resource_tracker" in os.environ["PYTHONWARNINGS"]  # silent, if ended at once
        return results

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dask, "audit_on", audit_on)
        patch.setattr(os, "environ", {**os.environ})
        shown = cli("audit", "keys.toml", "--dask", "tcp://127.0.0.1:1")
    assert "the scheduler at tcp://127.0.0.1:1 has no workers yet" in shown.err
    assert served.count() == 0


@pytest.mark.parametrize(
    "wrong", ["--proxy=socks5://x", "--parquet=/nowhere/at/all", "--dask=tcp://127.0.0.1:1"]
)
def test_a_run_that_cannot_start_replaces_nothing(
    served: Sandbox, keys: str, out: Path, wrong: str, cli: Cli
) -> None:
    write(out, WorkspaceAudit("old"))
    before = out.read_bytes()
    assert "exists; resume it" in cli("audit", keys, "--out", out, status=2).err
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "chatloom_async.contrib.dask", None)
        cli("audit", keys, "--out", out, "--force", wrong, status=2)
        cli("audit", keys, "--out", out.with_name("new"), wrong, status=2)
    assert out.read_bytes() == before
    cli("audit", keys, "--out", out, "--force")
    cli("audit", keys, "--out", out.with_name("new"))
    assert workspaces_in(out) == ["acme", "beta"]
    assert served.count() == 12
