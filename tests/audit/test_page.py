import base64
import hashlib
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from attrs import define, evolve, field

from chatloom_async.audit.page import ReportContext, write_report
from chatloom_async.audit.results import Finding, WorkspaceAudit, rows
from chatloom_async.errors import ConfigurationError
from chatloom_async.models import AuditedAgent, Gap
from tests.audit.samples import AGENT, agent, workspace

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOSTILE = (
    "<script>alert('x')</script>\"'><img src=x onerror=alert(1)>{{ 7 * 7 }}\u202e\x1b[31m\ud800"
)


@define
class Page(HTMLParser):
    """What a browser would make of the page: tags, attributes, text, script and style."""

    tags: list[tuple[str, dict[str, str | None]]] = field(factory=list)
    texts: list[str] = field(factory=list)
    raw: dict[str, str] = field(factory=dict)
    _inside: str = ""

    def __attrs_post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_data(self, data: str) -> None:
        if self._inside in ("script", "style"):
            self.raw[self._inside] = self.raw.get(self._inside, "") + data
        elif data.strip():
            self.texts.append(data.strip())

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = ""

    @property
    def text(self) -> str:
        return " ".join(self.texts)


def page_of(
    folder: Path, *audits: WorkspaceAudit, context: ReportContext | None = None
) -> tuple[Page, str]:
    path = folder / "report.html"
    write_report(audits, path, NOON, *([context] if context else []))
    source = path.read_text(encoding="utf-8")
    page = Page()
    page.feed(source)
    page.close()
    return page, source


def elements(source: str, name: str) -> list[tuple[dict[str, str | None], str]]:
    """Return attributes and text of every element of a kind that holds none of its own kind."""
    found: list[tuple[dict[str, str | None], str]] = []
    for part in re.findall(rf"<{name}[ >].*?</{name}>", source, flags=re.DOTALL):
        page = Page()
        page.feed(part)
        found.append((page.tags[0][1], page.text))
    return found


def groups(source: str) -> list[str]:
    """Return head and findings of every kind of finding, in the order of the page."""
    return [text for attrs, text in elements(source, "details") if "data-severity" in attrs]


def bars(source: str) -> dict[str, str]:
    """Return the number of every bar that can be clicked, by its label and count."""
    return {
        text: str(attrs["data-bar"])
        for attrs, text in elements(source, "button")
        if "data-bar" in attrs
    }


def reached(source: str, bar: str) -> list[str]:
    """Return the names of the workspaces that a click on a bar leaves on the page."""
    number = bars(source)[bar]
    return [
        text.split(" ")[0]
        for attrs, text in elements(source, "details")
        if number in str(attrs.get("data-bars", "")).split(" ")
    ]


UNREAD = workspace("acme", agent("a1", domains=None), gaps=(Gap("a1", "E", 500, "no"),))
ONE_AGENT = [
    "a1 · modern · bottom-right · 2026-01-15 shop.example",
    "Nothing was found.",
    "everything was read",
    "page made 01 March 2026, 12:00 UTC",
]
TWO_WORKSPACES = [
    workspace("acme", agent("a1"), agent("a2", domains=("localhost", "shop.example"))),
    workspace("beta", gaps=(Gap(None, "AuthenticationError", 401, "revoked"),)),
]
TOTALS = ["2 workspaces", "1 not readable", "2 agents", "2 domains 3 entries", "1 finding "]
COSTS = ["beta : AuthenticationError 401: revoked", "4 requests, 1 retried, 1.5 s"]
NO_BARS = ["click one to see who", "How far domains are spread"]
SAID: dict[str, tuple[list[WorkspaceAudit], list[str], list[str]]] = {
    "nothing": ([], ["No workspace was audited"], ["Click"]),
    "no agent": ([workspace("acme")], ["No agent in this workspace."], ["incomplete"]),
    "one agent": ([workspace("acme", agent("a1"))], ONE_AGENT, []),
    "no domain": ([workspace("acme", agent("a1", domains=()))], ["No domain is listed."], NO_BARS),
    "totals": (TWO_WORKSPACES, TOTALS + COSTS, []),
    "unread domains": ([UNREAD], ["domains not read", "acme · a1 : E 500"], ["no domain listed"]),
}


