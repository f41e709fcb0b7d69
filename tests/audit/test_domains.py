"""What a listed domain is, what it covers, and whether that is approved."""

import pytest

from chatloom_async.audit.domains import ApprovedDomains, parse_entry
from chatloom_async.errors import ConfigurationError

COVERED = {
    "everything": (
        "* *.* ** *.*.* .* *. *:* *:443 //* https: HTTP:// wss: *://* *://*/* https://*:* "
        "http*://* <all_urls> %2A \uff0a 0.0.0.0/0 0.0.0.0/0.0.0.0 ::/0 */*"
    ),
    "anybody's hosts": (
        "*.com *.COM *.com. *.co.uk *.github.io https://*.com/ *.*.com *com .com *example.com "
        "example.* shop.*.com *-x.vercel.app *.amazonaws.com *.za *\u3002com *.\u0440\u0444"
    ),
    "addresses": (
        "10.* 192.168.*.* *.1 10.0.0.1* 0x7f.* 10.0.0.0/8 10/8 10.0.0.0/255.0.0.0 10.0.0.1-9 "
        "10.0.0.1-10.0.0.99 fd00::/8 fd00:*:* [fd00::*] fd00::1-fd00::9 http://10.*/ fd00::* ::/10"
    ),
    "hosts below": (
        "*.example.com *.*.example.com shop.*.example.com *shop.example.com .example.com "
        "*.wikipedia.org *.bbc.co.uk *.localhost *.example.com:443"
    ),
    "one host": (
        "example.com com github.io amazonaws.com localhost 10.0.0.1 10.0.0.1/32 ::1 127.1 1-2.com "
        "10.0.0.1/8080 fd00::1 fd00::1/128 "
        "example.com/* https://example.com/*.com example.com:* *@example.com /*"
    ),
}


@pytest.mark.parametrize(
    ("text", "covers"),
    [(text, covers) for covers, texts in COVERED.items() for text in texts.split()],
    ids=ascii,
)
def test_an_entry_covers_what_it_stands_for(text: str, covers: str) -> None:
    assert parse_entry(text).covers == covers


@pytest.mark.parametrize(
    ("text", "host", "hidden"),
    [
        (" Example.COM. ", "example.com", False),
        ("*.\U0001f4a9.la", "xn--ls8h.la", False),
        (r"https://evil.com\@example.com", "evil.com", False),
        ("https://example.com@evil.com", "evil.com", True),
        ("127.1", "127.0.0.1", True),
        ("example.com:*", "example.com", False),
        (r"\\evil.com", "evil.com", False),
        ("http://[0::1]:80", "::1", False),
        ("user:secret@example.com", "", False),
        ("my-.example.com", "my-.example.com", False),
        ("exa mple.com", "", False),
        ("a" * 3000, "", False),
    ],
)
def test_the_host_is_what_browsers_ask_for(text: str, host: str, *, hidden: bool) -> None:
    entry = parse_entry(text)
    assert (entry.host, entry.hidden if host else False) == (host, hidden)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("example.com", "HTTPS://EXAMPLE.COM:443/", True),
        ("example.com", "*.example.com", False),
        ("https:/one.example", "https:/two.example", False),
        (r"https:\\one.example", "http:one.example", True),
        ("10.0.0.0/8", "10.0.0.0/9", False),
        ("127.1", "127.0.0.1", True),
    ],
)
def test_entries_of_one_host_are_the_same(one: str, other: str, *, same: bool) -> None:
    assert (parse_entry(one).identity == parse_entry(other).identity) is same


NAMES = "Example.COM my_shop.example.com münchen.de \U0001f4a9.la localhost 10.0.0.1 127.0.0.1"
BELOW = "*.example.com"


@pytest.mark.parametrize(
    ("approved", "allowed", "others"),
    [
        (NAMES, "example.com https://example.com:443/ my_shop.example.com", "*.example.com"),
        (NAMES, "xn--mnchen-3ya.de xn--ls8h.la http://localhost:3000", "www.example.com"),
        (NAMES, "10.0.0.1", "10.0.0.0/8 127.1 https://user@example.com https://@example.com"),
        (NAMES, "", r"https://evil.com\@example.com"),
        (BELOW, "www.example.com a.b.example.com *.example.com", "example.com badexample.com *"),
        (BELOW, "*.shop.example.com shop.*.example.com *shop.example.com", "10.*"),
        ("*.shop.example.com", "my_shop.shop.example.com", "*.example.com"),
    ],
)
def test_the_list_allows_what_it_names(approved: str, allowed: str, others: str) -> None:
    patterns = ApprovedDomains.of(approved.split())
    texts = [*allowed.split(" "), *others.split(" "), "not a domain"]
    found = [text for text in texts if patterns.allows(parse_entry(text))]
    assert found == allowed.split()


def test_blank_lines_and_remarks_approve_nothing() -> None:
    assert ApprovedDomains.of(["# ours", "", "  ", "#a.de", "b.de  # the shop"]) == (
        ApprovedDomains.of(["b.de"])
    )


@pytest.mark.parametrize("line", ["*", "https://example.com", "exa mple.com", "a.*.com", "10.*"])
def test_a_line_that_is_no_domain_is_refused_by_its_number(line: str) -> None:
    with pytest.raises(ConfigurationError, match="line 2"):
        ApprovedDomains.of(["example.com", line])
