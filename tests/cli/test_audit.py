"""The command ``audit``: whole runs, cut ones, and what is refused before the first request."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn, Self

import distributed
import pytest

from chatloom_async.audit.files import read_audits
from chatloom_async.audit.keys import KeysFile
from chatloom_async.audit.results import Finding, WorkspaceAudit
from chatloom_async.cli.main import main
from chatloom_async.contrib import dask
from chatloom_async.models import Gap
from chatloom_async.testing import Fault, Sandbox, SandboxAgent, Workspace
from tests.audit.samples import write
from tests.cli.terminals import COMMAND, ROOT

TIMES = "\N{MULTIPLICATION SIGN}"
LOST = WorkspaceAudit("beta", gaps=(Gap(None, "APIConnectionError", None, "refused"),))
Captured = pytest.CaptureFixture[str]
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


def test_a_keys_file_is_audited(served: Sandbox, keys: str, capsys: Captured) -> None:
    assert main(["audit", keys]) == 0
    shown = capsys.readouterr()
    assert "2 workspaces" in shown.out
    assert "6 requests, none of them retried" in shown.out
    assert shown.err == ""
    assert served.count() == 6


@pytest.mark.usefixtures("acme_key")
def test_the_workspace_of_the_environment_is_audited(served: Sandbox, capsys: Captured) -> None:
    assert main(["audit"]) == 0
    assert "1 workspace " in capsys.readouterr().out
    assert served.count(workspace="acme") == 3


@pytest.mark.parametrize("to", ["{out}", "-"])
def test_each_workspace_becomes_one_line(
    served: Sandbox, keys: str, out: Path, to: str, capsys: Captured
) -> None:
    assert main(["audit", keys, "--out", to.format(out=out)]) == 0
    shown = capsys.readouterr()
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


def test_ignored_rules_are_untold(served: Sandbox, keys: str, out: Path, capsys: Captured) -> None:
    agent = SandboxAgent("agt_1", domains=("localhost", "s.example"))
    for name in ("acme", "beta"):
        served.add(Workspace(name, f"clf_key_of_{name}", (agent,)))
    ignored = ["--ignore", "private-address", "--ignore", "shared-domain"]
    assert main(["audit", keys, "--out", str(out), "--fail-on", "low", *ignored]) == 0
    assert "Findings" not in capsys.readouterr().out
    assert [each.findings for each in read_audits(out)] == [(), ()]


def test_unapproved_domains_are_found(
    served: Sandbox, keys: str, tmp_path: Path, out: Path
) -> None:
    approved = tmp_path / "approved.txt"
    approved.write_text("# ours\n*.agent1.example\n")
    command = ["audit", keys, "--approved", str(approved), "--out", str(out), "--fail-on", "high"]
    assert main(command) == 1
    found = {each.domain for audit in read_audits(out) for each in audit.findings}
    assert found == {"site1.agent2.example", "site2.agent2.example"}
    assert served.count() == 6


def test_final_failures_are_told_apart(served: Sandbox, keys: str, capsys: Captured) -> None:
    served.revoke("beta")
    served.plant(Fault.status(503, path="*agt_acme_1*"))
    served.plant(Fault.status(501, path="*agt_acme_2*"))
    assert main(["audit", keys, "--verbose", "--fail-on", "gap"]) == 1
    told = [line for line in capsys.readouterr().err.splitlines() if line[0] in "↻✗✓"]
    assert sorted(told) == [
        "↻ acme · agt_acme_1: 503",
        "✓ acme · agt_acme_1: answered after 2 requests",
        "✗ acme · agt_acme_2: 501",
        "✗ beta · its agents: 401",
    ]


def test_two_names_for_one_key_are_noted(served: Sandbox, tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "keys.csv"
    path.write_text("acme,clf_key_of_acme\ncopy,clf_key_of_acme\n")
    assert main(["audit", str(path)]) == 0
    assert "'acme' and 'copy' have the same key" in capsys.readouterr().err
    assert served.count() == 6


def test_what_is_missing_is_asked(served: Sandbox, keys: str, out: Path, capsys: Captured) -> None:
    main(["audit", keys, "--out", str(out)])
    run, first, second, _ = out.read_text().splitlines()
    out.write_text(f"{run}\n{first}\n{second[:50]}")
    before = served.count()
    capsys.readouterr()
    assert main(["audit", keys, "--out", str(out), "--resume"]) == 0
    assert workspaces_in(out) == ["acme", "beta"]
    assert served.count() - before == 3
    shown = capsys.readouterr()
    assert "2 workspaces" in shown.out
    assert re.search(r"keeping 1 workspace of .*, the first of them read 20\d\d-", shown.err)


def test_a_resumed_run_judges_anew(served: Sandbox, keys: str, tmp_path: Path, out: Path) -> None:
    approved = tmp_path / "approved.txt"
    approved.write_text("elsewhere.example\n")
    assert main(["audit", keys, "--out", str(out), "--fail-on", "high"]) == 0
    command = ["audit", keys, "--out", str(out), "--resume", "--approved", str(approved)]
    assert main([*command, "--fail-on", "high"]) == 1
    assert main([*command, "--fail-on", "high", "--ignore", "not-approved"]) == 0
    assert served.count() == 6


def test_force_begins_a_file_anew(served: Sandbox, keys: str, out: Path) -> None:
    write(out, WorkspaceAudit("old"))
    assert main(["audit", keys, "--out", str(out), "--force"]) == 0
    assert workspaces_in(out) == ["acme", "beta"]
    assert served.count() == 6


def test_an_outage_is_asked_again(served: Sandbox, keys: str, out: Path, capsys: Captured) -> None:
    write(out, WorkspaceAudit("acme"), LOST)
    assert main(["audit", keys, "--out", str(out), "--resume"]) == 0
    assert {each.workspace: len(each.agents) for each in read_audits(out)} == {"acme": 0, "beta": 2}
    assert served.count(workspace="acme") == 0
    shown = capsys.readouterr()
    assert "reading 1 workspace again, hidden by an outage" in shown.err
    assert "2 workspaces" in shown.out


@pytest.mark.parametrize(
    "arguments",
    [
        ["--out", "new", "--parquet", "new"],
        ["--out", "new", "--parquet", "sub/../new"],
        ["--out", "link", "--parquet", "target"],
        ["--parquet", "keys.toml", "--out", "new", "--resume"],
        ["--approved", "list", "--out", "list", "--resume"],
        ["--approved", "list", "--parquet", "list", "--out", "new", "--resume"],
    ],
)
def test_no_file_is_written_over_another(
    served: Sandbox, keys: str, here: Path, arguments: list[str], capsys: Captured
) -> None:
    (here / "list").write_text("example.com\n")
    (here / "sub").mkdir()
    (here / "link").symlink_to("target")
    before = {path: path.is_file() and path.read_bytes() for path in here.iterdir()}
    assert main(["audit", keys, *arguments]) == 2
    assert "are the same file" in capsys.readouterr().err
    assert {path: path.is_file() and path.read_bytes() for path in here.iterdir()} == before
    assert served.count() == 0


def test_a_refused_run_leaves_files_alone(
    served: Sandbox, keys: str, out: Path, capsys: Captured
) -> None:
    out.write_text("something\n")
    parquet = out.with_name("p")
    assert main(["audit", keys, "--out", str(out), "--parquet", str(parquet)]) == 2
    assert "exists; resume it" in capsys.readouterr().err
    assert out.read_text() == "something\n"
    assert not parquet.exists()
    assert served.count() == 0


def test_an_unknown_severity_is_kept(served: Sandbox, keys: str, out: Path, tmp_path: Path) -> None:
    finding = Finding("later-rule", "low", None, None, "of a later release")
    write(out, WorkspaceAudit("acme", findings=(finding,)))
    out.write_text(out.read_text().replace('"low"', '"critical"'))
    page = tmp_path / "page.html"
    assert main(["report", str(out), "--html", str(page)]) == 0
    assert main(["audit", keys, "--out", str(out), "--resume", "--fail-on", "medium"]) == 0
    assert '"critical"' in out.read_text()
    assert served.count() == 3


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
    served: Sandbox, keys: str, arguments: list[str], told: str, capsys: Captured
) -> None:
    assert main([argument.format(keys=keys) for argument in arguments]) == 2
    shown = capsys.readouterr()
    assert told in shown.err
    assert "clf_" not in shown.err.replace("starts with clf_", "")
    assert "Traceback" not in shown.err
    assert shown.out == ""
    assert served.count() == 0


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("BASE_URL", "http://chatloom.app", "http would send the key in the clear"),
        ("API_KEY", "sk_secret", "CHATLOOM_API_KEY: an API key starts with clf_"),
    ],
)
def test_a_wrong_environment_is_refused(
    served: Sandbox, name: str, value: str, told: str, capsys: Captured
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHATLOOM_API_KEY", "clf_key_of_acme")
        patch.setenv(f"CHATLOOM_{name}", value)
        assert main(["audit"]) == 2
    shown = capsys.readouterr().err
    assert told in shown
    assert "sk_secret" not in shown
    assert served.count() == 0


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("option", "package"), [("parquet", "pyarrow"), ("dask", "distributed")])
def test_a_missing_extra_is_named(
    served: Sandbox, keys: str, option: str, package: str, capsys: Captured
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, f"chatloom_async.contrib.{option}", None)
        assert main(["audit", keys, f"--{option}", "local"]) == 2
    told = f"--{option} needs {package}: pip install 'chatloom_async[{option}]'"
    assert capsys.readouterr().err == f"chatloom-async: {told}\n"
    assert served.count() == 0


def test_an_audit_runs_on_a_cluster(
    served: Sandbox, keys: str, out: Path, capsys: Captured
) -> None:
    with clusters.LocalCluster(
        n_workers=1,
        threads_per_worker=4,
        processes=False,
        protocol="tcp",
        dashboard_address=":0",
        silence_logs=50,
    ) as cluster:
        command = ["audit", keys, "--dask", cluster.scheduler_address, "--out", str(out)]
        assert main(command) == 0
    assert workspaces_in(out) == ["acme", "beta"]
    assert "6 requests, 0 of them retries" in capsys.readouterr().out
    assert served.count() == 6


class NoWorkers:
    """What ``audit_on`` returns where there is nobody to work; it ends at once."""

    places = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> NoReturn:
        raise StopAsyncIteration


@pytest.mark.usefixtures("here")
def test_a_scheduler_without_workers_is_told(served: Sandbox, keys: str, capsys: Captured) -> None:
    def audit_on(_cluster: str, _names: list[str], source: KeysFile, **_: object) -> NoWorkers:
        assert source == KeysFile(keys)  # its whole path: workers run elsewhere
        return NoWorkers()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dask, "audit_on", audit_on)
        assert main(["audit", "keys.toml", "--dask", "tcp://127.0.0.1:1"]) == 0
    assert "the scheduler at tcp://127.0.0.1:1 has no workers yet" in capsys.readouterr().err
    assert served.count() == 0


@pytest.mark.parametrize(
    "wrong", ["--proxy=socks5://x", "--parquet=/nowhere/at/all", "--dask=tcp://127.0.0.1:1"]
)
def test_a_run_that_cannot_start_replaces_nothing(
    served: Sandbox, keys: str, out: Path, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "chatloom_async.contrib.dask", None)
    write(out, WorkspaceAudit("old"))
    before = out.read_bytes()
    assert main(["audit", keys, "--out", str(out), "--force", wrong]) == 2
    assert out.read_bytes() == before
    new = ["audit", keys, "--out", str(out.with_name("new.jsonl"))]
    assert [main([*new, wrong]), main(new)] == [2, 0]
    assert served.count() == 6
