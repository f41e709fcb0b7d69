"""One address; many of them are in the tests of what an entry covers."""

from chatloom_async.audit.addresses import address_of, ends_in_number


def test_only_a_plain_address_is_one() -> None:
    texts = ("10.0.0.1", "[::1]", "fe80::1%eth0", "127.1", "::1]")
    assert [text for text in texts if address_of(text)] == ["10.0.0.1", "[::1]", "fe80::1%eth0"]


def test_a_last_number_makes_an_address_of_a_name() -> None:
    texts = ("a.1", "0x", "a.0x1f.", "1.a", "a.x1")
    assert [text for text in texts if ends_in_number(text)] == ["a.1", "0x", "a.0x1f."]


def test_a_long_row_of_colons_holds_nothing_up() -> None:
    assert address_of(":" * 200_000 + "!") is None  # minutes, if each colon was tried as the first