@pytest.mark.parametrize(("audits", "told", "untold"), SAID.values(), ids=SAID)
def test_a_page_says_what_there_is_and_is_not(
    audits: list[WorkspaceAudit], told: list[str], untold: list[str], tmp_path: Path
) -> None:
    page, source = page_of(tmp_path, *audits)
    assert [each for each in told if each not in page.text] == []
    assert [each for each in untold if each in page.text] == []
    assert ("<form" in source) is bool(audits)


def test_findings_stand_first_by_rule_the_severest_before(tmp_path: Path) -> None:
    odd = agent("a1", domains=()), agent("a2", domains=("*.x.example", "co.uk"))
    page, source = page_of(tmp_path, workspace("acme", *odd))
    high, medium, low = groups(source)
    assert high.startswith("high public-suffix 1 It stands for hosts that anybody can have")
    assert medium.startswith("medium wildcard 1")
    assert "acme · Helper : '*.x.example' holds a wildcard" in medium
    assert low.startswith("low no-domain 1")
    assert page.texts.index("Findings") < page.texts.index("Domains by number of agents")


def test_domains_are_ordered_by_the_number_of_agents(tmp_path: Path) -> None:
    page, source = page_of(
        tmp_path,
        workspace("acme", agent("a1", domains=("one.example", "two.example", "three.example"))),
        workspace("beta", agent("b1", domains=("Two.example", "three.example"))),
    )
    labels = [each for each in bars(source) if "." in each]
    assert labels == ["two.example 2", "three.example 2", "one.example 1"]
    told = "several workspaces : '{}' allowed by 2 workspaces: acme, beta"
    across = " ".join(told.format(each) for each in ("three.example", "two.example"))
    assert across in page.text


def test_what_is_worst_comes_first(tmp_path: Path) -> None:
    page, _ = page_of(
        tmp_path,
        workspace("calm", agent("a1")),
        workspace("unread", gaps=(Gap(None, "APITimeoutError", None, "late"),)),
        workspace("severe", agent("a1", domains=("co.uk",))),
    )
    list_of_them = page.texts[page.texts.index("Workspaces") :]
    places = [list_of_them.index(name) for name in ("severe", "unread", "calm")]
    assert places == sorted(places)


