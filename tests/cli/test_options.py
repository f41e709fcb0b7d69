"""What --fail-on asks for, and which proxy is taken, by option and environment."""

import pytest

from chatloom_async.audit.results import SEVERITIES
from chatloom_async.cli.options import proxy_for, reached
from chatloom_async.errors import ConfigurationError

API = "https://chatloom.app"
PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize("level", ["gap", "low", "medium", "high", "new-finding"])
def test_a_gap_counts_at_every_level(level: str) -> None:
    assert reached([level], [], gap=True)


COUNTING = {
    "gap": [],
    "high": ["high"],
    "medium": ["high", "medium"],
    "low": ["high", "medium", "low"],
    "new-finding": ["high", "medium", "low"],
    "high medium": ["high", "medium"],
}


def test_a_level_counts_what_is_as_grave() -> None:
    for levels, counting in COUNTING.items():
        found = [each for each in SEVERITIES if reached(levels.split(), [each], gap=False)]
        assert sorted(found) == sorted(counting)


@pytest.mark.parametrize(
    ("environment", "taken"),
    [
        ({}, None),
        ({"https_proxy": PROXY}, PROXY),
        ({"ALL_PROXY": PROXY}, PROXY),
        ({"HTTP_PROXY": PROXY}, None),
        ({"HTTPS_PROXY": ""}, None),
        ({"HTTPS_PROXY": f" {PROXY}\r\n"}, PROXY),
        ({"HTTPS_PROXY": "proxy.example:3128"}, PROXY),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "other.example, chatloom.app"}, None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": ".app"}, None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "chatloom.app:443"}, None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "chatloom.app:8443"}, PROXY),
        ({"HTTPS_PROXY": PROXY, "no_proxy": "*"}, None),
    ],
)
def test_the_environment_names_the_proxy(
    environment: dict[str, str], taken: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(API, None) == taken


def test_an_option_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://elsewhere.example")
    monkeypatch.setenv("NO_PROXY", "*")
    assert proxy_for(API, PROXY) == PROXY


def test_a_server_on_this_machine_needs_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", PROXY)
    assert proxy_for("http://127.0.0.1:8000", None) is None


@pytest.mark.parametrize(
    "url",
    ["socks5://user:secret@proxy.example", "http://user:secret@host:many", "secret@[::1", "//"],
)
def test_what_is_no_http_proxy_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="give one like http://host:3128") as caught:
        proxy_for(API, url)
    assert "secret" not in str(caught.value)
