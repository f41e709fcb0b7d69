"""The host that a browser goes to."""

import pytest

from chatloom_async.audit.hosts import is_idna, read_host, shown, trimmed

# Inputs of web-platform-tests, url/resources/urltestdata.json, and where browsers go; "": nowhere.
BROWSED = {
    "http://example\t.\norg": "example.org",
    "\x00\x1b http://example.com/\x1f \r ": "example.com",
    "http://user:pass@foo:21/bar;par?b#c": "foo",
    "http://f:00000000000000000000080/c": "f",
    "http://f:999999/c": "",
    "http://&a:foo(b]c@d:2/": "d",
    "http://foo.com/\\@": "foo.com",
    "http:\\\\a\\b:c\\d@foo.com\\": "a",
    "http:a:b@www.example.com": "www.example.com",
    "http:/@www.example.com": "www.example.com",
    "http:@/www.example.com": "",
    "wss:/example.com/": "example.com",
    "http://2001::1]:80": "",
    "http://[::127.0.0.1]": "[::7f00:1]",
    "http://%30%78%63%30%2e%30%32%35%30.01%2e": "192.168.0.1",
    "http://999999999.": "59.154.201.255",
    "http://foo.0x": "",
    "http://ExAmPlE.CoM": "example.com",
    "http://Goo%20 goo%7C|.com": "",
    "http://GOO\u200b\u2060\ufeffgoo.com": "googoo.com",
    "https://fa\xdf.ExAmPlE/": "xn--fa-hia.example",
    "http://a.b.c.Xn--pokxncvks": "",
    "http://\ud800": "",
}


@pytest.mark.parametrize(("url", "host"), BROWSED.items(), ids=ascii)
def test_a_url_is_read_as_by_browsers(url: str, host: str) -> None:
    reading = read_host(trimmed(url))
    assert reading is not None
    assert reading.host == host


@pytest.mark.parametrize(
    ("host", "right"),
    [
        *((host, True) for host in ("xn--mnchen-3ya.de", "xn--i-7iq.ws", "xn--4dbrk0ce.il")),
        ("xn--0ca24w", False),  # a with grave, alef: RFC 5893, rule 5
        ("xn--0-sfa.xn--4db", False),  # a digit first, beside a Hebrew label: rule 1
        ("xn--1ch.com", False),  # a sign of mathematics
        ("xn----zmb.com", False),  # begins with a hyphen
    ],
)
def test_labels_are_judged_by_idna_and_bidi(host: str, *, right: bool) -> None:
    assert is_idna(host) is right


def test_punycode_is_shown_as_people_read_it() -> None:
    assert shown("shop.xn--mnchen-3ya.de") == "shop.münchen.de"
