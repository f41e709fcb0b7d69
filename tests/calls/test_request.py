"""Base URLs and paths: what is refused before any request, and how an id is written on the wire."""

from collections.abc import Callable
from enum import Enum
from typing import Any

import pytest

from chatloom_async import AsyncChatloom, ConfigurationError
from chatloom_async.calls.request import build_request, check_base_url, check_raw_path
from chatloom_async.testing import FakeClock, StubReply, StubTransport
from tests.test_secrets import PASSWORD, raises_silently

KEY = "clf_address"


def domains_path(agent_id: Any) -> str:
    route = "/api/plugin/agents/{agent_id}/allowed-domains"
    return build_request("GET", "", route, {"agent_id": agent_id}).target


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("https://chatloom.app:8443", "https://chatloom.app:8443"),
        ("https://proxy.example/chatloom/", "https://proxy.example/chatloom"),
        ("HTTPS://chatloom.app", "HTTPS://chatloom.app"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("http://127.1.2.3", "http://127.1.2.3"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://localhost:8080/", "http://localhost:8080"),
    ],
)
def test_a_base_url_loses_its_last_slash(given: str, used: str) -> None:
    assert check_base_url(given) == used


REFUSED = {
    "http would send the key in the clear": f"http://chatloom.app http://chatloom.app/{PASSWORD}",
    "is https": ("http://localhost.evil.example http://127.0.0.1.evil.example http://0.0.0.0"),
    "starts with https:// and a host": (
        "chatloom.app //chatloom.app ftp://chatloom.app https:///agents https://:443"
    ),
    "is not a URL": (
        f"https://u:{PASSWORD}@[::1 https://u:{PASSWORD}@chatloom.app:https "
        "https://chatloom.app:99999 https://256.1.1.1 https://192.168.1 "
        f"https://chatloom.app[::1] https://{'a' * 64}.example"
    ),
    "is scheme, host, maybe a port and a path": "https://chatloom.app/a;b",
    "carries no credentials": f"https://user:{PASSWORD}@chatloom.app http://localhost@a.example",
    "neither query nor fragment": f"https://chatloom.app? https://chatloom.app#{PASSWORD}",
    "is an ASCII URL": "https://bücher.example",
}


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        *((url, problem) for problem, urls in REFUSED.items() for url in urls.split()),
        ("", "starts with https:// and a host"),
        (f"https://chatloom.app/{PASSWORD} b", "without spaces"),
        ("https://chatloom.app\n", "is an ASCII URL"),
        (b"https://chatloom.app", "is an ASCII URL"),
        (0, "is an ASCII URL"),
    ],
)
def test_a_base_url_that_cannot_work_is_refused(
    given: Any, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: list[dict[str, Any]] = [{"base_url": given}]
    if PASSWORD in str(given):
        monkeypatch.setenv("CHATLOOM_BASE_URL", given)
        options.append({})
    for each in options:
        with raises_silently(ConfigurationError, PASSWORD, KEY) as caught:
            AsyncChatloom(KEY, **each)
        assert str(caught.value).startswith("the base URL ")
        assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("given", "named", "used"),
    [
        (None, None, "https://chatloom.app"),
        (None, "", "https://chatloom.app"),
        (None, "http://127.0.0.1:9/\r\n", "http://127.0.0.1:9"),
        ("https://chatloom.app", "https://other.example", "https://chatloom.app"),
    ],
)
def test_the_environment_may_name_the_base_url(
    given: str | None, named: str | None, used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CHATLOOM_BASE_URL", raising=False)
    if named is not None:
        monkeypatch.setenv("CHATLOOM_BASE_URL", named)
    assert check_base_url(given) == used


@pytest.mark.parametrize(
    ("agent_id", "segment"),
    [
        ("a-b_c~d...", "a-b_c~d..."),
        ("../agents", "..%2Fagents"),
        ("%2e%2e ", "%252e%252e%20"),
        ("a+b&c=d;e,f", "a%2Bb%26c%3Dd%3Be%2Cf"),
        ("\U0001f916", "%F0%9F%A4%96"),
    ],
)
def test_an_agent_id_is_one_encoded_segment(agent_id: str, segment: str) -> None:
    assert domains_path(agent_id) == f"/api/plugin/agents/{segment}/allowed-domains"


@pytest.mark.parametrize(
    ("agent_id", "problem"),
    [
        *((text, "is no agent id") for text in ("", ".", "..", "a\nb", "a\n", "\r", "a\tb")),
        *((f"a{sign}", "is no agent id") for sign in "\x00\x1f\x7f\x80\x9f\ud800"),
        *((value, f"not {type(value).__name__}") for value in (None, 7, b"agt_1", ["agt_1"])),
    ],
)
def test_what_is_no_agent_id_is_refused(agent_id: Any, problem: str) -> None:
    client = AsyncChatloom(KEY, pool=StubTransport([]))
    with pytest.raises(ConfigurationError, match=problem) as caught:
        FakeClock().run(client.get_allowed_domains(agent_id))
    assert caught.value.http_status == 404


def test_a_name_without_a_value_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"braces: /api/x/\{agent_id\}"):
        build_request("GET", "", "/api/{version}/{agent_id}", {"version": "x", "agent": "a"})


