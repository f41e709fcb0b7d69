"""Standard streams that are closed, full, or whose reader is gone; and text fit for them."""

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chatloom_async.audit.files import read_audits
from chatloom_async.cli.streams import prepare, tell, tell_traceback
from chatloom_async.testing import Sandbox
from tests.cli.terminals import COMMAND, HOSTILE, ROOT, Cli, Failing, started

Captured = pytest.CaptureFixture[str]


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_closed_streams_change_nothing(served: Sandbox, keys: str, out: Path, closed: str) -> None:
    served.revoke("beta")
    command = [*COMMAND, "audit", keys, "--out", str(out), "--fail-on", "gap"]
    shell = ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *command]
    done = subprocess.run(shell, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert len(list(read_audits(out))) == 2


def test_a_reader_that_goes_away_is_no_error(served: Sandbox, keys: str, out: Path) -> None:
    served.revoke("beta")
    reading, writing = os.pipe()
    with started("audit", keys, "--out", str(out), "--fail-on", "high", out=writing) as audit:
        os.close(writing)
        os.close(reading)
        assert audit.wait() == 1
        assert audit.stderr is not None
        assert audit.stderr.read() == ""


def test_a_reader_gone_takes_no_result_away(
    served: Sandbox, keys: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    monkeypatch.setattr(sys, "stdout", Failing(errno.EPIPE))
    cli("audit", keys, status=141)
    assert served.count() == 6
    cli("audit", keys, "--out", "-", status=141)
    assert served.count() == 6  # nothing of it would be kept
    for number, printed in enumerate(("table", "jsonl", "csv")):
        out = tmp_path / str(number)
        cli("audit", keys, "--out", out, "--format", printed)
        assert len(list(read_audits(out))) == 2


@pytest.mark.parametrize(
    "arguments", [["audit", "{keys}", "--format", "jsonl"], ["diff", "--help"]]
)
def test_output_for_which_there_is_no_room_is_told(
    served: Sandbox, keys: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    monkeypatch.setattr(sys, "stdout", Failing(errno.ENOSPC))
    told = cli(*(each.format(keys=keys) for each in arguments), status=2).err
    assert told == "chatloom-async: No space left on device: standard output\n"
    assert served.count() == 0


def test_signs_that_an_encoding_lacks_are_written_plainly() -> None:
    written = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii"))
        prepare()
        sys.stdout.write("500 \N{MULTIPLICATION SIGN}4 · a → ü …\n")
        sys.stdout.flush()
        assert written.getvalue() == b"500 x4 - a -> \\xfc ...\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EPIPE])
def test_a_standard_error_that_fails_changes_nothing(
    served: Sandbox, tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    path = tmp_path / "keys.csv"
    path.write_text("acme,clf_key_of_acme\ncopy,clf_key_of_acme\n")
    monkeypatch.setattr(sys, "stderr", Failing(number))
    assert "2 workspaces" in cli("audit", path).out
    assert served.count() == 6


def test_what_is_told_is_one_line_without_control_characters(capsys: Captured) -> None:
    tell(HOSTILE)
    assert capsys.readouterr().err == "[bold]\\x1b[2J\\u202egnp\\ud800\\nred[/bold]\n"


def test_a_traceback_shows_frames_as_lines_and_the_message_as_one(capsys: Captured) -> None:
    with pytest.raises(UnicodeError) as failed:
        raise UnicodeError(HOSTILE)
    tell_traceback(failed.value)
    first, *frames, last = capsys.readouterr().err.splitlines()
    assert first == "Traceback (most recent call last):"
    assert "raise UnicodeError(HOSTILE)" in "\n".join(frames)
    assert last == "UnicodeError: [bold]\\x1b[2J\\u202egnp\\ud800\\nred[/bold]"
