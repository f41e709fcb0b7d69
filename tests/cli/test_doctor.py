"""The command ``doctor``: each thing that can be wrong is named, with what helps."""

import json
import ssl
from urllib.parse import urlsplit

import attrs
import pytest
import trustme

from chatloom_async.cli import doctor as doctor_command
from chatloom_async.cli import reach
from chatloom_async.cli.reach import way
from chatloom_async.testing import Fault, Sandbox
from tests.cli.terminals import Cli
from tests.faults.server import Close, Server

pytestmark = pytest.mark.usefixtures("acme_key")


def checks(cli: Cli, status: int) -> dict[str, dict[str, str]]:
    told = json.loads(cli("doctor", "--json", status=status).out)
    assert told["problems"] == sum(each["verdict"] == "problem" for each in told["checks"])
    return {each["name"]: each for each in told["checks"]}


def assert_problem(check: dict[str, str], name: str, found: str, advice: str) -> None:
    assert (check["name"], check["verdict"]) == (name, "problem")
    assert found in check["message"]
    assert advice in check["advice"]
    assert "secret" not in str(check)


def test_nothing_is_wrong_with_a_server_as_documented(served: Sandbox, cli: Cli) -> None:
    found = checks(cli, 0)
    assert {each["verdict"] for each in found.values()} == {"ok"}
    assert served.count() == 4
    for name in ("key", "server", "name", "connection", "TLS", "clock", "agents", "X-API-Key"):
        assert name in found


def test_the_table_says_what_to_do(served: Sandbox, cli: Cli) -> None:
    served.revoke("acme")
    shown = cli("doctor", status=1).out
    assert shown.startswith("1 problem\n")
    assert "problem   answer" in shown
    assert "clf_key" not in shown


KEY, SERVER, PROXY = "CHATLOOM_API_KEY", "CHATLOOM_BASE_URL", "HTTPS_PROXY"
ABROAD = {SERVER: "https://chatloom.app"}


