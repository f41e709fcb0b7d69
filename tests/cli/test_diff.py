"""The command ``diff``."""

import json
from pathlib import Path

import pytest

from chatloom_async.audit.files import dump_audit
from chatloom_async.audit.results import Finding, WorkspaceAudit
from chatloom_async.models import Gap
from chatloom_async.testing import Sandbox
from tests.audit.samples import agent
from tests.cli.terminals import Cli

Findings = tuple[Finding, ...]

URL = Finding("url", "medium", "agt_1", "x.example/", "'x.example/' is a URL")
REFUSED = Gap(None, "AuthenticationError", 401, "Invalid API key.")
HIGH = Finding("look-alike", "high", "agt_1", "one.example", "'one.example' is like another")


def written(path: Path, *audits: WorkspaceAudit) -> str:
    path.write_text("".join(f"{dump_audit(audit)}\n" for audit in audits))
    return str(path)


def test_what_changed_is_told(tmp_path: Path, cli: Cli) -> None:
    one, two, four = agent("agt_1", "One"), agent("agt_2", "Two", None), agent("agt_4", "Four")
    uno = agent("agt_1", "Uno", ("shop.example", "new.example"))
    third = agent("agt_3", "Third\x1b[31m")
    failed = Gap("agt_2", "InternalServerError", 500, "later")
    old = written(
        tmp_path / "old.jsonl",
        WorkspaceAudit("acme", (one, two, four), (URL,), (failed,)),
        WorkspaceAudit("dark", gaps=(REFUSED,)),
        WorkspaceAudit("gone", gaps=(REFUSED,)),
    )
    new = written(
        tmp_path / "new.jsonl",
        WorkspaceAudit("acme", (uno, agent("agt_2", "Two"), third), (HIGH,)),
        WorkspaceAudit("dark", gaps=(REFUSED,)),
        WorkspaceAudit("fresh", gaps=(REFUSED,)),
    )
    *told, counts = cli("diff", old, new, status=1).out.splitlines()
    assert told == [
        "acme",
        "  - agent agt_4 removed: Four",
        "  ~ agt_1: name: One → Uno",
        "  + agt_1: domain added: new.example",
        "  + agent agt_3 added: Third\\x1b[31m",
        "fresh",
        "  + workspace added",
        "gone",
        "  - workspace removed",
        "! acme · agt_1: new high look-alike: 'one.example' is like another",
        "- acme · agt_1: gone medium url: 'x.example/' is a URL",
        "not known, for it could not be read:",
        "  ? acme: domains of agt_2, in the old audit",
        "  ? dark: its agents, in both audits",
        "  ? fresh: its agents, in the new audit",
        "  ? gone: its agents, in the old audit",
    ]
    kinds = "1 agent added, 1 agent removed, 1 domain added, 1 field changed, 1 finding gone"
    assert counts == f"8 changes: {kinds}, 1 finding new, 1 workspace added, 1 workspace removed"
    data = json.loads(cli("diff", old, new, "--format", "json", status=1).out)
    assert [each["kind"] for each in data["changes"] if each["agent"] == "agt_3"] == ["added"]
    assert data["findings"][0]["finding"] == HIGH.to_dict()
    assert data["counts"]["agent added"] == 1


def test_a_workspace_that_a_cut_run_did_not_come_to_is_not_called_removed(
    served: Sandbox, keys: str, out: Path, cli: Cli
) -> None:
    cli("audit", keys, "--out", out)
    assert served.count() == 6
    cut = out.with_name("cut.jsonl")
    cut.write_text(out.read_text().partition("\n")[0] + "\n")
    assert cli("diff", out, out).out == "0 changes\n"
    shown = cli("diff", out, cut)
    assert "removed" not in shown.out
    assert "its agents, in the new audit" in shown.out
    assert f"{cut} is of a run that was cut" in shown.err
    assert str(out) not in shown.err


@pytest.mark.parametrize(
    ("before", "after", "fail_on", "status"),
    [
        ((), (URL,), ["new-finding"], 1),
        ((), (URL,), ["high"], 0),
        ((URL,), (URL, HIGH), ["high", "gap"], 1),
        ((URL,), (URL,), ["new-finding"], 0),
        ((HIGH,), (), ["new-finding"], 0),
        ((HIGH,), (), [], 1),
    ],
)
def test_new_findings_set_the_exit_status(  # noqa: PLR0913, PLR0917 - fixtures
    before: Findings, after: Findings, fail_on: list[str], status: int, tmp_path: Path, cli: Cli
) -> None:
    agents = (agent("agt_1", "One", ("one.example", "x.example/")),)
    old = written(tmp_path / "old", WorkspaceAudit("acme", agents, before))
    new = written(tmp_path / "new", WorkspaceAudit("acme", agents, after))
    cli("diff", old, new, *(f"--fail-on={level}" for level in fail_on), status=status)


def test_only_a_gap_in_the_new_audit_counts(tmp_path: Path, cli: Cli) -> None:
    old = written(tmp_path / "old", WorkspaceAudit("acme", (agent("agt_1", "One"),)))
    new = written(tmp_path / "new", WorkspaceAudit("acme", gaps=(REFUSED,)))
    cli("diff", old, new, "--fail-on", "gap", status=1)
    cli("diff", new, old, "--fail-on", "gap")
    cli("diff", "/dev/null", "/dev/null", "--fail-on", "gap", status=1)
