from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from chatloom_async.audit.diff import (
    AuditDiff,
    Change,
    FindingChange,
    Unknown,
    diff_audits,
    diff_files,
)
from chatloom_async.audit.files import AuditFile
from chatloom_async.audit.judge import Judge
from chatloom_async.audit.log import AuditLog
from chatloom_async.audit.results import Finding, WorkspaceAudit
from chatloom_async.models import Gap
from tests.audit.samples import AGENT, DEAD


def audited(*domains: str) -> WorkspaceAudit:
    return WorkspaceAudit("acme", (evolve(AGENT, allowed_domains=domains),))


TWO = (AGENT, evolve(AGENT, id="agt_3"))
SPELT = ["a.de b.de, b.de a.de", "A.com, a.COM", "ü.de, xn--tda.de", "*.A.com, *.a.com"]
SAME = [
    (WorkspaceAudit("acme", TWO, requests=3), WorkspaceAudit("acme", TWO[::-1], elapsed=9.0)),
    *([audited(*each.split()) for each in pair.split(",")] for pair in SPELT),
]


@pytest.mark.parametrize(("old", "new"), SAME)
def test_cost_and_order_and_spelling_are_no_change(
    old: WorkspaceAudit, new: WorkspaceAudit
) -> None:
    assert diff_audits([old], [new]) == AuditDiff((), ())


def test_what_changed_is_told_in_order() -> None:
    (before,) = audited("B.example", "a.example", "b.example", "c.example").agents
    (after,) = audited("c.example", "d.example").agents
    left, came = evolve(AGENT, id="agt_0", name="Old"), evolve(AGENT, id="agt_9", name="New")
    old = [WorkspaceAudit("acme"), WorkspaceAudit("acme", (before, left)), WorkspaceAudit("gone")]
    new = [WorkspaceAudit("acme", (came, evolve(after, status="paused"))), WorkspaceAudit("fresh")]
    assert diff_audits(old, new).changes == (
        Change("removed", "acme", "agt_0", before="Old"),
        Change("added", "acme", "agt_9", after="New"),
        Change("changed", "acme", "agt_1", "status", "active", "paused"),
        Change("removed", "acme", "agt_1", "allowed_domains", before="B.example"),
        Change("removed", "acme", "agt_1", "allowed_domains", before="a.example"),
        Change("added", "acme", "agt_1", "allowed_domains", after="d.example"),
        Change("added", "fresh"),
        Change("removed", "gone"),
    )


@pytest.mark.parametrize("odd", ["https://example.com", " example.com", "example.com.", "a b"])
def test_an_odd_entry_that_was_put_right_is_a_change(odd: str) -> None:
    found = diff_audits([audited(odd)], [audited("example.com")])
    assert [change.kind for change in found.changes] == ["removed", "added"]


BLIND = WorkspaceAudit("acme", (evolve(AGENT, allowed_domains=None),))
LOST = evolve(DEAD, workspace="acme")
COUNTED = Gap(None, "ResponseDecodeError", None, "count is 2, but 1 agents are listed")
PARTIAL = evolve(audited("a.example"), gaps=(COUNTED,))
WHOLE = WorkspaceAudit("acme", (*audited("b.example").agents, TWO[1]))
LATER = WorkspaceAudit("acme", (AGENT, evolve(BLIND.agents[0], id="agt_3")))
UNKNOWN = [
    ([audited()], [BLIND], [], Unknown("acme", "agt_1", "new")),
    ([BLIND], [audited()], [], Unknown("acme", "agt_1", "old")),
    ([BLIND], [BLIND], [], Unknown("acme", "agt_1", "both")),
    ([audited()], [LOST], [], Unknown("acme", None, "new")),
    ([LOST], [audited()], [], Unknown("acme", None, "old")),
    ([WHOLE], [PARTIAL], ["allowed_domains"] * 2, Unknown("acme", None, "new")),
    ([PARTIAL], [WHOLE], ["allowed_domains"] * 2, Unknown("acme", None, "old")),
    ([WorkspaceAudit("acme", (AGENT,))], [LATER], [None], Unknown("acme", "agt_3", "new")),
    ([], [LATER], [None], Unknown("acme", "agt_3", "new")),
]


