"""One address; many of them are in the tests of what an entry covers."""

from chatloom_async.audit.addresses import address_of


def test_a_long_row_of_colons_holds_nothing_up() -> None:
    assert address_of(":" * 200_000 + "!") is None  # minutes, if each colon was tried as the first
