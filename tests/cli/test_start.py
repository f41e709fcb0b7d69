"""What the command does before the client is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.terminals import COMMANDS, ROOT

START = ROOT / "chatloom_async" / "cli" / "start.py"
PROGRAM = "import sys, _chatloom_async; status = _chatloom_async.main(); {}; sys.exit(status)"


def run(
    beside: Path, *arguments: str, then: str = "pass", out: int = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    """Run the start as it is installed: beside the package, not in it."""
    (beside / "_chatloom_async.py").write_text(START.read_text("utf-8"), "utf-8")
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(then), *arguments],
        cwd=beside,
        env={"PYTHONPATH": os.pathsep.join([str(beside), str(ROOT)]), "COLUMNS": "80"},
        stdout=out,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_during_the_imports_ends_with_130(number: str, tmp_path: Path) -> None:
    (tmp_path / "chatloom_async.py").write_text(
        f"import signal\ntry:\n signal.raise_signal(signal.{number})\nfinally:\n print('imported')"
    )
    done = run(tmp_path, "audit", "--sandbox")
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "chatloom-async: interrupted\n"


def test_a_signal_that_is_ignored_stays_so(tmp_path: Path) -> None:
    (tmp_path / "chatloom_async.py").write_text("import signal; signal.raise_signal(signal.SIGINT)")
    (tmp_path / "sitecustomize.py").write_text(
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    )
    assert "interrupted" not in run(tmp_path, "diff").stderr


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_is_shown_without_the_client(option: str, tmp_path: Path) -> None:
    done = run(tmp_path, option, then="print('chatloom_async' in sys.modules)")
    assert done.stdout.startswith("usage: chatloom-async ")
    for told in (*COMMANDS, "exit status: 0 ", "130 interrupted", "HTTPS_PROXY"):
        assert told in done.stdout
    assert done.stdout.endswith("\nFalse\n")
    assert (done.returncode, done.stderr) == (0, "")


def test_help_that_nobody_reads_ends_with_141(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert run(tmp_path, "--help", out=writer).returncode == 141
    finally:
        os.close(writer)


def test_other_arguments_reach_the_command(tmp_path: Path) -> None:
    done = run(tmp_path, "diff", "old.jsonl", "new.jsonl")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "chatloom-async: old.jsonl: No such file or directory\n"