def test_hostile_text_is_inert_wherever_it_stands(tmp_path: Path) -> None:
    look = (HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    hostile = AuditedAgent(HOSTILE, HOSTILE, *look, NOON, (HOSTILE,))
    finding = Finding("no-domain", "low", HOSTILE, HOSTILE, HOSTILE)
    audit = WorkspaceAudit(HOSTILE, (hostile,), (finding,), (Gap(HOSTILE, HOSTILE, 1, HOSTILE),))
    page, source = page_of(tmp_path, audit, workspace("beta", agent("b", domains=(HOSTILE,))))
    tags = [tag for tag, _ in page.tags]
    names = {name for _, attrs in page.tags for name in attrs}
    assert tags.count("script") == 1
    assert not {"img", "link", "iframe", "object", "a"} & set(tags)
    assert not [name for name in names if name.startswith("on") or name in ("style", "src")]
    assert "alert" not in page.raw["script"] + page.raw["style"]
    assert "\\u202e" in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert not set(source) & {"\u202e", "\x1b", "\ud800"}


def test_long_names_are_cut_and_empty_ones_named(tmp_path: Path) -> None:
    long, empty = agent("a1", "N" * 10_000), agent("a2", "\t ", domains=("",))
    page, source = page_of(tmp_path, workspace("acme", long, empty))
    assert "N" * 159 + "…" in page.texts
    assert "N" * 200 not in source
    assert "(blank) a2 ·" in page.text
    assert ">(empty)</bdi>" in source
    assert "(empty) 1" in bars(source)


def test_colours_reach_the_style_only_as_hex(tmp_path: Path) -> None:
    evil = evolve(AGENT, primary_color="red;} *{x:url(//e)", secondary_color="#abc")
    page, _ = page_of(tmp_path, workspace("acme", evil))
    assert "url(" not in page.raw["style"]
    assert "linear-gradient(90deg, #8a8a94 50%, #abc 50%)" in page.raw["style"]


def test_the_page_allows_and_loads_nothing_but_its_own(tmp_path: Path) -> None:
    page, source = page_of(tmp_path, workspace("acme", agent("a1")))
    assert not re.search(r"https?://|src=|@import|url\(", source)
    policy = next(
        str(attrs["content"])
        for _, attrs in page.tags
        if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for kind in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(page.raw[kind].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_a_bar_leads_only_to_where_its_whole_domain_is_listed(tmp_path: Path) -> None:
    long = "x" * 200
    _, source = page_of(
        tmp_path,
        workspace("acme", agent("a1", domains=("*", "shop.example"))),
        workspace("beta", agent("b1", domains=("*.shop.example",))),
        workspace("gamma", agent("c1", domains=("Shop.example", "my.shop.example"))),
        workspace("delta", agent("f1", domains=("xn--bcher-kva.example",))),
        workspace("epsilon", agent("g1", domains=("bücher.example", "BÜCHER.example"))),
        workspace("one", *(agent(each, domains=(f"{long}.one",)) for each in ("d1", "d2"))),
        workspace("two", agent("e1", domains=(f"{long}.two",))),
    )
    assert reached(source, "* 1") == ["acme"]
    assert reached(source, "xn--bcher-kva.example 2") == ["epsilon", "delta"]
    assert reached(source, "shop.example 2") == ["acme", "gamma"]
    assert reached(source, f"{'x' * 159}… 2") == ["one"]
    assert reached(source, f"{'x' * 159}… 1") == ["two"]
    first, number = bars(source)["shop.example 2"], bars(source)["* 1"]
    assert f'<bdi data-bar="{first}">Shop.example</bdi>' in source
    assert f'<li data-w="0" data-bar="{number}"><bdi>acme</bdi> · <bdi>Helper</bdi>' in source


def test_many_findings_of_a_kind_are_folded_away(tmp_path: Path) -> None:
    for amount, opened in ((12, 1), (13, 0)):
        crowd = [agent(f"a{number}", domains=("localhost",)) for number in range(amount)]
        page, _ = page_of(tmp_path, workspace("acme", *crowd))
        folded = [attrs for tag, attrs in page.tags if attrs.get("class") == "group"]
        assert ["open" in each for each in folded] == [bool(opened)]


def test_new_findings_are_marked_and_come_first(tmp_path: Path) -> None:
    audits = [workspace(name, agent("a1", domains=("localhost",))) for name in ("acme", "beta")]
    context = ReportContext(since="26 November 2026", new={("beta", audits[1].findings[0])})
    _, source = page_of(tmp_path, *audits, context=context)
    (group,) = groups(source)
    assert group.startswith("medium private-address 2 1 new")
    assert re.search(r"new beta · Helper.*acme · Helper", group)
    assert "1 new since 26 November 2026" in source
    assert 'id="fresh"' in source
    assert 'id="fresh"' not in page_of(tmp_path, *audits)[1]


def test_a_cut_run_is_said_to_be_incomplete(tmp_path: Path) -> None:
    context = ReportContext(lacking=32, missing=("left <out>",))
    page, source = page_of(tmp_path, *(workspace(f"w{n}") for n in range(5)), context=context)
    assert "This audit is incomplete 5 of 37 workspaces were read" in page.text
    assert "<bdi>left &lt;out&gt;</bdi>" in source
    assert "everything was read" not in source


def test_a_page_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("before")
    broken = WorkspaceAudit("acme", findings=(Finding("url", "low", None, None, 7),))  # type: ignore[arg-type]  # what breaks it
    with pytest.raises(AttributeError):
        write_report([broken], path, NOON)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ConfigurationError, match="cannot write"):
        write_report([], tmp_path / "none" / "report.html", NOON)


def test_what_concerns_an_agent_is_in_one_row() -> None:
    finding, gap = Finding("url", "low", "a1", None, "…"), Gap("a1", "E", 500, "…")
    twice = WorkspaceAudit("acme", (agent("a1"), agent("a1")), (finding,), (gap,))
    assert [(row.findings, row.gaps) for row in rows(twice)] == [([finding], [gap]), ([], [])]
    unlisted, other = rows(WorkspaceAudit("acme", (agent("a2"),), (finding,), (gap,)))
    assert (unlisted.agent, unlisted.findings, unlisted.gaps) == (None, [finding], [gap])
    assert (other.findings, other.gaps) == ([], [])
