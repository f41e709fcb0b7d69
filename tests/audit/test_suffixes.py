"""Public suffixes and top-level domains."""

from publicsuffixlist import PublicSuffixList

from chatloom_async.audit import suffixes
from chatloom_async.audit.suffixes import is_public_suffix, is_suffix_or_above

NAMES = (
    "com example.com b.example.com uk.com mm c.mm b.c.mm jp test.jp ac.jp kyoto.jp ide.kyoto.jp "
    "kobe.jp c.kobe.jp b.c.kobe.jp city.kobe.jp ck www.ck x.www.ck test.ck us k12.ak.us github.io "
    "x.github.io xn--85x722f.com.cn xn--55qx5d.cn xn--fiqs8s xn--p1ai corp local s3.amazonaws.com"
)


def test_a_suffix_is_public_as_the_list_says() -> None:
    public = PublicSuffixList(accept_unknown=False).is_public
    assert [*map(is_public_suffix, NAMES.split())] == [*map(public, NAMES.split())]


def test_every_top_level_domain_is_known_and_no_other() -> None:
    real = ["com", "uk", "museum", "zip", "ck", "bd", "er", "xn--p1ai", "xn--mgbaam7a8h", "za"]
    others = ["cmo", "corp", "lan", "home", "local", "example", "yu"]
    assert [top for top in (*others, *real, "arpa") if is_suffix_or_above(top)] == [*real, "arpa"]


def test_the_list_is_imported_only_when_needed() -> None:
    assert not {"PSLFILE", "publicsuffixlist"} & vars(suffixes).keys()
