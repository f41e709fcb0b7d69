"""Audited agents and workspaces that the tests of what is made of them share."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from attrs import evolve

from chatloom_async.audit.findings import agent_findings
from chatloom_async.audit.log import AuditLog
from chatloom_async.audit.results import Finding, WorkspaceAudit
from chatloom_async.models import AuditedAgent, Gap

AGENT = AuditedAgent(
    "agt_1",
    "Sales Assistant",
    "#611F69",
    "#764ba2",
    "bottom-right",
    "modern",
    "active",
    datetime(2026, 1, 15, 9, tzinfo=UTC),
    ("example.com", "localhost"),
)
ACME = WorkspaceAudit(
    "acme",
    (AGENT, evolve(AGENT, id="agt_2", allowed_domains=None)),
    (Finding("private-address", "medium", "agt_1", "localhost", "'localhost' is …"),),
    (Gap("agt_2", "InternalServerError", 500, "Something went wrong on our side."),),
    requests=10,
    retried=7,
    refused=1,
    elapsed=2.5,
)
DEAD = WorkspaceAudit("dead", gaps=(Gap(None, "AuthenticationError", 401, "Invalid API key."),))


def agent(
    agent_id: str, name: str = "Helper", domains: tuple[str, ...] | None = ("shop.example",)
) -> AuditedAgent:
    return evolve(AGENT, id=agent_id, name=name, allowed_domains=domains)


def workspace(name: str, *agents: AuditedAgent, gaps: tuple[Gap, ...] = ()) -> WorkspaceAudit:
    """A workspace with what is found in its agents."""
    found = tuple(finding for each in agents for finding in agent_findings(each))
    return WorkspaceAudit(name, agents, found, gaps, requests=4, retried=1, elapsed=1.5)


def write(path: Path, *audits: WorkspaceAudit, resume: bool = False) -> None:
    with AuditLog.open(path, resume=resume) as log:
        for audit in audits:
            log.append(audit)


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes, as on a disk that is full."""
    resource = pytest.importorskip("resource", reason="limits of Unix")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
