"""Names that can be taken for others, and names that only look foreign."""

import pytest

from chatloom_async.audit.look_alikes import look_alike


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("\u0261oogle.com", "kept out of identifiers"),  # a letter of phonetics
        ("g\u1d0f\u1d0fgle.com", "kept out of identifiers"),
        ("\ua4f3ut.com", "kept out of identifiers"),  # Lisu
        ("com\u2044login.example.com", "kept out of identifiers"),  # a fraction's slash
        ("g\u043eogle.com", "mixes Cyrillic and Latin"),
        ("goo\u0665le.com", "mixes Arabic and Latin"),  # a digit
        ("\u0430\u0440\u0440\u04cf\u0435.com", "looks like 'apple'"),
        ("\u0441\u043e\u0451.com", "looks like 'coe'"),  # an accent makes no difference
        ("\u03bf\u03c1.com", "looks like 'op'"),
        ("g\u0131thub.com", "looks like 'github'"),
        ("i\u0307stanbul.com", "looks like 'istanbul'"),  # two dots, one seen
        ("com\u30celogin.example.com", "looks like 'com/login'"),  # katakana
    ],
)
def test_a_look_alike_is_told_why(host: str, reason: str) -> None:
    assert reason in (look_alike(host) or "")


# Some letters do not look Latin; scripts are at home; a joiner, as Persian needs it; emoji.
IN_ORDER = (
    "example.com caf\u00e9.com stra\u00dfe.de l\u00e6gehuset.com paral\u00b7lel.cat "
    "hawai\u02bbi.com \u0131s\u0131tma.com.tr \u0441\u043e\u0441\u043e.ru "
    "\u0441\u043e\u0441\u043e.\u0440\u0444 "
    "\u043c\u043e\u0441\u043a\u0432\u0430.com \u03bf\u03c1.\u03b5\u03bb \u10e7\u10dd.\u10d2\u10d4 "
    "\u65e5\u672c\u30ce\u8a9e.com \u30b0\u30fc\u30b0\u30eb.com "
    "\u0646\u0627\u0645\u0647\u200c\u0627\u06cc.ir i\u2764.ws 1\u20e3.ws"
)


@pytest.mark.parametrize("host", IN_ORDER.split(), ids=ascii)
def test_a_name_in_its_script_is_in_order(host: str) -> None:
    assert look_alike(host) is None
