"""The approved list."""

import pytest

from chatloom_async.audit.approved import ApprovedDomains
from chatloom_async.audit.domains import parse_entry
from chatloom_async.errors import ConfigurationError


@pytest.mark.parametrize(
    ("pattern", "domain", "allowed"),
    [
        ("example.com", "example.com", True),
        ("Example.COM", "example.com", True),
        ("example.com  # the shop", "example.com", True),
        ("example.com", "www.example.com", False),
        ("*.example.com", "www.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "badexample.com", False),
        ("*.example.com", "*.example.com", True),
        ("*.example.com", "*.shop.example.com", True),
        ("*.shop.example.com", "*.example.com", False),
        ("example.com", "*.example.com", False),
        ("*.example.com", "*", False),
        ("münchen.de", "xn--mnchen-3ya.de", True),
        ("10.0.0.1", "10.0.0.1", True),
        ("localhost", "http://localhost:3000", True),
        ("example.com", "not a domain", False),
        ("*.example.com", "shop.*.example.com", True),
        ("*.example.com", "*shop.example.com", True),
        ("example.com", "https://example.com:443/", True),
        ("example.com", "https://user@example.com", False),
        ("example.com", "https://@example.com", False),
        ("example.com", r"https://evil.com\@example.com", False),
        ("127.0.0.1", "127.1", False),
        ("my_shop.example.com", "my_shop.example.com", True),
        ("*.example.com", "my_shop.example.com", True),
        ("\U0001f4a9.la", "xn--ls8h.la", True),
        ("10.0.0.1", "10.0.0.0/8", False),
    ],
)
def test_the_approved_list_allows_what_it_names(
    pattern: str, domain: str, *, allowed: bool
) -> None:
    approved = ApprovedDomains.of([pattern])
    assert approved.allows(parse_entry(domain)) is allowed


def test_blank_lines_and_remarks_approve_nothing() -> None:
    assert ApprovedDomains.of(["# ours", "", "  ", "#example.com"]) == ApprovedDomains.of([])


@pytest.mark.parametrize("line", ["*", "https://example.com", "exa mple.com", "a.*.com", "10.*"])
def test_a_line_that_is_no_domain_is_refused_by_its_number(line: str) -> None:
    with pytest.raises(ConfigurationError, match="line 2"):
        ApprovedDomains.of(["example.com", line])
