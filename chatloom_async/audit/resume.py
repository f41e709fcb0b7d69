"""What is kept of a cut run's file, and judged anew, when another run goes on with it.

Not here: going on with it (``files``).
"""

from datetime import datetime
from http import HTTPStatus
from io import FileIO
from pathlib import Path

from chatloom_async.audit.draft import Draft, write
from chatloom_async.audit.judge import Judge
from chatloom_async.audit.lines import dump_run, read_lines, unusable
from chatloom_async.audit.results import AuditRun
from chatloom_async.errors import ConfigurationError
from chatloom_async.models import Gap

_ANSWERED = ("ConfigurationError", "ResponseDecodeError")  # gaps without a status
_NAMED = 3  # workspaces in a message


def take_over(
    path: str | Path, run: AuditRun, judge: Judge | None
) -> tuple[FileIO, frozenset[str], frozenset[str], datetime | None]:
    """Put a file with what is worth keeping in the old one's place, all of it or nothing.

    ``run`` comes first in it, in place of those that are there; they are kept if it names no
    workspaces.

    Return it, open and locked; the names kept and those left out, which only an outage had hidden;
    and when the first of the kept ones was read.

    ConfigurationError: it holds something else than an audit or other workspaces, or the new file
    cannot be written.
    """
    kept: dict[str, datetime | None] = {}
    hidden: set[str] = set()
    draft = Draft.begin(path, ".resumed")

    def keep(line: str) -> None:
        write(draft.file, f"{line}\n".encode())

    try:
        if run.workspaces:
            keep(dump_run(run))
        for line in read_lines(path, latest=True):
            if line.workspace is None:
                if not run.workspaces:
                    keep(dump_run(line.run()))
                continue
            audit = line.audit()
            if not audit.agents and any(map(_by_outage, audit.gaps)):
                hidden.add(audit.workspace)
            else:
                kept[audit.workspace] = audit.read_at
                keep(line.again(judge, len(run.workspaces)))
        if run.workspaces:
            _check_same(path, hidden.union(kept).difference(run.workspaces))
        draft.publish()
    except BaseException as error:
        draft.discard()
        if isinstance(error, OSError):
            raise unusable(draft.beside, error) from None
        raise
    oldest = min(filter(None, kept.values()), default=None)
    return draft.file, frozenset(kept), frozenset(hidden), oldest


def _check_same(path: str | Path, foreign: set[str]) -> None:
    if foreign:
        more = f" and {len(foreign) - _NAMED} more" if len(foreign) > _NAMED else ""
        names = f"{', '.join(map(repr, sorted(foreign)[:_NAMED]))}{more}"
        raise ConfigurationError(f"{path} holds other workspaces, {names}: write to another file")


def _by_outage(gap: Gap) -> bool:
    """Tell whether a workspace may well be readable now: a refusal is an answer, this is none."""
    return gap.error not in _ANSWERED and (
        gap.status is None
        or gap.status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
        or gap.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    )
