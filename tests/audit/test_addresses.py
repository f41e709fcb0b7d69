"""One address, or many of them."""

from collections.abc import Callable

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


@pytest.mark.parametrize(
    ("tells", "right", "wrong"),
    [
        (is_address_space, SPACES, OTHERS),
        (is_all_addresses, "0.0.0.0/0 ::/0 0.0.0.0/0.0.0.0", "10.0.0.0/10 ::/10"),
        (address_of, "10.0.0.1 [::1] fe80::1%eth0", "127.1 ::1]"),
        (ends_in_number, "a.1 0x a.0x1f.", "1.a a.x1"),
    ],
)
def test_one_address_and_many_are_known(
    tells: Callable[[str], object], right: str, wrong: str
) -> None:
    assert [text for text in f"{right} {wrong}".split() if tells(text)] == right.split()


def test_a_long_row_of_colons_holds_nothing_up() -> None:
    assert address_of(":" * 200_000 + "!") is None  # minutes, if each colon was tried as the first
