import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from attrs import evolve

from chatloom_async.audit.files import AuditFile, dump_audit, load_audits, read_audits
from chatloom_async.audit.judge import Judge
from chatloom_async.audit.log import AuditLog
from chatloom_async.audit.results import Finding, WorkspaceAudit
from chatloom_async.errors import ConfigurationError
from chatloom_async.models import Gap
from tests.audit.samples import ACME, DEAD, no_file_beyond, write


def test_what_an_outage_hid_is_read_again(path: Path) -> None:
    hidden = [
        WorkspaceAudit(str(status), gaps=(Gap(None, "SomeError", status, "down"),))
        for status in (None, 408, 429, 500, 503)
    ]
    earlier, later = (datetime(2026, 1, day, tzinfo=UTC) for day in (2, 3))
    answered = [
        evolve(DEAD, read_at=later),
        evolve(ACME, read_at=earlier, gaps=(Gap(None, "APIConnectionError", None, "down"),)),
        WorkspaceAudit("odd", gaps=(Gap(None, "ResponseDecodeError", None, "no JSON"),)),
        WorkspaceAudit("unset", gaps=(Gap(None, "ConfigurationError", None, "no key"),)),
    ]
    write(path, *hidden, *answered)
    with AuditLog.open(path, resume=True) as log:
        assert log.done == {each.workspace for each in answered}
        assert log.oldest == earlier
        assert log.again == {each.workspace for each in hidden}
        assert list(read_audits(path)) == answered
        log.append(hidden[1])
    assert list(read_audits(path)) == [*answered, hidden[1]]
    assert [*path.parent.iterdir()] == [path]


def test_a_run_cut_anywhere_is_resumed_with_every_workspace_once(path: Path) -> None:
    write(path, DEAD, ACME, resume=True)  # what never began
    whole, edge = path.read_bytes(), len(dump_audit(DEAD)) + 1
    sizes = [*range(16), *range(edge - 2, edge + 16), *range(40, len(whole), 41), len(whole) - 1]
    for size in sizes:
        path.write_bytes(whole[:size])
        read = [audit.workspace for audit in read_audits(path)]
        with AuditLog.open(path, resume=True) as log:
            assert sorted(log.done) == sorted(read)
            for audit in (DEAD, ACME):
                if audit.workspace not in log.done:
                    log.append(audit)
        assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("held", "told"),
    [
        ("acme,env:ACME\nother,env:OTHER\n", "not JSON"),
        ("acme,env:ACME", "not JSON"),
        ('[{"workspace":"acme"}]', "no workspace is named"),
        (f"{dump_audit(ACME)}\n{dump_audit(DEAD)}\n", "other workspaces, 'dead': write to another"),
    ],
    ids=["keys", "a key", "a list", "other workspaces"],
)
def test_what_cannot_be_resumed_is_left_as_it_is(path: Path, held: str, told: str) -> None:
    path.write_text(held)
    with pytest.raises(ConfigurationError, match=told):
        AuditLog.open(path, resume=True, workspaces=["acme", "new"])
    assert path.read_text() == held
    assert [*path.parent.iterdir()] == [path]


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


def test_a_resume_without_room_leaves_the_file_as_it_was(tmp_path: Path, path: Path) -> None:
    write(path, ACME, DEAD)
    held = path.read_bytes()
    refused = pytest.raises(ConfigurationError, match="resumed: File too large")
    with no_file_beyond(len(held) - 10), refused:
        AuditLog.open(path, resume=True)
    assert path.read_bytes() == held
    assert list(tmp_path.iterdir()) == [path]


def test_a_resume_keeps_what_is_known_of_runs(path: Path) -> None:
    with AuditLog.open(path, workspaces=["acme", "dead"]) as log:
        log.append(ACME)
    before = AuditFile.read(path)
    write(path, resume=True)
    assert AuditFile.read(path) == before
    assert before.missing == ("dead",)
