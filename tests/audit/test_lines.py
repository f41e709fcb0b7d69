import json
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from chatloom_async.audit.diff import diff_audits
from chatloom_async.audit.files import AuditFile, Line, dump_audit, read_audits
from chatloom_async.audit.judge import Judge
from chatloom_async.audit.log import AuditLog
from chatloom_async.audit.results import WorkspaceAudit
from chatloom_async.errors import ConfigurationError
from tests.audit.samples import ACME, AGENT, DEAD


def parsed(line: str) -> Line:
    return Line("file, line 1", json.loads(line))


def test_a_line_has_the_documented_names() -> None:
    line = json.loads(dump_audit(ACME))
    (finding,), (gap,), (read, unread) = line["findings"], line["gaps"], line["agents"]
    names = "id name primary_color secondary_color position template status created_at"
    assert " ".join(read) == f"{names} allowed_domains"
    assert (read["created_at"], read["status"]) == ("2026-01-15T09:00:00+00:00", "active")
    assert (read["allowed_domains"], unread["allowed_domains"]) == (
        ["example.com", "localhost"],
        None,
    )
    assert list(finding) == ["rule", "severity", "agent", "domain", "message"]
    assert list(gap) == ["agent", "error", "status", "message"]
    assert (line["requests"], line["retried"], line["refused"], line["elapsed"]) == (10, 7, 1, 2.5)


@pytest.mark.parametrize("audit", [ACME, DEAD, WorkspaceAudit("empty")])
def test_a_line_is_read_as_what_was_written(audit: WorkspaceAudit) -> None:
    assert (parsed(dump_audit(audit, 7)).audit(), parsed(dump_audit(audit, 7)).of) == (audit, 7)


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_any_text_survives_on_one_line_of_ascii(name: str) -> None:
    audit = WorkspaceAudit(name, (evolve(AGENT, name=name, allowed_domains=(name,)),))
    line = dump_audit(audit)
    assert line.isascii()
    assert len(line.splitlines()) == 1
    assert parsed(line).audit() == audit


def test_lines_of_other_releases_are_read() -> None:
    line = json.loads(dump_audit(ACME))
    line["later"] = line["agents"][0]["later"] = line["gaps"][0]["later"] = 1
    line["findings"][0]["severity"] = "critical"
    del line["retried"], line["refused"]
    findings = (evolve(ACME.findings[0], severity="low"),)
    expected = evolve(ACME, findings=findings, retried=0, refused=0)
    assert parsed(json.dumps(line)).audit() == expected


NO_LINES = [
    *("[]", "null", "{}", '{"workspace": "a"}', '{"run": 5}', '{"run": {}}'),
    '{"workspace": 1, "agents": [], "findings": [], "gaps": []}',
    '{"workspace": ["a"], "agents": [], "findings": [], "gaps": []}',
    '{"workspace": "a", "agents": [{}], "findings": [], "gaps": []}',
    '{"workspace": "a", "agents": null, "findings": [], "gaps": []}',
    '{"n": ' + "1" * 5000 + "}",
    "[" * 100_000,
]


def test_what_is_no_line_of_an_audit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for line in NO_LINES:
        path.write_text(f"{line}\n")
        with pytest.raises(ConfigurationError, match="line 1: no line of an audit: "):
            AuditFile.read(path)


def test_a_file_appended_to_a_torn_line_is_read(tmp_path: Path) -> None:
    nested = evolve(ACME, agents=(evolve(AGENT, extra={"owner": {"workspace": 1}}),))
    path, later = tmp_path / "file", f"{dump_audit(nested)}\n{dump_audit(DEAD)}\n"
    first = evolve(DEAD, workspace="first")
    for torn in range(1, len(dump_audit(first))):
        path.write_text(dump_audit(first)[:torn] + later)
        assert AuditFile.read(path).audits == (nested, DEAD)
    path.write_text(dump_audit(first) + later.replace("\n", ""))
    assert AuditFile.read(path).audits == (first, nested, DEAD) == tuple(read_audits(path))


SAMPLE = {**ACME.to_dict(), "of": 1}
VALUES = (None, 5, True, "text", [1], {"a": 1}, float("inf"))
WRONG = [
    *({**SAMPLE, name: value} for name in SAMPLE for value in VALUES),
    *(
        {**SAMPLE, part: [{**SAMPLE[part][0], name: value}]}
        for part in ("agents", "findings", "gaps")
        for name in SAMPLE[part][0]
        for value in VALUES
    ),
]


def test_a_field_of_a_wrong_type_never_crashes(tmp_path: Path) -> None:
    path, refused = tmp_path / "file", 0
    for line in WRONG:
        path.write_text(f"{json.dumps(line)}\n{dump_audit(DEAD)}\n")
        try:
            audits = AuditFile.read(path).audits
            diff_audits(audits, audits[::-1])
            AuditLog.open(path, resume=True, judge=Judge()).close()
        except ConfigurationError as error:
            refused += "line 1" in str(error)
    assert refused > len(WRONG) / 2
