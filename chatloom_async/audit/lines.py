"""A ``WorkspaceAudit`` as a line of JSON and back; the files they stand in are in ``log``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

from attrs import asdict, fields_dict

from chatloom_async.audit.values import SEVERITIES, AuditedAgent, Finding, Gap, WorkspaceAudit

Value = TypeVar("Value")

_OF = "of"


def dump_audit(audit: WorkspaceAudit, of: int | None = None) -> str:
    """Return the line of JSON, without its end; ASCII only, so that any text survives.

    ``of`` is the number of workspaces in its run, where that is known.
    """
    line = asdict(audit) if of is None else {**asdict(audit), _OF: of}
    return json.dumps(line, separators=(",", ":"), default=_plain)


def parse_audit(line: str | bytes) -> tuple[WorkspaceAudit, int | None]:
    """Return what a line says, and of how many; fields this release does not know are left out.

    A severity it does not know is read as "low": it counts, and is no reason to fail.

    Raises:
        ValueError: it is not such a line.

    """
    try:
        sent = json.loads(line)
        agents = tuple(map(_agent, sent["agents"]))
        findings = tuple(map(_finding, sent["findings"]))
        gaps = tuple(_value(Gap, each) for each in sent["gaps"])
        lists = {"agents": agents, "findings": findings, "gaps": gaps}
        audit, of = _value(WorkspaceAudit, {**sent, **lists}), sent.get(_OF)
    except (TypeError, KeyError, AttributeError, RecursionError):
        raise ValueError("not a line of an audit") from None
    if isinstance(audit.workspace, str):
        return audit, of if isinstance(of, int) else None
    raise ValueError("a workspace without a name")


def _agent(sent: Mapping[str, Any]) -> AuditedAgent:
    domains = sent["allowed_domains"]
    created_at = datetime.fromisoformat(sent["created_at"])
    return _value(
        AuditedAgent,
        {
            **sent,
            "created_at": created_at,
            "allowed_domains": None if domains is None else tuple(domains),
        },
    )


def _finding(sent: Mapping[str, Any]) -> Finding:
    severity = sent["severity"]
    return _value(Finding, {**sent, "severity": severity if severity in SEVERITIES else "low"})


def _value(kind: type[Value], sent: Mapping[str, Any]) -> Value:
    known = fields_dict(kind)  # type: ignore[arg-type]  # attrs types "a class made by attrs" so
    return kind(**{name: value for name, value in sent.items() if name in known})


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no form in an audit file")
