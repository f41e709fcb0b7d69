"""``doctor``: is everything as a client needs it, and if not, what helps?

Not here: the way to the server (``cli.reach``), what an answer should be (``cli.reference``).
"""

import json
import os
import sys
import time
from argparse import ArgumentParser, Namespace
from email.utils import parsedate_to_datetime
from functools import partial
from urllib.parse import urlsplit

from attrs import asdict

from chatloom_async.audit.text import duration, plural
from chatloom_async.auth import ApiKey
from chatloom_async.calls.answer import status_error
from chatloom_async.calls.request import DEFAULT_BASE_URL, build_request, check_base_url
from chatloom_async.cli.options import add_proxy, proxy_for
from chatloom_async.cli.reach import Check, way
from chatloom_async.cli.reference import agents_checks, domains_checks, error_check, header_check
from chatloom_async.cli.streams import say
from chatloom_async.cli.tables import Table, draw
from chatloom_async.errors import APIStatusError, ChatloomError, ConfigurationError, RedirectError
from chatloom_async.network.pool import ConnectionPool
from chatloom_async.transport import Response

_AGENTS = "/api/plugin/agents"
_DOMAINS = "/api/plugin/agents/{agent_id}/allowed-domains"
NOBODY = "agt_doctor_asks_for_nobody"
TIMEOUT = 10.0  # seconds for one answer
_SLOW = 2.0  # seconds after which an answer is worth a word
_SKEW = 60.0  # seconds a clock may be off
_THEIRS = (408, *range(500, 600))  # statuses by which a server says that it has trouble
_NEW_KEY = "generate one in the dashboard (Settings, API Keys), then: export CHATLOOM_API_KEY=clf_…"
_ADVICE = {
    400: "look at CHATLOOM_BASE_URL: something on the way changes requests",
    401: f"it was rotated, has expired, or belongs to another server; {_NEW_KEY}",
    402: "the API is part of the Pro plan and above",
    403: "the API is part of the Pro plan and above; or a firewall keeps you out",
    404: "this server has no such API: mend CHATLOOM_BASE_URL, or unset it",
    429: "who else uses this key? A few hundred requests a minute are fair use",
}
_TROUBLE = "the service has trouble: try later; if it lasts, tell support@chatloom.app"
_REFUSED = "something on the way refuses requests, or CHATLOOM_BASE_URL is not the API's: mend it"
_REASONS = {
    "cut off": "something on the way ends connections early, a proxy perhaps; or " + _TROUBLE,
    "timeout": "the server or the way to it is overloaded; " + _TROUBLE,
    "too large": "this is no answer of the API: look at CHATLOOM_BASE_URL",
    "protocol": "this is no web server: look at CHATLOOM_BASE_URL and its port",
}
_EXAMPLE = """\
example, with CHATLOOM_API_KEY set:
  chatloom-async doctor
  chatloom-async doctor --json

It makes four requests. Exit status: 0 nothing is wrong, 1 there are problems
"""


def add_doctor(command: ArgumentParser) -> None:
    """Add the options of ``doctor``."""
    command.epilog = _EXAMPLE
    command.add_argument("--json", action="store_true", help="print JSON and no table")
    add_proxy(command)


async def doctor(options: Namespace) -> int:
    """Look at everything; 1 when there is a problem."""
    checks = await _checks(options.proxy)
    problems = sum(check.verdict == "problem" for check in checks)
    if options.json:
        told = {"problems": problems, "checks": [asdict(check) for check in checks]}
        say(json.dumps(told, indent=2))
    else:
        rows = [(each.verdict, each.name, each.message, each.advice) for each in checks]
        title = plural(problems, "problem") if problems else "Nothing is wrong"
        draw(Table(title, ("", "looked at", "found", "what to do"), rows), sys.stdout)
    return 1 if problems else 0


async def _checks(given: str | None) -> list[Check]:
    key, check = _key()
    checks = [check]
    try:
        base_url = check_base_url(None)
    except ConfigurationError as error:
        advice = "mend CHATLOOM_BASE_URL, or unset it"
        return [*checks, Check("server", "problem", error.message, advice)]
    own = base_url == DEFAULT_BASE_URL
    checks.append(Check("server", "ok", base_url if own else f"{base_url}, by CHATLOOM_BASE_URL"))
    try:
        proxy = proxy_for(base_url, given)
    except ConfigurationError as error:
        advice = "mend HTTPS_PROXY or --proxy, or unset it"
        return [*checks, Check("proxy", "problem", error.message, advice)]
    checks += await way(urlsplit(base_url), proxy)
    if key is None or checks[-1].verdict == "problem":  # the way ends with one
        return checks
    async with ConnectionPool(proxy=proxy) as pool:
        return checks + await _answers(pool, base_url, key)


