import gc
import io
import pickle
import sys
import traceback
from pathlib import Path

import pytest

from chatloom_async.audit.keys import KeysFile, same_keys
from chatloom_async.auth import ApiKey
from chatloom_async.errors import ConfigurationError

SECRET = "clf_very_secret_4711"  # noqa: S105 - the point


def written(folder: Path, name: str, text: str | bytes) -> KeysFile:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return KeysFile(str(path))


def refusal(keys: KeysFile) -> str:
    with pytest.raises(ConfigurationError) as caught:
        keys.read()
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("keys.toml", '# ours\nacme = "clf_a"\n"Beta & Söhne" = "clf_b"\n'),
        ("keys.csv", "acme,clf_a\nBeta & Söhne,clf_b\n"),
        ("other-header.csv", "Workspace,API Key\nacme,clf_a\nBeta & Söhne,clf_b\n"),
        ("another.csv", "customer;api_key\nacme;clf_a\nBeta & Söhne;clf_b\n"),
        ("excel.csv", "\ufeffname;key\r\nacme;clf_a\r\n\r\nBeta & Söhne;clf_b\r\n"),
        ("quoted.csv", '"acme","clf_a"\n# ours\n"Beta & Söhne", clf_b\n'),
        ("tabs.tsv", "acme\tclf_a\nBeta & Söhne\tclf_b\n"),
        ("toml-without-suffix", 'acme = "clf_a"\n"Beta & Söhne" = "clf_b"\n'),
        ("concatenated.csv", "\ufeffacme,clf_a\n\ufeffBeta & Söhne,clf_b\n"),
        ("comment.csv", '# ours; "from" ops; secret\nacme,clf_a\nBeta & Söhne,clf_b\n'),
        ("csv-without-suffix", "acme,clf_a\nBeta & Söhne,clf_b\n"),
    ],
)
def test_names_and_keys_are_read_in_order(tmp_path: Path, name: str, text: str) -> None:
    keys = written(tmp_path, name, text).read()
    assert list(keys.items()) == [("acme", ApiKey("clf_a")), ("Beta & Söhne", ApiKey("clf_b"))]


@pytest.mark.parametrize("name", ["Acme; Inc; Ltd", "A=B", "A = B", "#1", "A\tB"])
@pytest.mark.parametrize("file", ["k", "k.csv"])
def test_a_name_in_quotes_may_hold_anything(tmp_path: Path, file: str, name: str) -> None:
    keys = written(tmp_path, file, f'"{name}",clf_a\n').read()
    assert keys == {name: ApiKey("clf_a")}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("k.toml", 'acme = "env:ACME_KEY"'),
        ("k.csv", "acme,env:ACME_KEY"),
        ("k.csv", "acme,env:A_CLF_KEY"),
    ],
)
def test_a_value_may_name_a_variable(
    tmp_path: Path, name: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("ACME_KEY", "A_CLF_KEY"):  # the prefix of keys may be inside
        monkeypatch.setenv(variable, " clf_from_outside\n")
    assert written(tmp_path, name, text).read() == {"acme": ApiKey("clf_from_outside")}


def test_keys_come_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'acme = "clf_a"')))
    assert KeysFile("-").read() == {"acme": ApiKey("clf_a")}


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("k.toml", "", "holds no keys"),
        ("k.csv", "\n# nothing\n", "holds no keys"),
        ("k.toml", f'a = "{SECRET}"\na = "clf_2"', "occurs twice"),
        ("k.csv", f"a,{SECRET}\na,clf_2", "'a' occurs twice"),
        ("k.toml", f"a = {SECRET}", "not TOML: Invalid value (at line 1, column 5)"),
        ("k.toml", f'[a]\nkey = "{SECRET}"', "'a' is a table"),
        ("k.toml", f'a.b = "{SECRET}"', "names with dots in quotes"),
        ("k.toml", "a = 5", "the key of 'a' is not text"),
        ("k.toml", f'"{SECRET}" = "a"', "the name comes first"),
        ("k.csv", f"'{SECRET}',a", "the name comes first"),
        ("k.toml", f'"Authorization:{SECRET}" = "a"', "the name comes first"),
        ("k.toml", f'a = "env:Bearer {SECRET}"', "after env: comes the name"),
        ("k.csv", f"a,{SECRET},more", "line 1 has 3 columns"),
        ("k.csv", f"{SECRET}\n", "line 1 has 1 column, not two: name,key"),
        ("k.csv", f'a,"{SECRET}', "line 1 is not CSV"),
        ("k.csv", f",{SECRET}", "line 1: a key has no name"),
        ("k.toml", f'"" = "{SECRET}"', "a key has no name"),
        ("k.csv", "a,not_a_key_4711", "entry 'a': an API key starts with clf_"),
        ("k.csv", f"a,{SECRET} x", "entry 'a': the API key holds white space"),
        ("k.csv", "a,\nb,clf_b\nc,", "(and 1 more)"),
        ("k.csv", "a,env:NOT_SET_ANYWHERE", "'NOT_SET_ANYWHERE' is not set"),
        ("k.csv", f"a,env:{SECRET}", "after env: comes the name"),
        ("k.toml", b"a = '\xff'", "byte 6 is not UTF-8"),
        ("k.toml", "a = " + "[" * 100_000, "nested too deeply"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, name: str, text: str | bytes, told: str) -> None:
    message = refusal(written(tmp_path, name, text))
    assert told in message
    assert name in message
    assert "\n" not in message
    assert SECRET not in message
    assert "4711" not in message


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert "none.toml': cannot read it: No such file" in refusal(
        KeysFile(str(tmp_path / "none.toml"))
    )
    assert "cannot read" in refusal(KeysFile(str(tmp_path)))


@pytest.mark.parametrize("text", [f"a,{SECRET} x", f"a,{SECRET}\na,clf_b", f"a,{SECRET}\n\xff"])
def test_no_frame_of_a_refusal_holds_the_key(tmp_path: Path, text: str) -> None:
    keys = written(tmp_path, "k.csv", text.encode("latin-1"))
    with pytest.raises(ConfigurationError) as caught:
        keys.read()
    _, *ours = traceback.walk_tb(caught.value.__traceback__)
    assert ours
    assert not any(SECRET in str(frame.f_locals) for frame, _ in ours)
    before = caught.value.__context__
    assert before is None or SECRET not in repr(gc.get_referents(before))


def test_a_keys_file_travels_without_its_keys(tmp_path: Path) -> None:
    keys = written(tmp_path, "k.toml", f'acme = "{SECRET}"')
    keys.open()
    assert SECRET.encode() not in pickle.dumps(keys)
    assert pickle.loads(pickle.dumps(keys))("acme") == ApiKey(SECRET)  # noqa: S301 - our own


def test_one_entry_is_found_although_another_is_broken(tmp_path: Path) -> None:
    key_of = written(tmp_path, "k.toml", 'a = "clf_a"\nb = "env:NOT_SET_ANYWHERE"').open()
    assert key_of("a") == ApiKey("clf_a")
    with pytest.raises(ConfigurationError, match="NOT_SET_ANYWHERE"):
        key_of("b")
    with pytest.raises(ConfigurationError, match="no entry 'c'") as caught:
        key_of("c")
    frames = traceback.walk_tb(caught.value.__traceback__)
    assert "clf_a" not in str([frame.f_locals for frame, _ in frames][1:])


def test_two_names_for_one_key_are_noticed() -> None:
    keys = {"a": ApiKey("clf_1"), "b": ApiKey("clf_2"), "c": ApiKey("clf_1")}
    assert list(same_keys(keys)) == [("a", "c")]