@pytest.mark.parametrize(("old", "new", "fields", "unknown"), UNKNOWN)
def test_what_was_not_read_is_unknown_and_no_change(
    old: list[WorkspaceAudit], new: list[WorkspaceAudit], fields: list[str | None], unknown: Unknown
) -> None:
    told = diff_audits(old, new)
    assert [change.field for change in told.changes] == fields
    assert told.unknown == (unknown,)


def test_of_an_ignored_rule_nothing_is_new_or_gone() -> None:
    shared = [evolve(audited("a.example"), workspace=name) for name in ("acme", "globex")]
    assert [each.finding.rule for each in diff_audits([], shared).findings] == ["shared-domain"]
    assert diff_audits([], shared, ignored=("shared-domain",)).findings == ()
    assert diff_audits([found(WILD)], [audited()], ignored=("wildcard",)).findings == ()


def test_without_an_approved_list_nothing_is_approved_since(tmp_path: Path) -> None:
    files = []
    for number, approved in enumerate([["b.de"], None, ["a.de"]]):
        judge = Judge.of(approved)
        audit = evolve(audited("a.de"), findings=judge.agents(audited("a.de").agents))
        with AuditLog.open(tmp_path / str(number), workspaces=["acme"], judge=judge) as log:
            log.append(audit)
        files.append(AuditFile.read(tmp_path / str(number)))
    told = [[each.kind for each in diff_files(files[0], later).findings] for later in files[1:]]
    assert told == [[], ["gone"]]


def test_what_a_cut_audit_did_not_come_to_is_unknown() -> None:
    both, one = [audited(), evolve(audited(), workspace="other")], [audited()]
    lost, come = Unknown("other", None, "new"), Unknown("other", None, "old")
    assert diff_audits(both, one, new_complete=False) == AuditDiff((), (lost,))
    assert diff_audits(one, both, old_complete=False) == AuditDiff((), (come,))
    told = diff_audits([audited("a.example"), DEAD], one, new_complete=False)
    assert [change.kind for change in told.changes] == ["removed"]
    assert diff_audits([found(URL)], [], new_complete=False).findings == ()
    assert diff_audits([], [found(URL)], old_complete=False).findings == ()


URL = Finding("url", "medium", "agt_1", "https://a.example", "'https://a.example' is a URL")
WILD = Finding("wildcard", "medium", "agt_1", "*.b.example", "'*.b.example' holds a wildcard")
REWORDED = evolve(WILD, severity="high", message="reworded", domain="*.B.example")


def found(*findings: Finding) -> WorkspaceAudit:
    return evolve(audited(), findings=findings)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ([found(WILD)], [found(URL)], [("new", URL), ("gone", WILD)]),
        ([found(WILD)], [found(REWORDED)], []),
        ([found(URL)], [found(URL, URL, URL)], [("new", URL)] * 2),
        ([], [found(URL)], [("new", URL)]),
    ],
    ids=["new and gone", "in other words", "more of the same", "of a new workspace"],
)
def test_findings_are_new_or_gone(
    old: list[WorkspaceAudit], new: list[WorkspaceAudit], told: list[tuple[Any, Finding]]
) -> None:
    diff = diff_audits(old, new)
    assert diff.findings == tuple(FindingChange(kind, "acme", each) for kind, each in told)
    assert diff.changes == (() if old else (Change("added", "acme"),))


@pytest.mark.parametrize("unread", [BLIND, LOST])
def test_what_could_not_be_read_makes_no_finding_new_or_gone(unread: WorkspaceAudit) -> None:
    assert diff_audits([unread], [found(URL)]).findings == ()
    assert diff_audits([found(URL)], [unread]).findings == ()