def _key() -> tuple[ApiKey | None, Check]:
    value = os.environ.get("CHATLOOM_API_KEY", "").strip()
    if not value:
        return None, Check("key", "problem", "CHATLOOM_API_KEY is not set", _NEW_KEY)
    quoted, bearer = value[0] in "\"'", value.lower().startswith("bearer")
    del value
    try:
        key = ApiKey(os.environ["CHATLOOM_API_KEY"])
    except ConfigurationError as error:
        told, _, _ = error.message.partition(";")
        advice = (
            "leave the quotes away"
            if quoted
            else "leave 'Bearer' away: the key alone belongs there"
            if bearer
            else f"copy it whole, or {_NEW_KEY}"
        )
        return None, Check("key", "problem", f"CHATLOOM_API_KEY: {told}", advice)
    return key, Check("key", "ok", f"looks like one; its fingerprint is {key.fingerprint}")


async def _answers(pool: ConnectionPool, base_url: str, key: ApiKey) -> list[Check]:
    ask = partial(_ask, pool, base_url)
    began = time.monotonic()
    answer = await ask(key)
    if isinstance(answer, Check):
        return [answer]
    took = time.monotonic() - began
    late = "the server or the way to it is slow" if took > _SLOW else ""
    told = f"{answer.status} after {duration(took)}"
    speed = Check("answer", "note" if late else "ok", told, late)
    agents = agents_checks(answer.body)
    checks = [speed, _clock(answer), header_check(answer.headers), *agents]
    if agents[0].verdict == "problem":
        return checks
    for agent in json.loads(answer.body)["agents"][:1]:
        domains = await ask(key, agent["id"])
        if isinstance(domains, Check):
            what = f"of agent {agent['id']}: {domains.message}"
            checks.append(Check("domains", "problem", what, _TROUBLE))
        else:
            checks += domains_checks(domains.body)
    unknown = await ask(key, NOBODY, range(600))
    checks.append(unknown if isinstance(unknown, Check) else error_check(unknown))
    other = await ask(ApiKey(os.environ["CHATLOOM_API_KEY"], "X-API-Key"))
    if isinstance(other, Check):
        advice = "something on the way takes X-API-Key away; Authorization works, so use that"
        return [*checks, Check("X-API-Key", "problem", other.message, advice)]
    return [*checks, Check("X-API-Key", "ok", "is taken as well")]


async def _ask(
    pool: ConnectionPool,
    base_url: str,
    key: ApiKey,
    agent: str | None = None,
    good: range = range(200, 300),
) -> Response | Check:
    """Ask for all agents, or one's domains; return an answer of a good status, or what is wrong."""
    route, values = (_AGENTS, {}) if agent is None else (_DOMAINS, {"agent_id": agent})
    try:
        answer = await pool.exchange(build_request("GET", base_url, route, values), key, TIMEOUT)
        if answer.status not in good:
            raise status_error(answer, key, pool.shared.clock)
    except ChatloomError as error:
        return _failed(error)
    return answer


def _failed(error: ChatloomError) -> Check:
    if isinstance(error, RedirectError):
        advice = "set CHATLOOM_BASE_URL to where the API is, or unset it"
    elif isinstance(error, APIStatusError):
        theirs = error.status in _THEIRS
        advice = _ADVICE.get(error.status, _TROUBLE if theirs else _REFUSED)
        if error.retry_after is not None:
            advice = f"wait {duration(error.retry_after)}; {advice}"
    else:
        advice = _REASONS.get(getattr(error, "reason", ""), _TROUBLE)
    return Check("answer", "problem", str(error), advice)


def _clock(answer: Response) -> Check:
    try:
        told = parsedate_to_datetime(answer.headers.get("Date", "")).timestamp()
    except (TypeError, ValueError):
        return Check("clock", "note", "the server tells no time to compare it with")
    off = time.time() - told
    if abs(off) < _SKEW:
        return Check("clock", "ok", "agrees with the server's")
    message = f"{duration(abs(off))} {'ahead of' if off > 0 else 'behind'} the server's"
    advice = "set this machine's clock: certificates and Retry-After go by it"
    return Check("clock", "problem", message, advice)
