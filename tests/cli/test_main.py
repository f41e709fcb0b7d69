import csv
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import distributed
import pytest
from pyarrow import parquet

from chatloom_async import APIConnectionError, AsyncChatloom
from chatloom_async.audit.files import dump_audit, read_audits
from chatloom_async.audit.keys import KeysFile
from chatloom_async.audit.results import AuditedAgent, Gap, WorkspaceAudit
from chatloom_async.audit.text import duration
from chatloom_async.cli.main import main
from chatloom_async.cli.progress import PlainProgress, RichProgress, Standing, progress
from chatloom_async.cli.tables import Table, draw
from chatloom_async.cli.tally import Tally
from chatloom_async.testing import (
    FakeClock,
    Fault,
    Sandbox,
    SandboxAgent,
    StubReply,
    StubTransport,
    Workspace,
    demo_workspaces,
    make_workspace,
)

COMMAND = "import sys; from chatloom_async.cli.main import main; sys.exit(main())"
TIMES = "\N{MULTIPLICATION SIGN}"
HOSTILE = "[bold]\x1b[2J\u202egnp\ud800\nred[/bold]"

dask: Any = distributed
Captured = pytest.CaptureFixture[str]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class CtrlC(io.StringIO):
    """A stream whose reader presses Ctrl-C on seeing this text."""

    def __init__(self, at: str) -> None:
        super().__init__()
        self.at = at

    def write(self, text: str) -> int:
        written = super().write(text)
        if self.at in text:
            signal.raise_signal(signal.SIGINT)
        return written


def uninstall(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """Let these modules be missing."""
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)


def workspace_of(row: dict[str, str]) -> str:
    return row["workspace"]


def workspaces_in(path: Path) -> list[str]:
    return sorted(audit.workspace for audit in read_audits(path))


# The demonstration


