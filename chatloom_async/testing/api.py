"""The API reference as pure functions: whose request is it, and what is the documented answer.

No socket, no fault and no quota lives here. Sentences quoted in docstrings are the reference's.
"""

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, unquote

from attrs import field, frozen

from chatloom_async.testing.workspaces import SandboxAgent, Workspace

AGENTS = "/api/plugin/agents"
KEY_PREFIX = "clf_"
JSON = {"Content-Type": "application/json; charset=utf-8"}

NO_AGENT = "Agent not found."
RATE_LIMITED = "Rate limit exceeded. Back off and retry with exponential backoff."


@frozen
class Reply:
    """One answer, encoded once: status, the body's bytes, headers beside length and date."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default=JSON, hash=False)


def error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Reply:
    """Make the object in which "errors are returned as JSON with an error field"."""
    return Reply(status, _encode({"error": message}), {**JSON, **(headers or {})})


def default_error(status: int) -> Reply:
    """The error object for a status, in the reference's words where it has some."""
    documented = {404: NO_AGENT, 429: RATE_LIMITED, 500: "Something went wrong on our side."}
    standard = HTTPStatus(status).phrase if status in set(HTTPStatus) else f"Status {status}"
    return error(status, documented.get(status, standard))


def given_key(headers: Mapping[str, str]) -> str | None:
    """The API key of a request: the bearer token, else X-API-Key, else None.

    Scheme and header names match in any case (RFC 9110 §11.1, §5.1), the latter by ``headers``.
    """
    scheme, _, token = headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get("X-API-Key", "").strip() or None


def refusal(key: str | None, *, revoked: bool = False) -> Reply:
    """The 401 for a key: missing, "malformed (wrong prefix)", unknown, "revoked" or expired.

    RFC 9110 §15.5.2 asks for the challenge.
    """
    if key is None:
        message = "API key is required. Please provide it in Authorization or X-API-Key header."
    elif revoked:
        message = "This API key has been revoked or has expired."
    elif key.startswith(KEY_PREFIX):
        message = "Invalid API key."
    else:
        message = "Invalid API key format. API keys start with clf_."
    return error(401, message, {"WWW-Authenticate": "Bearer"})


def domains_path(agent_id: str) -> str:
    """The path of an agent's domains; the id is one percent-encoded segment."""
    return f"{AGENTS}/{quote(agent_id, safe='')}/allowed-domains"


def matches(target: str, pattern: str | None) -> bool:
    """Whether a request target is this path or fits this shell pattern, query left aside.

    None fits all of them.
    """
    path = target.partition("?")[0]
    return pattern in (None, path, target) or fnmatchcase(path, pattern)


def pages(workspace: Workspace) -> dict[str, Reply]:
    """Every resource of a workspace, by path; deleted agents have none."""
    newest_first = sorted(workspace.agents, key=lambda agent: agent.created, reverse=True)
    agents = [agent for agent in newest_first if agent.status != "deleted"]
    listing = {"agents": [_on_the_wire(agent) for agent in agents], "count": len(agents)}
    found = {domains_path(a.id): Reply(200, _encode({"domains": a.domains})) for a in agents}
    return {AGENTS: Reply(200, _encode(listing)), **found}


def answer(known: Mapping[str, Reply], method: str, target: str) -> Reply:
    """What a workspace with these pages says to an authenticated request."""
    page = known.get(target)
    if page is not None and method == "GET":
        return page
    path = target.partition("?")[0]
    agent_id = _agent_id(path)
    if path != AGENTS and agent_id is None:
        return error(404, f"No such endpoint: {method} {path}")
    if method not in ("GET", "HEAD"):
        return error(405, f"Method {method} is not allowed here.", {"Allow": "GET, HEAD"})
    if agent_id is None:
        return known[AGENTS]
    if not agent_id or not agent_id.isprintable() or "\ufffd" in agent_id:
        return error(400, "agentId must be a non-empty string of printable characters.")
    return known.get(domains_path(agent_id)) or error(404, NO_AGENT)


def _agent_id(path: str) -> str | None:
    """The id in a path of the domains endpoint; None for any other path."""
    before, found, rest = path.partition(f"{AGENTS}/")
    segment, last, after = rest.partition("/allowed-domains")
    if before or not found or not last or after or "/" in segment:
        return None
    return unquote(segment)


def _on_the_wire(agent: SandboxAgent) -> dict[str, Any]:
    return {
        "id": agent.id,
        "name": agent.name,
        "primaryColor": agent.primary_color,
        "secondaryColor": agent.secondary_color,
        "position": agent.position,
        "template": agent.template,
        "status": agent.status,
        "createdAt": agent.created_at,
    }


def _encode(value: object) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # half a surrogate pair: only an escape can hold it (RFC 8259 §8.2)
        return json.dumps(value, separators=(",", ":")).encode()
