import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from attrs import evolve

from chatloom_async.audit.files import AuditFile, AuditLog, load_audits, read_audits
from chatloom_async.audit.judge import Judge
from chatloom_async.audit.results import Finding, WorkspaceAudit
from chatloom_async.errors import ConfigurationError
from chatloom_async.models import Gap
from tests.audit.samples import ACME, DEAD, no_file_beyond, write


@pytest.mark.parametrize("status", [None, 408, 429, 500, 503])
def test_what_an_outage_hid_is_read_again(tmp_path: Path, path: Path, status: int | None) -> None:
    hidden = WorkspaceAudit("hidden", gaps=(Gap(None, "SomeError", status, "down"),))
    write(path, hidden, ACME, DEAD)
    with AuditLog.open(path, resume=True) as log:
        assert log.done == {"acme", "dead"}
        assert log.again == {"hidden"}
        assert list(read_audits(path)) == [ACME, DEAD]
        log.append(evolve(ACME, workspace="hidden"))
    assert [each.workspace for each in read_audits(path)] == ["acme", "dead", "hidden"]
    assert [each.name for each in tmp_path.iterdir()] == ["audit.jsonl"]


def test_a_run_cut_at_any_byte_is_resumed_with_every_workspace_once(path: Path) -> None:
    write(path, DEAD, ACME, resume=True)  # what never began
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        read = [audit.workspace for audit in read_audits(path)]
        with AuditLog.open(path, resume=True) as log:
            assert sorted(log.done) == sorted(read)
            for audit in (DEAD, ACME):
                if audit.workspace not in log.done:
                    log.append(audit)
        assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "junk", ["acme,env:ACME\nother,env:OTHER\n", "acme,env:ACME", '[{"workspace":"acme"}]']
)
def test_junk_is_left_as_it_is_when_it_cannot_be_resumed(tmp_path: Path, junk: str) -> None:
    path = tmp_path / "keys.csv"
    path.write_text(junk)
    with pytest.raises(ConfigurationError):
        AuditLog.open(path, resume=True)
    assert path.read_text() == junk
    assert list(tmp_path.iterdir()) == [path]


def test_a_resumed_file_is_cut_until_it_holds_what_the_latest_run_expects(path: Path) -> None:
    with AuditLog.open(path) as log:
        log.of = 1
        log.append(ACME)
    with AuditLog.open(path, resume=True) as log:
        log.of = 3
        log.append(DEAD)
        assert load_audits(path) == ([ACME, DEAD], False)
        log.append(evolve(ACME, workspace="third"))
    assert load_audits(path)[1]


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_link_in_the_way_is_left_alone(
    tmp_path: Path, link: Callable[[Path, Path], None]
) -> None:
    path, victim = tmp_path / "audit.jsonl", tmp_path / "precious"
    write(path, ACME)
    victim.write_text("precious")
    victim.chmod(0o600)
    link(victim, tmp_path / "audit.jsonl.resumed")
    write(path, DEAD, resume=True)
    assert (victim.read_text(), victim.stat().st_mode & 0o777) == ("precious", 0o600)
    assert not path.is_symlink()
    assert list(read_audits(path)) == [ACME, DEAD]


def test_a_resumed_run_judges_what_it_keeps(path: Path) -> None:
    stays = Finding("count-mismatch", "medium", None, None, "count is 3, but 2 agents are listed")
    later = Finding("of-a-later-release", "low", None, None, "…")
    write(path, evolve(ACME, findings=(stays, later, *ACME.findings)))
    judge = Judge.of(["example.com"], ["private-address"])
    with AuditLog.open(path, resume=True, workspaces=["acme", "new"], judge=judge) as log:
        assert log.done == {"acme"}
        assert log.of == 2
    ((audit,), (run,)) = AuditFile.read(path).audits, AuditFile.read(path).runs
    assert [(each.rule, each.domain) for each in audit.findings] == [
        ("count-mismatch", None),
        ("of-a-later-release", None),
        ("not-approved", "localhost"),
    ]
    assert run.approved == ("example.com",)


def test_a_resumed_file_says_how_old_it_is(path: Path) -> None:
    moments = [datetime(2026, 1, day, tzinfo=UTC) for day in (3, 2)]
    write(path, ACME, *(evolve(DEAD, workspace=str(day), read_at=day) for day in moments))
    with AuditLog.open(path, resume=True) as log:
        assert (len(log.done), log.oldest) == (3, moments[1])


def test_a_file_of_other_workspaces_is_not_resumed(tmp_path: Path, path: Path) -> None:
    write(path, ACME, DEAD)
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match=r"other workspaces, 'dead': write to another"):
        AuditLog.open(path, resume=True, workspaces=["acme", "new"])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_resume_without_room_leaves_the_file_as_it_was(tmp_path: Path, path: Path) -> None:
    write(path, ACME, DEAD)
    held = path.read_bytes()
    refused = pytest.raises(ConfigurationError, match="resumed: File too large")
    with no_file_beyond(len(held) - 10), refused:
        AuditLog.open(path, resume=True)
    assert path.read_bytes() == held
    assert list(tmp_path.iterdir()) == [path]


def test_what_was_answered_is_never_read_again(path: Path) -> None:
    down = Gap(None, "APIConnectionError", None, "down")
    answered = [
        evolve(ACME, gaps=(down,)),
        WorkspaceAudit("odd", gaps=(Gap(None, "ResponseDecodeError", None, "no JSON"),)),
        WorkspaceAudit("unset", gaps=(Gap(None, "ConfigurationError", None, "no key"),)),
    ]
    write(path, *answered)
    with AuditLog.open(path, resume=True) as log:
        assert (len(log.done), log.again) == (3, frozenset())


def test_a_resume_keeps_what_is_known_of_runs(path: Path) -> None:
    with AuditLog.open(path, workspaces=["acme", "dead"]) as log:
        log.append(ACME)
    before = AuditFile.read(path)
    write(path, resume=True)
    assert AuditFile.read(path) == before
    assert before.missing == ("dead",)