@pytest.mark.parametrize(
    "ask",
    [
        lambda client, key: client.get_allowed_domains(f"{key}\n"),
        lambda client, key: client.get_raw(f"/x/{key}/y z"),
        lambda client, key: client.send_raw("GET", "/x", query={"key": key}),
    ],
)
def test_a_key_in_a_path_is_refused_unshown(ask: Callable[[AsyncChatloom, str], Any]) -> None:
    key, transport = "clf_TheKeyOfAnother_Workspace", StubTransport([])
    with pytest.raises(ConfigurationError, match="an API key in the path or the query") as caught:
        FakeClock().run(ask(AsyncChatloom(KEY, pool=transport), key))
    assert "TheKey" not in str(caught.value)


class Status(str, Enum):  # noqa: UP042 - its text is "Status.ACTIVE", other than a StrEnum's
    ACTIVE = "active"


class Level(int, Enum):
    HIGH = 3


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (Status.ACTIVE, "?a=active"),
        (Level.HIGH, "?a=3"),
        (True, "?a=true"),
        (None, ""),
    ],
)
def test_a_query_holds_plain_values(value: Any, encoded: str) -> None:
    assert build_request("GET", "", "/x", query={"a": value}).target == f"/x{encoded}"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api/v2/x?cursor=a%20b&limit=10",
        "/api/v2/x?next=/a/../b?c",
        "/a.b/..c/%2F",
        "/%C3%A9/%e2%80%ae?x=%20%2f%80%9f%7e",
        "/a//b",
    ],
)
def test_a_raw_path_is_sent_as_it_is(path: str) -> None:
    transport = StubTransport([StubReply([1])])
    client = AsyncChatloom(KEY, pool=transport, base_url="https://chatloom.app")
    FakeClock().run(client.get_raw(path))
    assert transport.requests[0].url == f"https://chatloom.app{path}"


NO_PATHS = (
    "api/plugin/agents //evil.example/x https://evil.example/x @evil.example .evil.example "
    ':8080/x /é /a#b /a\\b /a"b /a/../b /a/./b /.. /. /a/..?x=1 /a/%2e%2e/b /a/.%2E/b /%2e '
    "/% /%2 /%zz /%2gb /a?x=% /a?x=%g0 /%00 /%1f /%7F /%7f /a%0d%0aX-Evil:1 /a?x=%0D%0A"
)


@pytest.mark.parametrize("path", [*NO_PATHS.split(), "", "/a b", "/a\nb", "/a\n", None, 7, b"/x"])
def test_what_is_no_raw_path_is_refused(path: Any) -> None:
    with pytest.raises(ConfigurationError):
        check_raw_path(path)