@pytest.fixture(scope="module")
def demonstration() -> subprocess.CompletedProcess[str]:
    """The demonstration as a user runs it: a process of its own, an empty environment."""
    return subprocess.run(
        [sys.executable, "-c", COMMAND, "audit", "--sandbox"],
        cwd=Path(__file__).parents[2],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def test_the_demonstration_ends_well_without_a_key(
    demonstration: subprocess.CompletedProcess[str],
) -> None:
    assert demonstration.returncode == 0
    assert demonstration.stderr == ""


def test_the_demonstration_shows_workspaces_findings_and_gaps(
    demonstration: subprocess.CompletedProcess[str],
) -> None:
    shown = demonstration.stdout
    assert "7 workspaces" in shown
    assert "no domain is listed" in shown
    assert "former-client  (whole workspace)  AuthenticationError" in shown
    assert "InternalServerError" in shown


def test_the_last_line_of_the_demonstration_counts_the_retries(
    demonstration: subprocess.CompletedProcess[str],
) -> None:
    last = demonstration.stdout.splitlines()[-1]
    assert "requests, 14 of them retries after" in last
    causes = {"500": 6, "429": 4, "503": 1, "502": 1, "lost connection": 1, "cut answer": 1}
    for cause, count in causes.items():
        assert f"{cause} {TIMES}{count}" in last


def test_ctrl_c_ends_the_demonstration_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.delenv("CHATLOOM_API_KEY", raising=False)
    shown = CtrlC(at='"workspace"')
    monkeypatch.setattr(sys, "stdout", shown)
    assert main(["audit", "--sandbox", "--out", "-"]) == 130
    assert json.loads(shown.getvalue())["workspace"] in {each.name for each in demo_workspaces()}
    assert capsys.readouterr().err == "\ninterrupted: 1 workspace complete\n"


def test_the_demonstration_tells_the_next_step(
    demonstration: subprocess.CompletedProcess[str],
) -> None:
    assert "export CHATLOOM_API_KEY" in demonstration.stdout


# audit


def test_a_keys_file_is_audited(served: Sandbox, keys: str, capsys: Captured) -> None:
    assert main(["audit", keys]) == 0
    shown = capsys.readouterr()
    assert "2 workspaces" in shown.out
    assert "6 requests, none of them retried" in shown.out
    assert shown.err == ""
    assert served.count() == 6


def test_the_one_workspace_of_the_environment_is_audited_without_a_keys_file(
    served: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("CHATLOOM_API_KEY", "clf_key_of_beta")
    assert main(["audit"]) == 0
    assert "1 workspace " in capsys.readouterr().out
    assert served.count(workspace="beta") == 3


def test_each_workspace_becomes_one_line_of_the_out_file(
    served: Sandbox, keys: str, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    assert main(["audit", keys, "--out", str(out)]) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["of"] for line in lines] == [2, 2]
    assert sorted(line["workspace"] for line in lines) == ["acme", "beta"]
    assert [len(line["agents"]) for line in lines] == [2, 2]
    assert "clf_" not in out.read_text()
    assert served.count() == 6


def test_nothing_but_json_lines_goes_to_stdout_when_out_is_a_dash(
    served: Sandbox, keys: str, capsys: Captured
) -> None:
    assert main(["audit", keys, "--out", "-"]) == 0
    shown = capsys.readouterr()
    assert [len(json.loads(line)["agents"]) for line in shown.out.splitlines()] == [2, 2]
    assert "6 requests" in shown.err
    assert served.count() == 6


def test_csv_has_one_row_per_agent_and_no_formula(
    served: Sandbox, keys: str, capsys: Captured
) -> None:
    agent = attrs.evolve(make_workspace("x", "clf_x").agents[0], name="=HYPERLINK(1)")
    served.add(Workspace("acme", "clf_key_of_acme", (agent,)))
    assert main(["audit", keys, "--format", "csv"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.startswith("workspace,agent,name,")
    assert len(rows) == 3
    assert ",'=HYPERLINK(1)," in "\n".join(rows)


def test_csv_tells_findings_and_gaps(served: Sandbox, keys: str, capsys: Captured) -> None:
    agent = attrs.evolve(make_workspace("x", "clf_x").agents[0], domains=("localhost",))
    served.add(Workspace("acme", "clf_key_of_acme", (agent,)))
    served.revoke("beta")
    assert main(["audit", keys, "--format", "csv"]) == 0
    first, second = sorted(csv.DictReader(capsys.readouterr().out.splitlines()), key=workspace_of)
    assert (first["allowed_domains"], first["gaps"]) == ("localhost", "")
    assert first["findings"].startswith("medium ")
    assert (second["workspace"], second["agent"], second["findings"]) == ("beta", "", "")
    assert second["gaps"].startswith("AuthenticationError: This API key has been revoked")


@pytest.mark.parametrize("terminal", [False, True])
def test_a_large_audit_shows_some_rows_and_how_many_more_there_are(
    terminal: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    shown = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stdout", shown)
    crowd = [make_workspace(f"w{n:02}", f"clf_of_{n:02}", agents=0) for n in range(43)]
    path = tmp_path / "keys.csv"
    path.write_text("".join(f"{each.name},{each.key}\n" for each in crowd))
    with Sandbox(crowd).in_thread() as server:
        monkeypatch.setenv("CHATLOOM_BASE_URL", server.base_url)
        assert main(["audit", str(path)]) == 0
    assert "43 workspaces" in shown.getvalue()
    assert "… and 3 more: all are in the JSON lines of --out FILE" in shown.getvalue()
    assert sum(each.name in shown.getvalue() for each in crowd) == 40


def test_a_terminal_without_rich_gets_a_plain_line_and_plain_tables(
    served: Sandbox, keys: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    uninstall(monkeypatch, "rich", "rich.console", "rich.progress")
    monkeypatch.setenv("COLUMNS", "150")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main(["audit", keys]) == 0
    shown = terminal.getvalue()
    assert "\r0 of 2 workspaces · 0 gaps · 0 refusals · 0 requests/s" in shown
    assert "2 workspaces" in shown
    assert "\x1b" not in shown
    assert served.count() == 6


@pytest.mark.parametrize(
    ("arguments", "module", "told"),
    [
        (
            ["audit", "{keys}", "--parquet", "out.parquet"],
            "chatloom_async.contrib.parquet",
            "--parquet needs pyarrow: pip install 'chatloom_async[parquet]'",
        ),
        (
            ["audit", "{keys}", "--dask", "local"],
            "chatloom_async.contrib.dask",
            "--dask needs distributed: pip install 'chatloom_async[dask]'",
        ),
        (
            ["report", "{out}", "--html", "out.html"],
            "jinja2",
            "pip install 'chatloom_async[report]'",
        ),
    ],
)
def test_a_missing_extra_is_named(  # noqa: PLR0913, PLR0917 - fixtures
    served: Sandbox,
    keys: str,
    arguments: list[str],
    module: str,
    told: str,
    capsys: Captured,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out.jsonl"
    out.write_text(f"{dump_audit(WorkspaceAudit('acme'))}\n")
    uninstall(monkeypatch, module)
    assert main([argument.format(keys=keys, out=out) for argument in arguments]) == 2
    shown = capsys.readouterr()
    assert shown.err.endswith(f"{told}\n")
    assert len(shown.err.splitlines()) == 1
    assert served.count() == 0


def test_an_audit_runs_on_a_cluster(
    served: Sandbox, keys: str, tmp_path: Path, capsys: Captured
) -> None:
    out = tmp_path / "out.jsonl"
    with dask.LocalCluster(
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


def test_an_existing_out_file_is_not_overwritten(
    served: Sandbox, keys: str, tmp_path: Path, capsys: Captured
) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("something\n")
    assert main(["audit", keys, "--out", str(out)]) == 2
    assert "exists; resume it" in capsys.readouterr().err
    assert out.read_text() == "something\n"
    assert served.count() == 0


def test_a_resumed_run_asks_only_for_what_is_missing(
    served: Sandbox, keys: str, tmp_path: Path, capsys: Captured
) -> None:
    out = tmp_path / "out.jsonl"
    main(["audit", keys, "--out", str(out)])
    first, second = out.read_text().splitlines()
    out.write_text(f"{first}\n{second[:50]}")
    before = served.count()
    capsys.readouterr()
    assert main(["audit", keys, "--out", str(out), "--resume"]) == 0
    assert workspaces_in(out) == ["acme", "beta"]
    assert served.count() - before == 3
    assert "2 workspaces" in capsys.readouterr().out


def test_ctrl_c_ends_an_audit_with_130_and_names_the_file_to_resume(
    served: Sandbox,
    keys: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    served.plant(Fault.hang(workspace="beta", times=None))
    out = tmp_path / "out.jsonl"
    shown = CtrlC(at='"workspace"')
    monkeypatch.setattr(sys, "stdout", shown)
    assert main(["audit", keys, "--out", str(out), "--format", "jsonl"]) == 130
    told = capsys.readouterr().err
    assert told == f"\ninterrupted: 1 workspace complete in {out}; go on with --resume\n"
    assert workspaces_in(out) == ["acme"]


@pytest.mark.parametrize(
    ("fail_on", "status"), [("gap", 1), ("low", 1), ("medium", 1), ("high", 0)]
)
def test_fail_on_sets_the_exit_status(
    served: Sandbox, keys: str, fail_on: str, status: int
) -> None:
    agent = attrs.evolve(make_workspace("x", "clf_x").agents[0], domains=("localhost",))
    served.add(Workspace("acme", "clf_key_of_acme", (agent,)))
    served.revoke("beta")
    assert main(["audit", keys, "--fail-on", fail_on]) == status


def test_an_approved_list_finds_every_other_domain(
    served: Sandbox, keys: str, tmp_path: Path
) -> None:
    approved = tmp_path / "approved.txt"
    approved.write_text("# ours\n*.agent1.example\n")
    out = tmp_path / "out.jsonl"
    command = ["audit", keys, "--approved", str(approved), "--out", str(out), "--fail-on", "high"]
    assert main(command) == 1
    found = {each.domain for audit in read_audits(out) for each in audit.findings}
    assert found == {"site1.agent2.example", "site2.agent2.example"}
    assert served.count() == 6


def test_verbose_tells_about_repeated_requests(
    served: Sandbox, keys: str, capsys: Captured
) -> None:
    served.plant(Fault.status(503, workspace="acme", retry_after="0.01"))
    assert main(["audit", keys, "-v"]) == 0
    told = capsys.readouterr().err
    assert "acme · its agents: 503" in told
    assert "acme · its agents: answered after 2 requests" in told


def test_a_parquet_file_holds_one_row_per_agent(served: Sandbox, keys: str, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    assert main(["audit", keys, "--parquet", str(out)]) == 0
    rows = parquet.read_table(out).to_pylist()
    assert sorted(row["agent"] for row in rows) == [
        "agt_acme_1",
        "agt_acme_2",
        "agt_beta_1",
        "agt_beta_2",
    ]
    assert rows[0]["allowed_domains"][0].startswith("site1.")
    assert served.count() == 6


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["audit"], "nothing to audit"),
        (["audit", "none.toml"], "No such file"),
        (["audit", "clf_secret"], "does not belong on the command line"),
        (["audit", "--key=clf_secret"], "does not belong on the command line"),
        (["audit", "{keys}", "--out", "/nowhere/at/all"], "/nowhere/at/all"),
        (["audit", "{keys}", "--parquet", "/nowhere/at/all"], "cannot write '/nowhere/at/all'"),
        (["audit", "{keys}", "--approved", "none.txt"], "cannot read approved list 'none.txt'"),
        (["audit", "{keys}", "--approved", "{keys}"], "is it the keys file?"),
        (["audit", "{keys}", "--approved", "latin1.txt"], "is not text: save it as UTF-8"),
        (["audit", "{keys}", "--approved", "wrong.txt"], "'wrong.txt': approved list, line 2"),
        (["audit", "{keys}", "--resume"], "give it with --out FILE"),
        (["audit", "{keys}", "--out", "-", "--format", "csv"], "--out - prints JSON lines"),
        (["audit", "--sandbox", "--dask", "local"], "--dask needs a keys file"),
        (["audit", "{keys}", "--fail-on", "nothing"], "invalid choice"),
        (["audit", "{keys}", "--sandbox"], "not allowed with"),
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
def test_what_cannot_work_is_told_before_any_request(  # noqa: PLR0913, PLR0917 - fixtures
    served: Sandbox,
    keys: str,
    arguments: list[str],
    told: str,
    capsys: Captured,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "latin1.txt").write_bytes("bücher.example\n".encode("latin-1"))
    (tmp_path / "wrong.txt").write_text("example.com\nhttps://example.com/chat\n")
    assert main([argument.format(keys=keys) for argument in arguments]) == 2
    shown = capsys.readouterr()
    assert told in shown.err
    assert "clf_" not in shown.err.replace("starts with clf_", "")
    assert "Traceback" not in shown.err
    assert shown.out == ""
    assert served.count() == 0


def test_a_base_url_in_the_clear_is_refused(
    served: Sandbox, keys: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLOOM_BASE_URL", "http://chatloom.app")
    assert main(["audit", keys]) == 2
    assert "https" in capsys.readouterr().err
    assert served.count() == 0


def test_a_key_in_the_environment_that_cannot_be_one_is_refused(
    served: Sandbox, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLOOM_API_KEY", "sk_secret")
    assert main(["audit"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("chatloom-async: CHATLOOM_API_KEY: an API key starts with clf_")
    assert "sk_secret" not in told
    assert served.count() == 0


def test_debug_shows_the_traceback(capsys: Captured) -> None:
    assert main(["audit", "none.toml", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_two_names_for_one_key_are_noted(served: Sandbox, tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "keys.csv"
    path.write_text("acme,clf_key_of_acme\ncopy,clf_key_of_acme\n")
    assert main(["audit", str(path)]) == 0
    assert "'acme' and 'copy' have the same key" in capsys.readouterr().err
    assert served.count() == 6


# agents, domains


def test_agents_are_listed(
    served: Sandbox, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLOOM_API_KEY", "clf_key_of_acme")
    assert main(["agents"]) == 0
    assert "agt_acme_2" in capsys.readouterr().out
    assert main(["agents", "--format", "jsonl"]) == 0
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert (first["id"], first["status"]) == ("agt_acme_2", "active")
    assert main(["agents", "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith("id,name,")
    assert served.count() == 3


def test_domains_are_listed_one_a_line(
    served: Sandbox, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLOOM_API_KEY", "clf_key_of_acme")
    assert main(["domains", "agt_acme_1"]) == 0
    assert capsys.readouterr().out == "site1.agent1.example\nsite2.agent1.example\n"
    assert served.count() == 1


def test_an_agent_without_domains_is_told_beside_the_empty_list(
    served: Sandbox, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLOOM_API_KEY", "clf_key_of_acme")
    agent = attrs.evolve(make_workspace("x", "clf_x").agents[0], domains=())
    served.add(Workspace("acme", "clf_key_of_acme", (agent,)))
    assert main(["domains", agent.id]) == 0
    assert capsys.readouterr() == ("", "no domain listed\n")


def test_ctrl_c_ends_a_command_with_130(
    served: Sandbox, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLOOM_API_KEY", "clf_key_of_acme")
    monkeypatch.setattr(sys, "stdout", CtrlC(at="agt_acme_2"))
    assert main(["agents", "--format", "jsonl"]) == 130
    assert capsys.readouterr().err == "\nchatloom-async: interrupted\n"
    assert served.count() == 1


def test_an_error_of_the_api_is_one_line(
    served: Sandbox, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLOOM_API_KEY", "clf_key_of_nobody")
    assert main(["agents"]) == 2
    assert capsys.readouterr().err == (
        "chatloom-async: 401 Invalid API key. (GET /api/plugin/agents)\n"
    )
    assert served.count() == 1


# Hostile text


def answer(path: str, content: object) -> Fault:
    """Plant an answer that no workspace of the sandbox can hold: half a surrogate pair."""
    return Fault.malformed(json.dumps(content).encode(), path=path)


def test_hostile_names_reach_the_terminal_written_out(
    served: Sandbox, keys: str, capsys: Captured
) -> None:
    served.plant(answer("*/agt_acme_1/allowed-domains", {"domains": [HOSTILE]}))
    assert main(["audit", keys]) == 0
    shown = capsys.readouterr().out
    assert "\\x1b[2J\\u202egnp" in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_rich_takes_no_markup_from_a_cell() -> None:
    stream = Terminal()
    draw(Table("[red]title", ("[i]column",), [(HOSTILE,), ("high",)]), stream)
    shown = stream.getvalue()
    assert "[bold]\\x1b[2J\\u202egnp\\ud800\\nred[/bold]" in shown
    assert "[red]title" in shown
    assert "[i]column" in shown


def test_plain_columns_stay_in_line_beside_wide_characters() -> None:
    stream = io.StringIO()
    draw(Table("t", ("name", "n"), [("日本", "1"), ("abcd", "22")], numbers=frozenset({1})), stream)
    assert stream.getvalue().splitlines()[4:6] == ["日本   1", "abcd  22"]


# Progress


def standing(done: int) -> Standing:
    return Standing(done=done, total=10, requests=100, refusals=2, gaps=1)


def test_nothing_is_drawn_off_a_terminal() -> None:
    stream = io.StringIO()
    bar = progress(stream)
    bar.show(standing(3))
    bar.note("something", good=True)
    bar.close()
    assert stream.getvalue() == ""


@pytest.mark.parametrize("kind", [PlainProgress, RichProgress])
def test_the_bar_tells_workspaces_refusals_gaps_and_what_is_left(
    kind: type[PlainProgress | RichProgress], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "150")
    stream = Terminal()
    bar = kind(stream)
    bar.show(standing(3))
    bar.note(f"acme: {HOSTILE}", good=False)
    bar.close()
    shown = stream.getvalue()
    for told in ("3", "10", "workspaces", "requests/s", "2 refusals", "1 gap", "left"):
        assert told in shown
    assert "[bold]\\x1b[2J" in shown
    assert "\x1b[2J" not in shown


@pytest.mark.parametrize("done", [0, 10])
def test_the_bar_does_not_guess_before_the_first_workspace_or_after_the_last(done: int) -> None:
    stream = Terminal()
    PlainProgress(stream).show(standing(done))
    assert "left" not in stream.getvalue()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (12.4, "12 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7800, "2 h 10 min"),
    ],
)
def test_a_time_is_said_as_people_say_it(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_the_count_names_what_every_repeated_request_followed() -> None:
    clock = FakeClock()
    cut = APIConnectionError("cut", "cut off")
    tally = Tally(StubTransport([cut, StubReply(status=503), StubReply([])], clock=clock))

    async def main() -> None:
        await AsyncChatloom("clf_tally", pool=tally).get_raw("/x")
        await tally.aclose()

    clock.run(main())
    assert tally.closed
    assert (
        tally.summary() == f"3 requests, 2 of them retries after cut answer {TIMES}1, 503 {TIMES}1"
    )


def test_a_terminal_gets_a_bar() -> None:
    assert isinstance(progress(Terminal()), RichProgress)


# diff


def test_equal_audits_do_not_differ(
    served: Sandbox, keys: str, tmp_path: Path, capsys: Captured
) -> None:
    out = str(tmp_path / "out.jsonl")
    main(["audit", keys, "--out", out])
    capsys.readouterr()
    assert main(["diff", out, out]) == 0
    assert capsys.readouterr().out == "0 changes\n"
    assert served.count() == 6


def test_differences_are_told_and_make_the_exit_status_1(
    served: Sandbox, keys: str, tmp_path: Path, capsys: Captured
) -> None:
    old, new = str(tmp_path / "old.jsonl"), str(tmp_path / "new.jsonl")
    main(["audit", keys, "--out", old])
    first, second = make_workspace("acme", "clf_key_of_acme", agents=2).agents
    third = SandboxAgent("agt_third", "Third\x1b[31m")
    served.add(
        Workspace("acme", "clf_key_of_acme", (attrs.evolve(first, domains=("new.example",)), third))
    )
    main(["audit", keys, "--out", new])
    capsys.readouterr()
    assert main(["diff", old, new]) == 1
    told = capsys.readouterr().out
    assert f"- agent {second.id} removed: {second.name}" in told
    assert "+ agent agt_third added: Third\\x1b[31m" in told
    assert f"+ {first.id}: domain added: new.example" in told
    assert main(["diff", old, new, "--format", "json"]) == 1
    changes = json.loads(capsys.readouterr().out)["changes"]
    assert {"kind": "added", "workspace": "acme", "agent": "agt_third"}.items() <= {
        **next(change for change in changes if change["agent"] == "agt_third")
    }.items()


def agent(number: int, name: str, domains: tuple[str, ...] | None = ()) -> AuditedAgent:
    created = datetime(2026, 1, 15, 9, tzinfo=UTC)
    look = ("#611F69", "#764ba2", "bottom-right", "modern", "active")
    return AuditedAgent(f"agt_{number}", name, *look, created, domains)


def written(path: Path, *audits: WorkspaceAudit) -> str:
    path.write_text("".join(f"{dump_audit(audit)}\n" for audit in audits))
    return str(path)


def test_what_could_not_be_read_is_told_apart_from_what_changed(
    tmp_path: Path, capsys: Captured
) -> None:
    refused = Gap(None, "AuthenticationError", 401, "Invalid API key.")
    failed = Gap("agt_2", "InternalServerError", 500, "later")
    old = written(
        tmp_path / "old.jsonl",
        WorkspaceAudit("acme", (agent(1, "One"), agent(2, "Two", None)), gaps=(failed,)),
        WorkspaceAudit("dark", gaps=(refused,)),
        WorkspaceAudit("gone"),
    )
    new = written(
        tmp_path / "new.jsonl",
        WorkspaceAudit("acme", (agent(1, "Uno"), agent(2, "Two", ("b.example",)))),
        WorkspaceAudit("dark", gaps=(refused,)),
        WorkspaceAudit("fresh", gaps=(refused,)),
    )
    assert main(["diff", old, new]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "acme",
        "  ~ agt_1: name: One → Uno",
        "fresh",
        "  + workspace added",
        "gone",
        "  - workspace removed",
        "not known, for it could not be read:",
        "  ? acme: domains of agt_2, in the old audit",
        "  ? dark: its agents, in both audits",
        "  ? fresh: its agents, in the new audit",
        "3 changes",
    ]


# sandbox


def test_the_sandbox_serves_until_ctrl_c(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    shown = CtrlC(at="until Ctrl-C")
    monkeypatch.setattr(sys, "stdout", shown)
    assert main(["sandbox", "--port", "0"]) == 0
    server, key, tip, _ = shown.getvalue().splitlines()
    assert re.fullmatch(r"export CHATLOOM_BASE_URL=http://127\.0\.0\.1:\d+", server)
    assert key.startswith("export CHATLOOM_API_KEY=clf_demo_")
    assert "sandbox --keys demo.toml, then audit demo.toml" in tip
    assert capsys.readouterr().err == "\nchatloom-async: sandbox stopped\n"


def test_the_keys_file_of_the_sandbox_is_one_for_an_audit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "demo.toml"
    shown = CtrlC(at="until Ctrl-C")
    monkeypatch.setattr(sys, "stdout", shown)
    assert main(["sandbox", "--keys", str(path)]) == 0
    assert f"chatloom-async audit {path}" in shown.getvalue()
    assert len(KeysFile(str(path)).read()) == 7


def test_a_port_that_is_taken_is_told(capsys: Captured) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["sandbox", "--port", str(taken.getsockname()[1])]) == 2
    told = capsys.readouterr().err
    assert "address already in use" in told
    assert "Traceback" not in told


# Processes


def started(*arguments: str, out: int = subprocess.PIPE) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments],
        cwd=Path(__file__).parents[2],
        stdout=out,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def test_the_sandbox_prints_what_to_export_and_serves_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Captured
) -> None:
    keys = str(tmp_path / "demo.toml")
    with started("sandbox", "--keys", keys) as server:
        assert server.stdout is not None
        for _ in range(2):
            name, _, value = server.stdout.readline().strip().removeprefix("export ").partition("=")
            monkeypatch.setenv(name, value)
        assert main(["agents"]) == 0
        server.send_signal(signal.SIGINT)
        assert server.wait() == 0
    assert "agt_brightleaf_11" in capsys.readouterr().out
    assert Path(keys).read_text().count("clf_demo_") == 7


def test_a_reader_that_goes_away_is_no_error(served: Sandbox, keys: str) -> None:
    reading, writing = os.pipe()
    with started("audit", keys, "--out", "-", out=writing) as audit:
        os.close(writing)
        os.close(reading)
        assert audit.wait() == 141
        assert audit.stderr is not None
        assert audit.stderr.read() == ""
    assert served.count(workspace="acme") > 0


def test_importing_the_package_imports_no_command_line() -> None:
    heavy = "rich jinja2 pyarrow distributed argparse chatloom_async.cli chatloom_async.audit.keys"
    code = f"import chatloom_async, sys; print(set('{heavy}'.split()) & set(sys.modules))"
    shown = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == "set()\n"
