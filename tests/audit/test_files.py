import json
import os
from pathlib import Path

import pytest
from attrs import evolve

from chatloom_async.audit.files import AuditFile, dump_audit, load_audits, read_audits
from chatloom_async.audit.judge import Judge
from chatloom_async.audit.log import AuditLog
from chatloom_async.audit.results import Finding, WorkspaceAudit
from chatloom_async.errors import ConfigurationError
from tests.audit.samples import ACME, DEAD, no_file_beyond, write


def test_of_a_workspace_in_a_file_twice_the_latest_counts(tmp_path: Path) -> None:
    path, later = tmp_path / "audit.jsonl", evolve(ACME, requests=99)
    write(path, ACME, DEAD, later)
    assert list(read_audits(path)) == [DEAD, later]
    assert load_audits(path) == ([DEAD, later], True)
    write(path, resume=True)
    assert list(read_audits(path)) == [DEAD, later]


@pytest.mark.parametrize(
    "junk", [b"not an audit\n", b'{"workspace":"x"\n{"workspace":"y"\n', b"\xff\xfe\n"]
)
def test_junk_before_the_last_line_is_named_by_its_number(path: Path, junk: bytes) -> None:
    path.write_bytes(f"{dump_audit(ACME)}\n".encode() + junk)
    with pytest.raises(ConfigurationError, match="line 2"):
        list(read_audits(path))
    with pytest.raises(ConfigurationError, match="line 2"):
        AuditLog.open(path, resume=True)


def test_blank_lines_and_a_torn_last_one_are_passed_over(path: Path) -> None:
    path.write_text(f'\n{dump_audit(ACME)}\n\n{{"workspace":"x","agen\n\n')
    assert list(read_audits(path)) == [ACME]
    write(path, DEAD, resume=True)
    assert list(read_audits(path)) == [ACME, DEAD]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (".", "directory"),
        ("pipe", "is a pipe"),
        ("audit.jsonl", "exists"),
        ("x" * 300, "File name too long"),
    ],
)
def test_what_is_no_new_file_is_refused(tmp_path: Path, path: Path, name: str, told: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    write(path, ACME)
    with pytest.raises(ConfigurationError, match=told):
        AuditLog.open(tmp_path / name)
    assert list(read_audits(path)) == [ACME]


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.jsonl: No such file"):
        list(read_audits(tmp_path / "none.jsonl"))


def test_a_file_replaced_while_it_is_read_is_read_as_it_was(path: Path) -> None:
    write(path, DEAD, DEAD, ACME)
    reading = read_audits(path)
    read = [next(reading)]
    write(path, resume=True)
    assert [*read, *reading] == [DEAD, ACME]


def test_a_file_says_whether_its_run_reached_its_end(path: Path) -> None:
    with AuditLog.open(path) as log:
        log.of = 2
        assert load_audits(path) == ([], False)
        log.append(ACME)
        assert load_audits(path) == ([ACME], False)
        assert (AuditFile.read(path).missing, AuditFile.read(path).lacking) == ((), 1)
        log.append(DEAD)
    assert [json.loads(line)["of"] for line in path.read_text().splitlines()] == [2, 2]
    assert load_audits(path) == ([ACME, DEAD], True)
    assert list(read_audits(path)) == [ACME, DEAD]


@pytest.mark.parametrize("of", [None, "many", [2]])
def test_a_file_that_says_no_number_is_whole(path: Path, of: object) -> None:
    path.write_text(json.dumps({**json.loads(dump_audit(ACME)), "of": of}) + "\n")
    assert load_audits(path) == ([ACME], True)


@pytest.mark.parametrize("resumed", [False, True])
def test_two_runs_do_not_write_to_one_file(path: Path, *, resumed: bool) -> None:
    if resumed:
        write(path, ACME)
    with AuditLog.open(path, resume=resumed):
        for resume in (False, True):
            with pytest.raises(ConfigurationError, match="another run writes to it"):
                AuditLog.open(path, resume=resume)
        assert [*path.parent.iterdir()] == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a Linux device")
def test_a_full_disk_is_named_before_a_run_and_in_it() -> None:
    with pytest.raises(ConfigurationError, match="/dev/full: No space left"):
        AuditLog.open("/dev/full", workspaces=["acme"]).begin()
    with AuditLog.open("/dev/full") as log, pytest.raises(OSError, match="/dev/full"):
        log.append(ACME)


@pytest.mark.parametrize("room", [1000, 6000, 9999])
def test_a_half_written_line_is_taken_back(path: Path, room: int) -> None:
    audits = [WorkspaceAudit(f"{number}".ljust(2000, "x")) for number in range(10)]
    left = iter(audits)
    with AuditLog.open(path) as log:
        with no_file_beyond(room), pytest.raises(OSError, match="File too large"):
            for torn in left:
                log.append(torn)
        for audit in left:
            log.append(audit)
    audits.remove(torn)
    assert path.read_text().splitlines() == [dump_audit(audit) for audit in audits]
    with AuditLog.open(path, resume=True) as log:
        assert log.done == {audit.workspace for audit in audits}


def test_a_file_says_what_its_run_was_made_with(path: Path) -> None:
    judge = Judge.of(["example.com"], ["wildcard"])
    shared = Finding("shared-domain", "low", None, "a.example", "allowed by 2 workspaces")
    with AuditLog.open(path, workspaces=["acme", "dead"], judge=judge) as log:
        (begun,) = AuditFile.read(path).runs
        log.append(ACME)
        log.append(DEAD)
        log.finish([shared])
    (run,) = AuditFile.read(path).runs
    assert (begun.ended_at, begun.findings) == (None, ())
    assert run.ended_at is not None
    assert run.ended_at >= run.began_at == begun.began_at
    assert (run.approved, run.ignored) == (("example.com",), ("wildcard",))
    assert (run.workspaces, run.findings) == (("acme", "dead"), (shared,))
    assert list(read_audits(path)) == [ACME, DEAD]
    with AuditLog.open(path, force=True, judge=judge) as log:
        log.finish()
    file = AuditFile.read(path)
    assert [(run.approved, run.ignored) for run in file.runs] == [(("example.com",), ("wildcard",))]
    assert file.lacking == 0  # of no workspace, but at its end


def test_a_cut_file_before_a_whole_one_lacks_what_neither_has(tmp_path: Path) -> None:
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    with AuditLog.open(one, workspaces=["acme", "dead", "third"]) as log:
        log.append(ACME)
    assert (AuditFile.read(one).missing, AuditFile.read(one).lacking) == (("dead", "third"), 2)
    with AuditLog.open(two, workspaces=["dead"]) as log:
        log.append(DEAD)
        log.finish()
    one.write_bytes(one.read_bytes() + two.read_bytes())
    file = AuditFile.read(one)
    assert (len(file.audits), len(file.runs), file.missing, file.lacking) == (2, 2, ("third",), 1)


def test_a_file_is_whole_until_its_run_begins(path: Path) -> None:
    write(path, ACME, DEAD)
    before = path.read_bytes()
    log = AuditLog.open(path, force=True, workspaces=["acme"])
    assert path.read_bytes() == before
    log.append(ACME)
    log.close()
    assert load_audits(path) == ([ACME], True)
