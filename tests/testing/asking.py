"""Requests to a sandbox without the SDK and without a client library's own repeats."""

import asyncio
import json
from typing import Any

import attrs
from multidict import CIMultiDict

from chatloom_async.testing import Sandbox, SandboxAgent, Workspace, make_workspace

AGENTS = "/api/plugin/agents"
KEY = "clf_acme"
ACME = Workspace(
    "acme",
    KEY,
    (
        SandboxAgent("agt_1", domains=("example.com", "support.example.com", "a.example.com")),
        SandboxAgent("agt_3", created_at="2026-01-31T16:00:00.000Z"),
        SandboxAgent("agt_2", created_at="2026-02-01T00:00:00+09:00"),
    ),
)
OTHER = make_workspace("other", "clf_other", agents=2)


@attrs.frozen
class Answer:
    status: int
    headers: CIMultiDict[str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def domains_of(agent_id: str) -> str:
    return f"{AGENTS}/{agent_id}/allowed-domains"


async def raw(sandbox: Sandbox, *head: str) -> bytes:
    """Return everything the server sends on one connection until it closes it."""
    port = int(sandbox.base_url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        lines = [*head, "Host: sandbox", "Connection: close", "", ""]
        writer.write("\r\n".join(lines).encode())
        return await reader.read()
    finally:
        writer.close()


async def ask(
    sandbox: Sandbox, path: str = AGENTS, *headers: str, method: str = "GET", key: str | None = KEY
) -> Answer:
    """Make one request; ``headers`` take the key's place."""
    given = headers or ((f"Authorization: Bearer {key}",) if key else ())
    head, _, body = (await raw(sandbox, f"{method} {path} HTTP/1.1", *given)).partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    pairs = (line.split(": ", 1) for line in rest)
    return Answer(int(first.split()[1]), CIMultiDict((n, v) for n, v in pairs), body)


async def statuses(sandbox: Sandbox, *paths: str, key: str | None = KEY) -> list[int]:
    """Return the statuses of requests one after another."""
    return [(await ask(sandbox, path, key=key)).status for path in paths]
