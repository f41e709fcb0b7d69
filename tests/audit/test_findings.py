"""What is said about a listed domain, and what is not."""

import tracemalloc

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from chatloom_async.audit.domains import ApprovedDomains
from chatloom_async.audit.findings import FINDING_RULES, Rule, agent_findings, shared_domains
from chatloom_async.audit.results import SEVERITIES, WorkspaceAudit
from chatloom_async.models import AuditedAgent
from tests.audit.samples import AGENT


def listing(*domains: str) -> AuditedAgent:
    return evolve(AGENT, allowed_domains=domains)


def rules(*domains: str) -> list[str]:
    return [finding.rule for finding in agent_findings(listing(*domains))]


# German; two Japanese scripts, Cyrillic and an emoji in punycode; not composed; a modifier letter.
ORDINARY = (
    "example.com support.example.com a-b.example.co.uk xn--mnchen-3ya.de münchen.de MÜNCHEN.de "
    "xn--wgv71a119e.jp xn--e1afmkfd.xn--p1ai company.github.io x.partners.example 1.example.com "
    "EXAMPLE.com mu\u0308nchen.de my_shop.example.com xn--ls8h.la \u0441\u043e\u0441\u043e.ru "
    "hawai\u02bbi.example i\u2764\ufe0f.ws"
)


@pytest.mark.parametrize("domain", ORDINARY.split(), ids=ascii)
def test_an_ordinary_domain_is_not_found(domain: str) -> None:
    assert rules(domain) == []


def test_long_entries_are_not_remembered() -> None:
    tracemalloc.start()
    for number in range(50):
        rules(f"{number}.example.com/{'x' * 50_000}")
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 1_000_000


ODD = {
    "address-space": "10.0.0.0/8 *.1",
    "ip-address": "8.8.8.8 2606:4700::1111",
    # A Cyrillic letter among Latin ones; all Cyrillic, like "apple"; all Greek, like "op".
    "look-alike": (
        "xn--brightlef-7yh.example brightle\u0430f.example xn--80ak6aa92e.com \u03bf\u03c1.com"
    ),
    "malformed": (
        "example.com. example..com -example.com <script>.com a.0x1 a.0x 8.8.8.8] xn--.com "
        "xn--a-ecp.com \ud800.com \u202eexample.com"
    ),
    "malformed private-address": "127.1 [fe80::1%25eth0]",
    "malformed url": "user:pw@example.com http://[",
    "malformed url private-address": "[fe80::1%25eth0]:80",
    "malformed url public-suffix": "https: https://",
    "malformed wildcard": "shop.*.example.com",
    "malformed wildcard public-suffix": "foo.*.com",
    "private-address": (
        "localhost LOCALHOST shop.localhost printer.local wiki.internal intranet 127.0.0.1 "
        "10.1.2.3 192.168.0.7 169.254.169.254 ::1 [fd00::1] 0.0.0.0 shop.invalid "
        "abcdefghij234567.onion 192.0.2.44 198.51.100.1 203.0.113.9"
    ),
    "public-suffix": "com co.uk github.io xn--p1ai рф",
    "unknown-top-level": "example.cmo",
    "url": (
        "https://example.com https://docs.example.com/upload?x=1 example.com/ example.com:8080 "
        "//example.com user@example.com"
    ),
    "url private-address": ("http://localhost:3000 http://10.0.0.1:3000/ http://[::1]:3000/"),
    "wildcard": "*.example.com",
    "wildcard public-suffix": "* *.com *.co.uk *.amazonaws.com *.*",
    "wildcard unknown-top-level": "*.foo.corp",
}
UNTIDY = ["", "   ", " example.com", "exa mple.com", f"{'a' * 64}.com", f"{'a.' * 130}com"]


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        *((domain, found) for found, domains in ODD.items() for domain in domains.split()),
        *((domain, "malformed") for domain in (*UNTIDY, "a" * 9999)),
    ],
    ids=ascii,
)
def test_an_odd_entry_is_found_by_its_rules(domain: str, expected: str) -> None:
    assert rules(domain) == expected.split()


# Zero-width space, soft hyphen, variation selector, fullwidth, mathematical, Kelvin, full stop, %.
DISGUISED = (
    "exam\u200bple.com exam\u00adple.com example\ufe0f.com \uff45xample.com \U0001d41example.com "
    "\u212aite.com example\u3002com ex%61mple.com"
)


@pytest.mark.parametrize("domain", DISGUISED.split(), ids=ascii)
def test_a_name_that_is_not_what_it_looks_like_is_malformed_and_not_approved(domain: str) -> None:
    approved = ApprovedDomains.of(["example.com", "kite.com"])
    malformed, unapproved = agent_findings(listing(domain), approved)
    assert (malformed.rule, unapproved.rule) == ("malformed", "not-approved")
    host = "'kite.com'" if "ite" in domain else "'example.com'"
    assert malformed.message.endswith(f"are not what they look like: browsers go to {host}")


