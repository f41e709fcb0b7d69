"""One address, or many of them."""

import pytest

from chatloom_async.audit.addresses import (
    address_of,
    ends_in_number,
    is_address_space,
    is_all_addresses,
)

SPACES = (
    "10.* 192.168.*.* *.1 10.0.0.1* 0x7f.* 10.0.0.0/8 10/8 10.0.0.0/255.0.0.0 10.0.0.1-9 "
    "10.0.0.1-10.0.0.99 fd00::/8 fd00:*:* [fd00::*] fd00::1-fd00::9"
)
OTHERS = (
    "* *.* *.de *:8080 10.0.0.1 10.0.0.1/32 10.0.0.1/8080 fd00::1 fd00::1/128 1-2.com 4.example.*"
)


@pytest.mark.parametrize("text", SPACES.split())
def test_many_addresses_are_an_address_space(text: str) -> None:
    assert is_address_space(text)


@pytest.mark.parametrize("text", OTHERS.split())
def test_one_address_or_a_name_is_no_space(text: str) -> None:
    assert not is_address_space(text)


def test_a_network_of_length_zero_is_every_address() -> None:
    every = ("0.0.0.0/0", "::/0", "0.0.0.0/0.0.0.0")
    assert [text for text in (*every, "10.0.0.0/10", "::/10") if is_all_addresses(text)] == [*every]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("[::1]", "::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("127.1", "None"),
        ("::1]", "None"),
    ],
)
def test_only_a_plain_address_is_one(text: str, address: str) -> None:
    assert str(address_of(text)) == address


def test_a_last_number_makes_an_address_of_a_name() -> None:
    texts = ("a.1", "0x", "a.0x1f.", "1.a", "a.x1")
    assert [text for text in texts if ends_in_number(text)] == ["a.1", "0x", "a.0x1f."]


def test_a_long_row_of_colons_holds_nothing_up() -> None:
    assert address_of(":" * 200_000 + "!") is None  # minutes, if each colon was tried as the first
