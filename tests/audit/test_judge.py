import pytest
from attrs import evolve

from chatloom_async.audit.judge import Judge
from chatloom_async.audit.results import WorkspaceAudit
from chatloom_async.errors import ConfigurationError
from tests.audit.samples import AGENT


def test_a_judge_leaves_out_ignored_rules() -> None:
    judge = Judge.of(["example.com"], ["private-address", "count-mismatch", "shared-domain"])
    assert [each.rule for each in judge.agents([AGENT])] == ["not-approved"]
    assert Judge(("example.com",), ("private-address",)).agents([AGENT]) == judge.agents([AGENT])
    assert judge.listing(2, 1) == ()
    twice = [WorkspaceAudit(name, (evolve(AGENT, allowed_domains=("a.de",)),)) for name in "ab"]
    assert judge.across(twice) == ()
    assert [each.rule for each in Judge().across(twice)] == ["shared-domain"]


def test_a_rule_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"no rule 'wildcards' to ignore; there are .*url"):
        Judge.of(None, ["wildcards"])


def test_an_approved_list_of_other_things_than_text_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="holds text"):
        Judge.of([None])  # type: ignore[list-item]  # the mistake


def test_what_is_given_may_be_one_text() -> None:
    assert Judge.of(ignore="wildcard") == Judge.of(ignore=["wildcard"])
    assert Judge.of("example.com\n*.shop.example") == Judge.of(["example.com", "*.shop.example"])
