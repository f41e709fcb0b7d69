"""Answers compared with what the API reference says of them.

Not here: how they are read, as strictly as by a client (``calls.wire``); requests (``cli.doctor``).
"""

import re
from collections.abc import Iterator, Mapping
from itertools import chain, pairwise
from typing import TypeVar

from attrs import frozen

from chatloom_async.audit.findings import POSITIONS
from chatloom_async.audit.text import plural
from chatloom_async.calls.wire import decode
from chatloom_async.cli.reach import Check
from chatloom_async.errors import ResponseDecodeError
from chatloom_async.models import Agent, AgentList, AllowedDomains
from chatloom_async.transport import Response

Model = TypeVar("Model")

_MOST = 3  # additions named in a message
_COLOUR = re.compile(r"#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})")
_HEADERS = re.compile(r"rate-?limit|retry-after|deprecat|sunset|^warning$", re.IGNORECASE)
_ENDING = re.compile(r"deprecat|sunset", re.IGNORECASE)
_REPORT = (
    "the API does not behave as documented, which support@chatloom.app wants to know: send them "
    "this line"
)
_PAGE = "is it a login page of the network? Open the server in a browser; or mend CHATLOOM_BASE_URL"
_NEWER = "nothing; a newer release of chatloom_async may know more"


@frozen
class _ErrorAnswer:
    """API reference, Errors: "returned as JSON with an error field"."""

    error: str


def agents_checks(body: bytes) -> list[Check]:
    """Compare an answer of GET /api/plugin/agents."""
    listed = _read("agents", body, AgentList)
    if isinstance(listed, Check):
        return [listed]
    came = plural(len(listed), "agent")
    count = Check("agents", "ok", f"{came}, every field as documented")
    if listed.count != len(listed):
        told = f"$.count says {listed.count}, and {came} came"
        count = Check("agents", "problem", told, _REPORT)
    fields = {*listed.extra, *chain(*(agent.extra for agent in listed))}
    values = set(chain(*map(_unusual, listed)))
    more = _additions("fields and values", [*sorted(fields), *sorted(values)])
    return [count, _order(listed), more]


def domains_checks(body: bytes) -> list[Check]:
    """Compare an answer of GET /api/plugin/agents/{agentId}/allowed-domains."""
    listed = _read("domains", body, AllowedDomains)
    if isinstance(listed, Check):
        return [listed]
    checks = [Check("domains", "ok", f"{plural(len(listed), 'domain')} of the first agent")]
    return [*checks, _additions("domains", sorted(listed.extra))] if listed.extra else checks


def error_check(answer: Response) -> Check:
    """Compare the answer about an agent that does not exist."""
    if answer.status != 404:  # noqa: PLR2004 - API reference, Errors
        message = f"an unknown agent is answered with {answer.status}, not 404"
        return Check("errors", "problem", message, _REPORT)
    found = _read("errors", answer.body, _ErrorAnswer)
    if isinstance(found, Check):
        return found
    return Check("errors", "ok", "an unknown agent is answered as documented")


def header_check(headers: Mapping[str, str]) -> Check:
    """Name headers that tell something which the reference does not promise."""
    told = sorted(f"{name}: {value}" for name, value in headers.items() if _HEADERS.search(name))
    if told:
        ends = any(_ENDING.match(each) for each in told)
        advice = "look for a newer release" if ends else "nothing; limits told so are heeded"
        return Check("headers", "note", "; ".join(told), advice)
    return Check("headers", "ok", "none about limits or deprecation")


def _read(name: str, body: bytes, model: type[Model]) -> Model | Check:
    try:
        return decode(body, model)
    except ResponseDecodeError as error:
        if body.lstrip()[:1] == b"<":
            return Check(name, "problem", "a web page came, not JSON", _PAGE)
        return Check(name, "problem", error.message, _REPORT)


def _order(listed: AgentList) -> Check:
    for number, (one, other) in enumerate(pairwise(listed), start=1):
        if one.created_at < other.created_at:
            message = f"$.agents[{number}] is newer than the one before"
            return Check("order", "problem", message, _REPORT)
    return Check("order", "ok", "newest first")


def _unusual(agent: Agent) -> Iterator[str]:
    colours = {"primaryColor": agent.primary_color, "secondaryColor": agent.secondary_color}
    for name, colour in colours.items():
        if not _COLOUR.fullmatch(colour):
            yield f"{name} {colour!r}"
    if agent.position not in POSITIONS:
        yield f"position {agent.position!r}"
    if agent.status != "active":
        yield f"status {agent.status!r}"


def _additions(name: str, found: list[str]) -> Check:
    """Name fields and values that are additions: harmless, and maybe of interest."""
    if not found:
        return Check(name, "ok", "none that is not documented")
    more = f" and {len(found) - _MOST} more" if len(found) > _MOST else ""
    return Check(name, "note", f"not documented: {', '.join(found[:_MOST])}{more}", _NEWER)
