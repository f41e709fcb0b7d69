"""Audit files: written line by line, read, repaired and resumed; and what changed between two."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from chatloom_async.audit.diff import AuditDiff, Change, Unknown, diff_audits
from chatloom_async.audit.files import AuditLog, dump_audit, load_audits, parse_audit, read_audits
from chatloom_async.audit.results import AuditedAgent, Finding, Gap, WorkspaceAudit
from chatloom_async.errors import ConfigurationError

AGENT = AuditedAgent(
    "agt_1",
    "Sales Assistant",
    "#611F69",
    "#764ba2",
    "bottom-right",
    "modern",
    "active",
    datetime(2026, 1, 15, 9, tzinfo=UTC),
    ("example.com", "localhost"),
)
ACME = WorkspaceAudit(
    "acme",
    (AGENT, evolve(AGENT, id="agt_2", allowed_domains=None)),
    (Finding("private-address", "medium", "agt_1", "localhost", "'localhost' is …"),),
    (Gap("agt_2", "InternalServerError", 500, "Something went wrong on our side."),),
    requests=10,
    retried=7,
    refused=1,
    elapsed=2.5,
)
DEAD = WorkspaceAudit("dead", gaps=(Gap(None, "AuthenticationError", 401, "Invalid API key."),))


def write(path: Path, *audits: WorkspaceAudit, resume: bool = False) -> None:
    with AuditLog.open(path, resume=resume) as log:
        for audit in audits:
            log.append(audit)


# One line


def test_a_line_has_the_documented_names() -> None:
    line = json.loads(dump_audit(ACME))
    assert line["workspace"] == "acme"
    assert line["agents"][0] == {
        "id": "agt_1",
        "name": "Sales Assistant",
        "primary_color": "#611F69",
        "secondary_color": "#764ba2",
        "position": "bottom-right",
        "template": "modern",
        "status": "active",
        "created_at": "2026-01-15T09:00:00+00:00",
        "allowed_domains": ["example.com", "localhost"],
    }
    assert line["agents"][1]["allowed_domains"] is None
    assert line["findings"] == [
        {
            "rule": "private-address",
            "severity": "medium",
            "agent": "agt_1",
            "domain": "localhost",
            "message": "'localhost' is …",
        }
    ]
    assert line["gaps"] == [
        {
            "agent": "agt_2",
            "error": "InternalServerError",
            "status": 500,
            "message": "Something went wrong on our side.",
        }
    ]
    assert (line["requests"], line["retried"], line["refused"], line["elapsed"]) == (10, 7, 1, 2.5)


@pytest.mark.parametrize("audit", [ACME, DEAD, WorkspaceAudit("empty")])
def test_a_line_is_read_as_what_was_written(audit: WorkspaceAudit) -> None:
    assert parse_audit(dump_audit(audit, 7)) == (audit, 7)


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_any_text_survives_on_one_line_of_ascii(name: str) -> None:
    audit = WorkspaceAudit(name, (evolve(AGENT, name=name, allowed_domains=(name,)),))
    line = dump_audit(audit)
    assert line.isascii()
    assert len(line.splitlines()) == 1
    assert parse_audit(line)[0] == audit


def test_fields_of_a_later_release_are_left_out() -> None:
    line = json.loads(dump_audit(ACME))
    line["later"] = line["agents"][0]["later"] = line["gaps"][0]["later"] = 1
    assert parse_audit(json.dumps(line))[0] == ACME


def test_a_severity_of_a_later_release_is_read_as_low() -> None:
    line = json.loads(dump_audit(ACME))
    line["findings"][0]["severity"] = "critical"
    (finding,) = parse_audit(json.dumps(line))[0].findings
    assert (finding.rule, finding.severity) == ("private-address", "low")


def test_a_line_without_the_later_counters_is_read() -> None:
    line = json.loads(dump_audit(ACME))
    del line["retried"], line["refused"]
    assert parse_audit(json.dumps(line))[0] == evolve(ACME, retried=0, refused=0)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[]",
        "null",
        "{}",
        '{"workspace": "a"}',
        '{"workspace": 1, "agents": [], "findings": [], "gaps": []}',
        '{"workspace": "a", "agents": [{}], "findings": [], "gaps": []}',
        '{"workspace": "a", "agents": null, "findings": [], "gaps": []}',
        "[" * 100_000,
    ],
)
def test_what_is_no_line_of_an_audit_is_refused(line: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json's own messages among them
        parse_audit(line)


# A file


def test_a_file_is_read_as_what_was_appended(tmp_path: Path) -> None:
    write(tmp_path / "audit.jsonl", ACME, DEAD)
    assert list(read_audits(tmp_path / "audit.jsonl")) == [ACME, DEAD]


def test_a_line_is_in_the_file_as_soon_as_it_is_appended(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path / "audit.jsonl") as log:
        log.append(ACME)
        assert list(read_audits(tmp_path / "audit.jsonl")) == [ACME]


def test_a_file_that_holds_something_is_not_written_over(tmp_path: Path) -> None:
    write(tmp_path / "audit.jsonl", ACME)
    with pytest.raises(ConfigurationError, match="exists"):
        AuditLog.open(tmp_path / "audit.jsonl")
    assert list(read_audits(tmp_path / "audit.jsonl")) == [ACME]


def test_a_resumed_file_tells_what_is_done_and_goes_on(tmp_path: Path) -> None:
    write(tmp_path / "audit.jsonl", ACME)
    with AuditLog.open(tmp_path / "audit.jsonl", resume=True) as log:
        assert log.done == {"acme"}
        log.append(DEAD)
    assert list(read_audits(tmp_path / "audit.jsonl")) == [ACME, DEAD]


@pytest.mark.parametrize("status", [None, 429, 500, 503])
def test_a_workspace_that_only_an_outage_hid_is_taken_out_to_be_read_again(
    tmp_path: Path, status: int | None
) -> None:
    path = tmp_path / "audit.jsonl"
    hidden = WorkspaceAudit("hidden", gaps=(Gap(None, "SomeError", status, "down"),))
    write(path, hidden, ACME, DEAD)
    with AuditLog.open(path, resume=True) as log:
        assert log.done == {"acme", "dead"}
        assert log.again == {"hidden"}
        assert list(read_audits(path)) == [ACME, DEAD]
        log.append(evolve(ACME, workspace="hidden"))
    assert [each.workspace for each in read_audits(path)] == ["acme", "dead", "hidden"]
    assert [each.name for each in tmp_path.iterdir()] == ["audit.jsonl"]


def test_a_workspace_that_two_runs_wrote_is_there_once_after_a_resume(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    write(path, ACME, DEAD, evolve(ACME, requests=99))
    write(path, resume=True)
    assert list(read_audits(path)) == [ACME, DEAD]


def test_a_resumed_file_keeps_its_mode_and_the_link_to_it(tmp_path: Path) -> None:
    path, link = tmp_path / "audit.jsonl", tmp_path / "latest.jsonl"
    write(path, ACME)
    path.chmod(0o640)
    link.symlink_to(path)
    write(link, DEAD, resume=True)
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(read_audits(path)) == [ACME, DEAD]


def test_a_resumed_file_is_still_closed_to_other_runs(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    write(path, ACME)
    with AuditLog.open(path, resume=True):
        with pytest.raises(ConfigurationError, match="another run writes to it"):
            AuditLog.open(path, resume=True)
        assert [each.name for each in tmp_path.iterdir()] == ["audit.jsonl"]


def test_resuming_what_never_began_begins(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path / "audit.jsonl", resume=True) as log:
        assert log.done == frozenset()


def test_a_run_cut_at_any_byte_is_resumed_with_every_workspace_once(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    write(path, DEAD, ACME)
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


@pytest.mark.parametrize("junk", [b"not an audit\n", b'{"workspace": "x"\n', b"\xff\xfe\n"])
def test_junk_before_the_last_line_is_named_by_its_number(tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_bytes(f"{dump_audit(ACME)}\n".encode() + junk)
    with pytest.raises(ConfigurationError, match="line 2"):
        list(read_audits(path))
    with pytest.raises(ConfigurationError, match="line 2"):
        AuditLog.open(path, resume=True)


def test_junk_is_left_as_it_is_when_it_cannot_be_resumed(tmp_path: Path) -> None:
    path = tmp_path / "keys.csv"
    path.write_text("acme,env:ACME\nother,env:OTHER\n")
    with pytest.raises(ConfigurationError):
        AuditLog.open(path, resume=True)
    assert path.read_text() == "acme,env:ACME\nother,env:OTHER\n"
    assert list(tmp_path.iterdir()) == [path]


def test_blank_lines_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_text(f"\n{dump_audit(ACME)}\n\n{dump_audit(DEAD)}\n\n")
    assert list(read_audits(path)) == [ACME, DEAD]


def test_a_file_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.jsonl: No such file"):
        list(read_audits(tmp_path / "none.jsonl"))


def test_a_file_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="directory"):
        AuditLog.open(tmp_path)


def test_a_line_is_written_whole_when_the_system_takes_it_in_pieces(tmp_path: Path) -> None:
    # A pipe takes 64 KiB at a time, and less from a writer that must not block.
    many = evolve(ACME, agents=tuple(evolve(AGENT, id=f"agt_{n}") for n in range(2000)))
    path = tmp_path / "audit.jsonl"
    write(path, many)
    assert os.stat(path).st_size == len(dump_audit(many)) + 1  # noqa: PTH116 - bytes as written
    assert list(read_audits(path)) == [many]


def test_a_file_says_whether_its_run_reached_its_end(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with AuditLog.open(path) as log:
        log.of = 2
        assert load_audits(path) == ([], False)
        log.append(ACME)
        assert load_audits(path) == ([ACME], False)
        log.append(DEAD)
    assert [json.loads(line)["of"] for line in path.read_text().splitlines()] == [2, 2]
    assert load_audits(path) == ([ACME, DEAD], True)
    assert list(read_audits(path)) == [ACME, DEAD]


def test_a_resumed_file_is_cut_until_it_holds_what_the_latest_run_expects(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with AuditLog.open(path) as log:
        log.of = 1
        log.append(ACME)
    with AuditLog.open(path, resume=True) as log:
        log.of = 3
        log.append(DEAD)
        assert load_audits(path) == ([ACME, DEAD], False)
        log.append(evolve(ACME, workspace="third"))
    assert load_audits(path)[1]


@pytest.mark.parametrize("of", [None, "many", [2]])
def test_a_file_that_does_not_say_how_many_there_are_is_taken_as_it_is(
    tmp_path: Path, of: object
) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_text(json.dumps({**json.loads(dump_audit(ACME)), "of": of}) + "\n")
    assert load_audits(path) == ([ACME], True)


def test_two_runs_do_not_write_to_one_file(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with AuditLog.open(path) as log:
        for resume in (False, True):
            with pytest.raises(ConfigurationError, match="another run writes to it"):
                AuditLog.open(path, resume=resume)
        log.append(ACME)
    with AuditLog.open(path, resume=True) as log:
        assert log.done == {"acme"}


def test_a_pipe_is_refused_without_waiting_for_its_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigurationError, match="is a pipe"):
        AuditLog.open(tmp_path / "pipe")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a Linux device")
def test_a_full_disk_names_the_file() -> None:
    with AuditLog.open("/dev/full") as log, pytest.raises(OSError, match="/dev/full"):
        log.append(ACME)


# What changed


def changes(old: WorkspaceAudit, new: WorkspaceAudit) -> tuple[Change, ...]:
    return diff_audits([old], [new]).changes


def audited(*domains: str) -> WorkspaceAudit:
    return WorkspaceAudit("acme", (evolve(AGENT, allowed_domains=domains),))


def test_an_audit_does_not_differ_from_itself() -> None:
    assert diff_audits([ACME, audited()], [ACME, audited()]) == AuditDiff((), ())


def test_cost_findings_and_order_are_no_change() -> None:
    two = (AGENT, evolve(AGENT, id="agt_3"))
    old = WorkspaceAudit("acme", two, requests=3)
    new = WorkspaceAudit("acme", two[::-1], ACME.findings, elapsed=9.0)
    assert diff_audits([old], [new]) == AuditDiff((), ())
    assert changes(audited("a.example", "b.example"), audited("b.example", "a.example")) == ()


def test_workspaces_come_and_go() -> None:
    found = diff_audits([audited()], [evolve(audited(), workspace="other")])
    assert found.changes == (Change("removed", "acme"), Change("added", "other"))


def test_agents_come_and_go_with_their_names() -> None:
    new = WorkspaceAudit("acme", (evolve(AGENT, id="agt_9", name="New"),))
    assert changes(audited(), new) == (
        Change("removed", "acme", "agt_1", before="Sales Assistant"),
        Change("added", "acme", "agt_9", after="New"),
    )


def test_domains_come_and_go() -> None:
    assert changes(audited("a.example", "b.example"), audited("b.example", "c.example")) == (
        Change("removed", "acme", "agt_1", "allowed_domains", before="a.example"),
        Change("added", "acme", "agt_1", "allowed_domains", after="c.example"),
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [("Example.com", "EXAMPLE.COM"), ("münchen.de", "xn--mnchen-3ya.de"), ("*.A.com", "*.a.com")],
)
def test_another_spelling_of_a_domain_is_no_change(before: str, after: str) -> None:
    assert changes(audited(before), audited(after)) == ()


@pytest.mark.parametrize("odd", ["https://example.com", " example.com", "example.com.", "a b"])
def test_an_odd_entry_that_was_put_right_is_a_change(odd: str) -> None:
    kinds = [change.kind for change in changes(audited(odd), audited("example.com"))]
    assert kinds == ["removed", "added"]


def test_of_domains_the_first_spelling_is_told_in_the_order_listed() -> None:
    found = changes(audited("B.example", "a.example", "b.example"), audited())
    assert [change.before for change in found] == ["B.example", "a.example"]


def test_a_field_that_changed_is_told_with_both_values() -> None:
    new = WorkspaceAudit("acme", (evolve(audited().agents[0], status="paused"),))
    assert changes(audited(), new) == (
        Change("changed", "acme", "agt_1", "status", "active", "paused"),
    )


def test_an_agent_whose_domains_were_not_read_is_unknown_and_not_changed() -> None:
    unread = WorkspaceAudit("acme", (evolve(AGENT, allowed_domains=None),))
    found = diff_audits([audited("a.example")], [unread])
    assert found == AuditDiff((), (Unknown("acme", "agt_1", "new"),))


@pytest.mark.parametrize(
    ("old", "new", "side"),
    [(audited(), DEAD, "new"), (DEAD, audited(), "old"), (DEAD, DEAD, "both")],
)
def test_agents_that_could_not_be_listed_are_unknown_and_not_removed(
    old: WorkspaceAudit, new: WorkspaceAudit, side: str
) -> None:
    found = diff_audits([evolve(old, workspace="acme")], [evolve(new, workspace="acme")])
    assert found.changes == ()
    assert [(each.agent, each.side) for each in found.unknown] == [(None, side)]


def test_a_workspace_that_a_cut_audit_did_not_come_to_is_unknown() -> None:
    one, two = audited(), evolve(audited(), workspace="other")
    assert diff_audits([one, two], [one], new_complete=False) == AuditDiff(
        (), (Unknown("other", None, "new"),)
    )
    assert diff_audits([one], [one, two], old_complete=False) == AuditDiff(
        (), (Unknown("other", None, "old"),)
    )


def test_a_cut_audit_tells_what_it_did_come_to() -> None:
    found = diff_audits([audited("a.example"), DEAD], [audited()], new_complete=False)
    assert [change.kind for change in found.changes] == ["removed"]


def test_of_a_workspace_that_occurs_twice_the_later_counts() -> None:
    assert diff_audits([audited(), audited("a.example")], [audited("a.example")]).changes == ()
