import pytest
from attrs import evolve

from chatloom_async.audit.diff import AuditDiff, Change, FindingChange, Unknown, diff_audits
from chatloom_async.audit.results import Finding, Gap, WorkspaceAudit
from tests.audit.samples import ACME, AGENT, DEAD


def changes(old: WorkspaceAudit, new: WorkspaceAudit) -> tuple[Change, ...]:
    return diff_audits([old], [new]).changes


def audited(*domains: str) -> WorkspaceAudit:
    return WorkspaceAudit("acme", (evolve(AGENT, allowed_domains=domains),))


def test_an_audit_does_not_differ_from_itself() -> None:
    assert diff_audits([ACME, audited()], [ACME, audited()]) == AuditDiff((), ())


def test_cost_and_order_are_no_change() -> None:
    two = (AGENT, evolve(AGENT, id="agt_3"))
    old = WorkspaceAudit("acme", two, requests=3)
    new = WorkspaceAudit("acme", two[::-1], elapsed=9.0)
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
def test_unlisted_agents_are_unknown(old: WorkspaceAudit, new: WorkspaceAudit, side: str) -> None:
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


URL = Finding("url", "medium", "agt_1", "https://a.example", "'https://a.example' is a URL")
WILD = Finding("wildcard", "medium", "agt_1", "*.b.example", "'*.b.example' holds a wildcard")


def found(*findings: Finding) -> WorkspaceAudit:
    return evolve(audited(), findings=findings)


def test_findings_are_new_or_gone() -> None:
    diff = diff_audits([found(WILD)], [found(URL)])
    assert diff.findings == (FindingChange("new", "acme", URL), FindingChange("gone", "acme", WILD))
    assert diff.changes == ()


def test_a_finding_in_other_words_is_the_same() -> None:
    reworded = evolve(WILD, severity="high", message="reworded", domain="*.B.example")
    assert diff_audits([found(WILD)], [found(reworded)]).findings == ()


def test_one_more_of_the_same_finding_is_new() -> None:
    assert len(diff_audits([found(URL)], [found(URL, URL, URL)]).findings) == 2


def test_a_new_workspace_brings_its_findings() -> None:
    assert diff_audits([], [found(URL)]).findings == (FindingChange("new", "acme", URL),)


BLIND = (evolve(AGENT, allowed_domains=None),)


@pytest.mark.parametrize(
    "unread",
    [WorkspaceAudit("acme", BLIND), WorkspaceAudit("acme", gaps=(Gap(None, "E", 500, "down"),))],
)
def test_what_could_not_be_read_makes_no_finding_new_or_gone(unread: WorkspaceAudit) -> None:
    assert diff_audits([unread], [found(URL)]).findings == ()
    assert diff_audits([found(URL)], [unread]).findings == ()


def test_a_workspace_a_cut_audit_did_not_come_to_loses_no_finding() -> None:
    assert diff_audits([found(URL)], [], new_complete=False).findings == ()
    assert diff_audits([], [found(URL)], old_complete=False).findings == ()


def test_a_domain_that_became_shared_is_a_new_finding() -> None:
    one, two = audited("a.example"), evolve(audited("a.example"), workspace="two")
    (new,) = diff_audits([one, evolve(two, agents=())], [one, two]).findings
    assert (new.kind, new.workspace, new.finding.rule) == ("new", None, "shared-domain")


def test_differences_are_counted_by_kind() -> None:
    old = [found(WILD), evolve(audited(), workspace="gone")]
    new = [evolve(found(URL), agents=(evolve(AGENT, status="paused"),))]
    diff = diff_audits(old, new)
    assert diff.counts == {
        "field changed": 1,
        "domain added": 2,
        "workspace removed": 1,
        "finding new": 1,
        "finding gone": 1,
    }
    assert diff.to_dict()["counts"] == diff.counts
    assert diff.to_dict()["findings"][0]["finding"] == URL.to_dict()