@pytest.mark.parametrize(
    ("environment", "name", "found", "advice"),
    [
        ({KEY: ""}, "key", "is not set", "generate one in the dashboard"),
        ({KEY: "'clf_key'"}, "key", KEY, "leave the quotes away"),
        ({KEY: "Bearer clf_key"}, "key", KEY, "leave 'Bearer' away"),
        ({KEY: "sk_secret"}, "key", "starts with clf_", "copy it whole"),
        ({SERVER: "http://chatloom.app"}, "server", "https", "mend CHATLOOM_BASE_URL"),
        ({SERVER: "https://api.chatloom.invalid"}, "name", "is not known", "spelling"),
        ({SERVER: "http://127.0.0.1:9"}, "connection", "refused", "nothing listens there"),
        ({SERVER: "http://[::1]:9"}, "connection", "[::1]:9: ", "nothing listens there"),
        ({SERVER: "{served}/wrong"}, "answer", "404", "no such API"),
        ({**ABROAD, PROXY: "socks5://127.0.0.1"}, "proxy", "is not an HTTP", "mend HTTPS_PROXY"),
        ({**ABROAD, PROXY: "http://127.0.0.1:9"}, "connection", "127.0.0.1:9", "look at HTTPS_P"),
    ],
)
def test_what_is_wrong_with_the_environment_is_named(  # noqa: PLR0913, PLR0917 - fixtures
    served: Sandbox, environment: dict[str, str], name: str, found: str, advice: str, cli: Cli
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in environment.items():
            patch.setenv(variable, value.format(served=served.base_url))
        assert_problem(checks(cli, 1)[name], name, found, advice)


PAGE = Fault.status(200, body=b"<html>Log in", headers={"Content-Type": "text/html"})
MOVED = Fault.status(301, headers={"Location": "https://elsewhere.example/"})
PAST = Fault.status(200, headers={"Date": "Thu, 01 Jan 2026 00:00:00 GMT"}, body=b'{"agents":[]}')
NUMBER = Fault.malformed(b'{"domains": [1]}', path="*/allowed-domains")


@pytest.mark.parametrize(
    ("fault", "name", "found", "advice"),
    [
        (Fault.status(401), "answer", "401", "it was rotated, has expired"),
        (Fault.status(402), "answer", "402", "Pro plan"),
        (Fault.status(403), "answer", "403", "Pro plan"),
        (Fault.status(418), "answer", "418", "refuses requests"),
        (Fault.status(429, retry_after=30), "answer", "429", "wait 30 s; who else uses this key"),
        (Fault.status(500), "answer", "500", "support@chatloom.app"),
        (Fault.status(503), "answer", "503", "try later"),
        (MOVED, "answer", "elsewhere.example", "set CHATLOOM_BASE_URL"),
        (Fault.reset(), "answer", "before an answer", "try later"),
        (Fault.cut_body(), "answer", "inside the answer", "ends connections early"),
        (Fault.hang(), "answer", "within 0.2 s", "overloaded"),
        (PAGE, "agents", "a web page came", "login page"),
        (NUMBER, "domains", "$.domains[0]: expected str, got int", "support@chatloom.app"),
        (Fault.status(200, path=f"*{doctor_command.NOBODY}*"), "errors", "with 200", "documented"),
        (PAST, "clock", "ahead of the server's", "set this machine's clock"),
        (Fault.reset(path=f"*{doctor_command.NOBODY}*"), "answer", "before an answer", "try later"),
        (Fault.status(500, path="*/agt_acme_2/*"), "domains", "of agent agt_acme_2: 500", ""),
    ],
)
def test_an_answer_that_is_not_as_documented_is_named(  # noqa: PLR0913, PLR0917 - fixtures
    served: Sandbox, fault: Fault, name: str, found: str, advice: str, cli: Cli
) -> None:
    served.plant(fault)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(doctor_command, "TIMEOUT", 0.2)
        assert_problem(checks(cli, 1)[name], name, found, advice)


@pytest.mark.parametrize(
    ("name", "advice"), [("X-RateLimit-Remaining", "nothing"), ("Deprecation", "a newer release")]
)
def test_headers_of_limits_are_noted(name: str, advice: str, served: Sandbox, cli: Cli) -> None:
    body = json.dumps({"agents": [], "count": 0}).encode()
    served.plant(Fault.status(200, body=body, headers={name: "3"}))
    check = checks(cli, 0)["headers"]
    assert check["message"] == f"{name}: 3"
    assert advice in check["advice"]


async def last(server: str, proxy: str | None = None) -> dict[str, str]:
    return attrs.asdict((await way(urlsplit(server), proxy))[-1])


@pytest.mark.parametrize(
    ("answer", "found", "advice"),
    [
        (b"HTTP/1.1 407 No\r\n\r\n", "a user name and a password", "http://user:password@host"),
        (b"HTTP/1.1 403 No\r\n\r\n", "it does not connect to chatloom.app (403)", "ask who runs"),
        (b"SSH-2.0\r\n\r\n", "does not answer as a proxy does", "is it an HTTP proxy?"),
        (b"x" * 200_000, "does not answer as a proxy does", "is it an HTTP proxy?"),
    ],
)
async def test_a_proxy_that_does_not_help_is_named(answer: bytes, found: str, advice: str) -> None:
    async with Server([(answer, Close())]) as proxy:
        check = await last("https://chatloom.app", f"http://user:secret@127.0.0.1:{proxy.port}")
    assert_problem(check, "proxy", found, advice)


@pytest.mark.parametrize(
    ("host", "trusted", "verdict", "found"),
    [
        ("localhost", "trusted", "ok", "certificate good for"),
        ("localhost", "", "problem", "an authority that is not trusted"),
        ("localhost", "", "problem", "none of those in SSL_CERT_FILE, 'none.pem'"),
        ("other.example", "trusted", "problem", "is for another host"),
    ],
)
async def test_a_certificate_that_does_not_fit_is_named(
    host: str, trusted: str, verdict: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(ours)
    theirs = ssl.create_default_context()
    if trusted:
        authority.configure_trust(theirs)
    monkeypatch.setattr(ssl, "create_default_context", lambda: theirs)
    monkeypatch.setenv("SSL_CERT_FILE", "none.pem")
    async with Server([], ours, greeting=(Close(),)) as server:
        check = await last(f"https://localhost:{server.port}")
    assert (check["name"], check["verdict"]) == ("TLS", verdict)
    assert found in f"{check['message']}: {check['advice']}"


async def test_a_proxy_leads_through_to_the_certificate() -> None:
    async with Server([(b"HTTP/1.1 200 OK\r\n\r\n", Close())]) as proxy:
        assert_problem(await last("https://chatloom.app", proxy.url), "TLS", "no encrypted", "")


async def test_a_name_server_that_says_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "PATIENCE", 0.0)
    assert_problem(await last("https://localhost"), "name", "not found", "is there a network")
