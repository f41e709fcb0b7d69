"""The command ``audit`` where a run is cut, repeated, broken or pointed at the wrong file."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import NoReturn, Self

import pytest
from attrs import evolve
from pyarrow import parquet

from chatloom_async.audit.files import AuditLog, read_audits
from chatloom_async.audit.keys import KeysFile
from chatloom_async.audit.results import Finding, Gap, WorkspaceAudit
from chatloom_async.cli import diff as diff_command
from chatloom_async.cli.audit import Run
from chatloom_async.cli.main import main
from chatloom_async.cli.plan import Plan
from chatloom_async.contrib import dask
from chatloom_async.contrib.parquet import ParquetFile
from chatloom_async.errors import ConfigurationError
from chatloom_async.testing import Fault, Sandbox, SandboxAgent, Workspace

Captured = pytest.CaptureFixture[str]

LOST = WorkspaceAudit("beta", gaps=(Gap(None, "APIConnectionError", None, "refused"),))


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


def test_a_workspace_that_a_cut_run_did_not_come_to_is_not_called_removed(
    served: Sandbox, keys: str, tmp_path: Path, out: Path, capsys: Captured
) -> None:
    assert main(["audit", keys, "--out", str(out)]) == 0
    assert served.count() == 6
    cut = tmp_path / "cut.jsonl"
    cut.write_text(out.read_text().partition("\n")[0] + "\n")
    capsys.readouterr()
    assert main(["diff", str(out), str(cut)]) == 0
    shown = capsys.readouterr()
    assert "removed" not in shown.out
    assert "its agents, in the new audit" in shown.out
    assert f"{cut} is of a run that was cut" in shown.err
    assert str(out) not in shown.err


def test_a_workspace_missing_from_a_complete_run_is_removed(
    served: Sandbox, keys: str, tmp_path: Path, out: Path, capsys: Captured
) -> None:
    assert main(["audit", keys, "--out", str(out)]) == 0
    assert served.count() == 6
    new = tmp_path / "new.jsonl"
    Path(keys).write_text('beta = "clf_key_of_beta"\n')
    assert main(["audit", keys, "--out", str(new)]) == 0
    capsys.readouterr()
    assert main(["diff", str(out), str(new)]) == 1
    shown = capsys.readouterr()
    assert "workspace removed" in shown.out
    assert shown.err == ""


def interrupted(log: str | None, printed: str) -> None:
    plan = Plan({}, "", "https://chatloom.app", None, log, printed)
    run = Run(plan, verbose=False)
    run.overview.add(LOST)
    run.tell_interrupted()


def test_an_interrupted_run_shows_what_it_has_read_when_no_file_has_it(capsys: Captured) -> None:
    interrupted(None, "table")
    shown = capsys.readouterr()
    assert "beta" in shown.out
    assert "interrupted: 1 workspace complete" in shown.err


@pytest.mark.parametrize(("log", "printed"), [("out.jsonl", "table"), (None, "csv")])
def test_an_interrupted_run_shows_nothing_that_is_written_already(
    log: str | None, printed: str, capsys: Captured
) -> None:
    interrupted(log, printed)
    assert capsys.readouterr().out == ""


# Files


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
def test_no_file_is_written_that_is_read_or_written_otherwise(  # noqa: PLR0913, PLR0917 - fixtures
    served: Sandbox,
    keys: str,
    tmp_path: Path,
    arguments: list[str],
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list").write_text("example.com\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "link").symlink_to("target")
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.iterdir()}
    assert main(["audit", keys, *arguments]) == 2
    assert "are the same file" in capsys.readouterr().err
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.iterdir()} == before
    assert served.count() == 0


def test_a_run_refused_for_its_out_file_leaves_the_parquet_file_alone(
    served: Sandbox, keys: str, tmp_path: Path, out: Path
) -> None:
    out.write_text("something\n")
    assert main(["audit", keys, "--out", str(out), "--parquet", str(tmp_path / "p")]) == 2
    assert not (tmp_path / "p").exists()
    assert served.count() == 0


def test_an_existing_parquet_file_is_not_overwritten(
    served: Sandbox, keys: str, tmp_path: Path, out: Path, capsys: Captured
) -> None:
    (tmp_path / "p").write_text("something\n")
    assert main(["audit", keys, "--out", str(out), "--parquet", str(tmp_path / "p")]) == 2
    assert "exists; write to another file" in capsys.readouterr().err
    assert (tmp_path / "p").read_text() == "something\n"
    assert not out.exists()
    assert served.count() == 0


def test_a_resumed_run_writes_the_parquet_file_anew_with_everything(
    served: Sandbox, keys: str, tmp_path: Path, out: Path
) -> None:
    command = ["audit", keys, "--out", str(out), "--parquet", str(tmp_path / "p")]
    assert main(command) == 0
    assert main([*command, "--resume"]) == 0
    assert parquet.read_table(tmp_path / "p").num_rows == 4
    assert served.count() == 6


def test_a_report_does_not_replace_its_audit(out: Path, capsys: Captured) -> None:
    write(out, WorkspaceAudit("acme"))
    before = out.read_bytes()
    assert main(["report", str(out), "--html", f"{out.parent}/./{out.name}"]) == 2
    assert "would write over the audit" in capsys.readouterr().err
    assert out.read_bytes() == before


# Exit status


def test_an_unexpected_error_does_not_look_like_something_found(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def broken(_: object) -> int:
        raise LookupError("nobody thought of this")

    monkeypatch.setattr(diff_command, "diff", broken)
    assert main(["diff", "old", "new"]) == 2
    assert "LookupError: nobody thought of this" in capsys.readouterr().err


def test_a_severity_of_a_later_release_ends_no_command(
    served: Sandbox, keys: str, out: Path, tmp_path: Path
) -> None:
    finding = Finding("later-rule", "low", None, None, "of a later release")
    write(out, WorkspaceAudit("acme", findings=(finding,)))
    out.write_text(out.read_text().replace('"low"', '"critical"'))
    page = tmp_path / "page.html"
    assert main(["report", str(out), "--html", str(page)]) == 0
    assert main(["audit", keys, "--out", str(out), "--resume", "--fail-on", "medium"]) == 0
    assert '"critical"' in out.read_text()
    assert served.count() == 3


def test_a_parquet_file_for_which_there_is_no_room_is_named(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="limits of Unix")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    finding = Finding("url", "low", None, None, "…")
    many = WorkspaceAudit("acme", findings=tuple(evolve(finding, rule=str(n)) for n in range(9999)))
    file = ParquetFile(tmp_path / "p")
    file.add(many)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match="/p'"):
            file.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# Dask


def test_workers_are_given_the_whole_path_of_the_keys_file(
    served: Sandbox, keys: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[object] = []

    def audit_on(_cluster: str, _names: list[str], source: KeysFile, **_: object) -> NoReturn:
        given.append(source)
        raise ConfigurationError("seen")

    monkeypatch.setattr(dask, "audit_on", audit_on)
    monkeypatch.chdir(tmp_path)
    assert main(["audit", "keys.toml", "--dask", "tcp://127.0.0.1:1"]) == 2
    assert given == [KeysFile(keys)]
    assert served.count() == 0


# CSV


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("=1+1", "'=1+1"),
        (" =1+1", "' =1+1"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("\uff0b1", "'\uff0b1"),
        ("\uff0d1", "'\uff0d1"),
        ("\uff20sum(1)", "'\uff20sum(1)"),
        ("\n=1+1", "\\n=1+1"),
        ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
        ("\u202egnp", "\\u202egnp"),
        ("Beta & Söhne", "Beta & Söhne"),
        ("\ud800", "\\ud800"),
    ],
)
@pytest.mark.parametrize("command", ["audit", "agents"])
def test_a_cell_gives_no_orders_to_a_spreadsheet_or_terminal(  # noqa: PLR0913, PLR0917 - fixtures
    served: Sandbox,
    command: str,
    name: str,
    cell: str,
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CHATLOOM_API_KEY", "clf_key_of_acme")
    served.add(Workspace("acme", "clf_key_of_acme", (SandboxAgent("a1", name),)))
    assert main([command, "--format", "csv"]) == 0
    first, *_ = csv.DictReader(io.StringIO(capsys.readouterr().out, newline=""))
    assert (first["name"] or "") == cell


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


def test_a_scheduler_without_workers_is_told(
    served: Sandbox, keys: str, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr(dask, "audit_on", lambda *_, **__: NoWorkers())
    assert main(["audit", keys, "--dask", "tcp://127.0.0.1:1"]) == 0
    assert "the scheduler at tcp://127.0.0.1:1 has no workers yet" in capsys.readouterr().err
    assert served.count() == 0


# Keys among the arguments


@pytest.mark.parametrize(
    "argument",
    [
        "clf_4711",
        "'clf_4711'",
        '"clf_4711',
        "Bearer:clf_4711",
        "--clf_4711",
        "-kclf_4711",
        "(clf_4711",
    ],
)
@pytest.mark.parametrize("before", [["audit"], ["audit", "--fail-on"], ["domains", "a"], []])
def test_a_key_among_the_arguments_is_refused_and_not_repeated(
    before: list[str], argument: str, capsys: Captured
) -> None:
    assert main([*before, argument]) == 2
    shown = capsys.readouterr()
    assert "an API key does not belong on the command line" in shown.err
    assert "4711" not in shown.err + shown.out


@pytest.mark.parametrize("path", ["my_clf_keys.toml", "/srv/clf_keys.toml", "./clf_keys.toml"])
def test_a_file_may_be_named_after_the_prefix_of_keys(path: str, capsys: Captured) -> None:
    assert main(["audit", path]) == 2
    assert "No such file" in capsys.readouterr().err


def test_a_failure_that_nothing_follows_is_told_apart_from_one_that_is_repeated(
    served: Sandbox, keys: str, capsys: Captured
) -> None:
    served.revoke("beta")
    served.plant(Fault.status(503, path="*agt_acme_1*"))
    served.plant(Fault.status(501, path="*agt_acme_2*"))
    assert main(["audit", keys, "--verbose"]) == 0
    told = sorted(line for line in capsys.readouterr().err.splitlines() if line[0] in "↻✗✓")
    assert [line.partition(" · ")[0][0] + line.rpartition(": ")[2] for line in told] == [
        "↻503",
        "✓answered after 2 requests",
        "✗501",
        "✗401",
    ]
