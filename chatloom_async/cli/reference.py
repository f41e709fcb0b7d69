"""Answers compared with what the API reference says of them, field by field.

Not here: strict reading, which a client does (``calls.wire``), and any request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from chatloom_async.audit.text import plural
from chatloom_async.cli.checks import Check

_MOST = 3  # places named in a message
_AGENT = (
    "id", "name", "primaryColor", "secondaryColor", "position", "template", "status", "createdAt",
)  # fmt: skip
_COLOUR = re.compile(r"#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})")
_POSITIONS = ("bottom-right", "bottom-left", "top-right", "top-left")
_KNOWN: Mapping[str, Callable[[str], bool]] = {
    "primaryColor": lambda text: bool(_COLOUR.fullmatch(text)),
    "secondaryColor": lambda text: bool(_COLOUR.fullmatch(text)),
    "position": _POSITIONS.__contains__,
    "status": "active".__eq__,
}
_HEADERS = re.compile(r"rate-?limit|retry-after|deprecat|sunset|^warning$", re.IGNORECASE)
_REPORT = (
    "the API does not behave as documented, which support@chatloom.app wants to know: send them "
    "this line"
)
_PAGE = "is it a login page of the network? Open the server in a browser; or mend CHATLOOM_BASE_URL"
_NEWER = "nothing; a newer release of chatloom_async may know more"


def agents_checks(body: bytes) -> Iterator[Check]:
    """Compare an answer of GET /api/plugin/agents."""
    sent = _object("agents", body)
    if isinstance(sent, Check):
        yield sent
        return
    agents, count = sent.get("agents"), sent.get("count")
    wrong = [] if isinstance(agents, list) else [f"$.agents: {_kind(agents)}, not a list"]
    listed = agents if isinstance(agents, list) else []
    if not isinstance(count, int) or isinstance(count, bool):
        wrong.append(f"$.count: {_kind(count)}, not a number")
    elif not wrong and count != len(listed):
        wrong.append(f"$.count says {count}, and {plural(len(listed), 'agent')} came")
    for number, agent in enumerate(listed):
        wrong += _amiss(f"$.agents[{number}]", agent)
    whole = [agent for agent in listed if isinstance(agent, dict)]
    yield _verdict("agents", wrong, f"{plural(len(listed), 'agent')}, every field as documented")
    yield _order(whole)
    yield _novelties("fields and values", sent, ("agents", "count"), whole)


def domains_checks(body: bytes) -> Iterator[Check]:
    """Compare an answer of GET /api/plugin/agents/{agentId}/allowed-domains."""
    sent = _object("domains", body)
    if isinstance(sent, Check):
        yield sent
        return
    domains = sent.get("domains")
    listed = domains if isinstance(domains, list) else []
    wrong = [] if isinstance(domains, list) else [f"$.domains: {_kind(domains)}, not a list"]
    wrong += [
        f"$.domains[{number}]: {_kind(each)}, not text"
        for number, each in enumerate(listed)
        if not isinstance(each, str)
    ]
    yield _verdict("domains", wrong, f"{plural(len(listed), 'domain')} of the first agent")
    unknown = sorted(sent.keys() - {"domains"})
    if unknown:
        yield Check("domains", "note", f"not documented: {', '.join(unknown)}", _NEWER)


def error_check(status: int, body: bytes) -> Check:
    """Compare the answer about an agent that does not exist."""
    sent = _object("errors", body)
    if isinstance(sent, Check):
        return sent
    wrong = [] if status == 404 else [f"an unknown agent is answered with {status}, not 404"]  # noqa: PLR2004 - API reference, Errors
    if not isinstance(sent.get("error"), str):
        wrong.append(f"$.error: {_kind(sent.get('error'))}, not text")
    return _verdict("errors", wrong, "an unknown agent is answered as documented")


def header_check(headers: Mapping[str, str]) -> Check:
    """Name headers that tell something which the reference does not promise."""
    told = sorted(f"{name}: {value}" for name, value in headers.items() if _HEADERS.search(name))
    if told:
        return Check("headers", "note", "; ".join(told), "nothing; limits told so are heeded")
    return Check("headers", "ok", "none about limits or deprecation")


def _object(name: str, body: bytes) -> Mapping[str, Any] | Check:
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError):
        page = body.lstrip()[:1] == b"<"
        if page:
            return Check(name, "problem", "a web page came, not JSON", _PAGE)
        return Check(name, "problem", "no JSON came", _REPORT)
    if isinstance(sent, dict):
        return sent
    return Check(name, "problem", f"{_kind(sent)} came, not an object", _REPORT)


def _amiss(place: str, agent: object) -> Iterator[str]:
    if not isinstance(agent, dict):
        yield f"{place}: {_kind(agent)}, not an object"
        return
    for name in _AGENT:
        if name not in agent:
            yield f"{place}.{name}: missing"
        elif not isinstance(agent[name], str):
            yield f"{place}.{name}: {_kind(agent[name])}, not text"
    if isinstance(agent.get("createdAt"), str) and _moment(agent["createdAt"]) is None:
        yield f"{place}.createdAt: {agent['createdAt']!r} is no ISO 8601"


def _order(agents: list[dict[str, Any]]) -> Check:
    moments = [_moment(agent.get("createdAt")) for agent in agents]
    for number, (one, other) in enumerate(pairwise(moments), start=1):
        if one is not None and other is not None and one < other:
            return Check(
                "order", "problem", f"$.agents[{number}] is newer than the one before", _REPORT
            )
    return Check("order", "ok", "newest first")


def _novelties(
    name: str, sent: Mapping[str, Any], documented: tuple[str, ...], agents: list[dict[str, Any]]
) -> Check:
    """Name fields and values that are additions: harmless, and maybe of interest."""
    fields = {
        *(sent.keys() - set(documented)),
        *(key for each in agents for key in each.keys() - set(_AGENT)),
    }
    values = {
        f"{key} {agent[key]!r}"
        for agent in agents
        for key, known in _KNOWN.items()
        if isinstance(agent.get(key), str) and not known(agent[key])
    }
    found = [*sorted(fields), *sorted(values)]
    if found:
        return Check(name, "note", f"not documented: {_some(found)}", _NEWER)
    return Check(name, "ok", "none that is not documented")


def _verdict(name: str, wrong: list[str], right: str) -> Check:
    return Check(name, "problem", _some(wrong), _REPORT) if wrong else Check(name, "ok", right)


def _some(found: list[str]) -> str:
    more = f" and {len(found) - _MOST} more" if len(found) > _MOST else ""
    return f"{', '.join(found[:_MOST])}{more}"


def _moment(text: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return found.replace(tzinfo=found.tzinfo or UTC) if found is not None else None


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a truth value"}
    return "nothing" if value is None else names.get(type(value), "a number")