@pytest.mark.parametrize(
    ("domains", "reason"),
    [
        (["xn--99999999.com"], "is no name that IDNA 2008 allows"),
        (["a.0x1."], "ends in a number: browsers take it for an IPv4 address, or refuse it"),
        *(
            ([each], "has a scheme or port that no web page has")
            for each in ("data:x", "example.com:99999", "http://[::1]:65536/", "example.com:a")
        ),
        (["127.1"], "in a form that hides it: browsers go to '127.0.0.1'"),
        (["%2A.example.com"], "look like: it means '*.example.com'"),
        (["*.example.com:443"], "has a port: it means '*.example.com'; a domain"),
        (["/"], "has no host name in it"),
        ([".example.com"], "has a wildcard that is not the whole first label"),
        (["https://evil.com\\@example.com"], "browsers go to 'evil.com'"),
        (["example.com"] * 3000, "'example.com' is listed 3,000 times"),
        (["2001:db8::1"], "is an address for documentation: no machine has it"),
    ],
)
def test_an_odd_entry_is_told_why(domains: list[str], reason: str) -> None:
    assert reason in agent_findings(listing(*domains))[0].message


def test_no_domain_is_found_where_domains_were_read() -> None:
    (finding,) = agent_findings(listing())
    assert (finding.rule, finding.agent, finding.domain) == ("no-domain", "agt_1", None)
    assert finding.message == "no domain is listed; what that means is not documented"
    assert agent_findings(evolve(AGENT, allowed_domains=None)) == ()


@pytest.mark.parametrize(
    "again", ["example.com", "EXAMPLE.com", " example.com", "example.com.", "https://example.com/"]
)
def test_a_domain_listed_twice_is_found_once_however_it_is_spelt(again: str) -> None:
    assert rules("example.com", again).count("duplicate") == 1


@pytest.mark.parametrize(
    ("position", "status"), [("center", "active"), ("bottom-left", "paused"), ("", "active")]
)
def test_a_value_that_is_not_documented_is_found(position: str, status: str) -> None:
    agent = evolve(listing("example.com"), position=position, status=status)
    assert [finding.rule for finding in agent_findings(agent)] == ["unknown-value"]


def test_many_findings_and_long_ones_are_cut() -> None:
    domains = [f"shop{number}.cmo" for number in range(1500)]
    found = agent_findings(listing(*domains), ApprovedDomains.of(["*.cmo"]))
    assert [finding.domain for finding in found] == [*domains[:1000], None]
    assert {finding.rule for finding in found} == {"unknown-top-level"}
    assert found[-1].message.startswith("the same holds for 500 more entries: 'shop1000.cmo', ")
    (long,) = agent_findings(listing("a" * 5000))
    assert long.domain == "a" * 2048


def test_of_very_many_odd_entries_the_last_are_not_judged() -> None:
    domains = [*(f"shop{number}.cmo" for number in range(10_005)), "example.com"]
    *_, unjudged, others = agent_findings(listing(*domains))
    assert (others.rule, others.domain) == ("unknown-top-level", None)
    assert unjudged.rule == "not-judged"
    assert unjudged.message == "5 more odd entries are listed; not judged"


def workspace(name: str, *agents: tuple[str, ...] | None) -> WorkspaceAudit:
    return WorkspaceAudit(name, tuple(evolve(AGENT, allowed_domains=each) for each in agents))


SHOP, GARBAGE = ("example.com",), ("localhost", "10.0.0.1", "not a domain", "")


@pytest.mark.parametrize(
    ("workspaces", "told"),
    [
        (
            [workspace("one", SHOP, None), workspace("two", ("two.example",), ("EXAMPLE.com",))],
            ["2 workspaces: one, two"],
        ),
        ([workspace("one", SHOP, SHOP)], []),
        ([workspace("one", SHOP), workspace("one", SHOP)], []),
        ([workspace("one", GARBAGE), workspace("two", GARBAGE)], []),
        (
            [workspace(f"w{number}", SHOP) for number in range(7)],
            ["7 workspaces: w0, w1, w2, w3, w4 and 2 more"],
        ),
    ],
    ids=["two spellings", "one workspace", "one twice", "local names and garbage", "many"],
)
def test_a_shared_domain_is_found_once(workspaces: list[WorkspaceAudit], told: list[str]) -> None:
    found = shared_domains(workspaces)
    assert {(each.rule, each.domain) for each in found} <= {("shared-domain", "example.com")}
    assert [each.message for each in found] == [f"allowed by {each}" for each in told]


@given(st.text())
def test_no_text_is_too_odd_to_be_judged(domain: str) -> None:
    for finding in agent_findings(listing(domain), ApprovedDomains.of([])):
        assert finding.severity == FINDING_RULES[finding.rule].severity
        assert finding.domain == domain
        assert len(finding.message) < 1000


@pytest.mark.parametrize("rule", FINDING_RULES.values(), ids=lambda rule: rule.id)
def test_every_rule_has_a_sentence_and_a_source(rule: Rule) -> None:
    assert rule.sentence.endswith(".")
    assert rule.source
    assert rule.severity in SEVERITIES
