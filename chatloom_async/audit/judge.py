"""Which findings an audit tells of: the rules, an approved list, rules to leave out.

One judge is used for what is read and for what an earlier run left in a file, so that both are
judged alike. Not here: the rules themselves (``findings``).
"""

from collections.abc import Iterable
from typing import Self

from attrs import Factory, field, frozen

from chatloom_async.audit.domains import ApprovedDomains
from chatloom_async.audit.findings import (
    FINDING_RULES,
    agent_findings,
    list_findings,
    shared_domains,
)
from chatloom_async.audit.results import Finding, WorkspaceAudit
from chatloom_async.errors import ConfigurationError
from chatloom_async.models import AuditedAgent

_ONLY_SEEN_LIVE = "count-mismatch"  # what the answer said is in no file


@frozen
class Judge:
    """Applies the rules as one run's options say.

    Attributes:
        approved: the lines of the approved list; None: any domain may be listed.
        ignored: ids of the rules that are left out.
    """

    approved: tuple[str, ...] | None = None
    ignored: tuple[str, ...] = ()
    _domains: ApprovedDomains | None = field(
        default=Factory(
            lambda self: None if self.approved is None else ApprovedDomains.of(self.approved),
            takes_self=True,
        ),
        init=False,
        repr=False,
    )

    @classmethod
    def of(cls, approved: Iterable[str] | None = None, ignore: Iterable[str] = ()) -> Self:
        """Return a judge; ``approved`` may be one text of many lines.

        Raises:
            ConfigurationError: a line is no domain, or a rule does not exist.
        """
        ignored = (ignore,) if isinstance(ignore, str) else tuple(ignore)
        for rule in ignored:
            if rule not in FINDING_RULES:
                rules = ", ".join(FINDING_RULES)
                raise ConfigurationError(f"no rule {rule!r} to ignore; there are {rules}")
        if approved is None:
            return cls(None, ignored)
        lines = tuple(approved.splitlines() if isinstance(approved, str) else approved)
        if not all(isinstance(line, str) for line in lines):
            raise ConfigurationError("an approved list holds text: one domain or pattern a line")
        return cls(lines, ignored)

    def agents(self, agents: Iterable[AuditedAgent]) -> tuple[Finding, ...]:
        """Return what is wrong with these agents."""
        return self._heard(
            finding for agent in agents for finding in agent_findings(agent, self._domains)
        )

    def listing(self, count: int, agents: int) -> tuple[Finding, ...]:
        """Return what is wrong with an answer that says ``count`` and lists so many agents."""
        return self._heard(list_findings(count, agents))

    def across(self, audits: Iterable[WorkspaceAudit]) -> tuple[Finding, ...]:
        """Return what shows only when workspaces are compared."""
        return () if "shared-domain" in self.ignored else shared_domains(audits)

    def keeps(self, rule: str) -> bool:
        """Tell whether a finding in a file stays that cannot be made again."""
        return rule not in self.ignored and (rule not in FINDING_RULES or rule == _ONLY_SEEN_LIVE)

    def _heard(self, findings: Iterable[Finding]) -> tuple[Finding, ...]:
        return tuple(each for each in findings if each.rule not in self.ignored)
