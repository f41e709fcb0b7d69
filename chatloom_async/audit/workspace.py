"""One workspace, from the answers of the API to the finished ``WorkspaceAudit``.

Not here: how a workspace is read (``calls.workspace``), how many are audited at the same time
(``run``), what is a finding (``judge``).
"""

import asyncio
from datetime import UTC, datetime

from chatloom_async.audit.findings import list_findings
from chatloom_async.audit.judge import Judge
from chatloom_async.audit.results import WorkspaceAudit
from chatloom_async.calls.retry import RetryPolicy
from chatloom_async.calls.workspace import gap, read_workspace
from chatloom_async.client import AsyncChatloom
from chatloom_async.models import Gap, WorkspaceSnapshot

AUDIT_RETRY = RetryPolicy(attempts=8, patience=600.0)
"""What an audit uses in place of the default policy: runs of hours outlive outages of minutes."""

LOOKUPS = 8  # calls of one workspace at once, if nothing else is asked for


async def audit_workspace(
    name: str, client: AsyncChatloom, lookups: int, judge: Judge
) -> WorkspaceAudit:
    """Read all there is of one workspace, and judge it; ``lookups`` calls at once."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    refused_before: int | None = None
    # With counters of its own and no cache; a policy that was chosen is kept.
    retry = AUDIT_RETRY if client.retry == RetryPolicy() else client.retry
    client = client.with_options(retry=retry, cache=None)

    def note_refusals() -> None:
        """Remember what the limiter, which may be older than the audit, saw before the answer."""
        nonlocal refused_before
        refused_before = _refused(client)

    loop.call_soon(note_refusals)
    try:
        read = await read_workspace(client.list_agents, client.get_allowed_domains, lookups=lookups)
    except Exception as error:  # noqa: BLE001 - also of the source of its key, see gap
        read = WorkspaceSnapshot((), (gap(None, error),), 0)
    listed, gaps = len(read.agents), read.gaps
    if read.count > listed:  # agents that nobody has looked at
        (missing,) = list_findings(read.count, listed)
        gaps = (Gap(None, "ResponseDecodeError", None, missing.message), *gaps)
    spent = client.stats()
    return WorkspaceAudit(
        name,
        read.agents,
        (*judge.listing(read.count, listed), *judge.agents(read.agents)),
        gaps,
        spent.requests,
        spent.retried,
        0 if refused_before is None else _refused(client) - refused_before,
        loop.time() - started,
        datetime.now(UTC),
    )


def _refused(client: AsyncChatloom) -> int:
    limiter = client.stats().limiter
    return 0 if limiter is None else limiter.refused
