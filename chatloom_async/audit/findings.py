"""Findings: the table of rules, and pure functions that apply them.

What they look at is data already read; nothing here asks the API. The API reference says little
about what an allowed domain may be, and the rules say no more: each names its source.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from attrs import frozen

from chatloom_async.audit.domains import (
    ApprovedDomains,
    Entry,
    is_documentation,
    is_local,
    is_private,
    is_public_suffix,
    look_alike,
    parse_entry,
)
from chatloom_async.audit.results import AuditedAgent, Finding, Severity, WorkspaceAudit

_POSITIONS = ("bottom-right", "bottom-left", "top-right", "top-left")
_USUAL_STATUS = "active"
_SHOWN = 80  # characters of an entry in a message
_NAMED = 5  # workspaces


@frozen
class Rule:
    """One kind of finding: what it says, how much it matters, where it comes from."""

    id: str
    severity: Severity
    sentence: str
    source: str


def _table(*rules: Rule) -> Mapping[str, Rule]:
    return {rule.id: rule for rule in rules}


FINDING_RULES = _table(
    Rule(
        "no-domain",
        "low",
        "No domain is listed; what that means is not documented.",
        "API reference, allowed-domains: an empty list is not described",
    ),
    Rule(
        "wildcard",
        "medium",
        "A wildcard stands for names nobody has reviewed.",
        "API reference, allowed-domains: wildcards are not described",
    ),
    Rule(
        "public-suffix",
        "high",
        "Anybody can register names below this one.",
        "publicsuffix.org, ICANN and private sections",
    ),
    Rule(
        "private-address",
        "medium",
        "A local name or private address is another machine for everybody, or none.",
        "RFC 6761, 6762, 7686, 8375, 5737, 3849; IANA special-purpose address registries",
    ),
    Rule(
        "ip-address",
        "low",
        "An IP address is listed where domains belong.",
        "API reference, allowed-domains: the entries are domains",
    ),
    Rule(
        "url",
        "medium",
        "A URL or port is listed where a domain belongs.",
        "API reference, allowed-domains: the entries are domains",
    ),
    Rule(
        "malformed",
        "medium",
        "This is not how a host name is written; what it matches, if anything, is not documented.",
        "RFC 1123 §2.1, RFC 5890 to 5892, UTS #46; WHATWG URL, host parsing",
    ),
    Rule(
        "duplicate",
        "low",
        "The same domain is listed more than once.",
        "RFC 4343: names differing only in case are one",
    ),
    Rule(
        "look-alike",
        "high",
        "The name can be taken for another one.",
        "Unicode Technical Standard #39, §5",
    ),
    Rule(
        "not-approved",
        "high",
        "The domain is not on the approved list.",
        "the approved list given to the audit",
    ),
    Rule(
        "shared-domain",
        "low",
        "Several workspaces allow the same domain.",
        "a comparison of the workspaces in one audit",
    ),
    Rule(
        "unknown-value",
        "low",
        "A field has a value that is not documented.",
        "API reference, agents: position, status",
    ),
    Rule(
        "count-mismatch",
        "medium",
        "The answer holds another number of agents than it says.",
        'API reference, agents: "same as agents.length"',
    ),
)
"""Every rule by its id."""


def agent_findings(
    agent: AuditedAgent, approved: ApprovedDomains | None = None
) -> tuple[Finding, ...]:
    """Apply every rule that looks at one agent; without its domains, those that need none."""
    found = [*_about_fields(agent)]
    if agent.allowed_domains is not None:
        found += _about(agent.allowed_domains, approved)
    return tuple(
        Finding(rule, FINDING_RULES[rule].severity, agent.id, domain, message)
        for rule, domain, message in found
    )


def list_findings(count: int, agents: int) -> tuple[Finding, ...]:
    """Compare the number of agents an answer names with the number it holds."""
    if count == agents:
        return ()
    rule = FINDING_RULES["count-mismatch"]
    message = f"count is {count}, but {agents} agents are listed; some may be missing"
    return (Finding(rule.id, rule.severity, None, None, message),)


def shared_domains(audits: Iterable[WorkspaceAudit]) -> tuple[Finding, ...]:
    """Find the domains which several workspaces allow, by name; memory grows with their number.

    A stream of audits does without this rule, for it would have to remember every domain. Names
    that are local anyway are left out.
    """
    places: dict[str, list[str]] = {}
    for audit in audits:
        for identity in {
            entry.identity
            for agent in audit.agents
            for entry in map(parse_entry, agent.allowed_domains or ())
            if entry.host and entry.address is None and not is_local(entry.host)
        }:
            places.setdefault(identity, []).append(audit.workspace)
    rule = FINDING_RULES["shared-domain"]
    return tuple(
        Finding(rule.id, rule.severity, None, identity, f"allowed by {_listed(names)}")
        for identity, names in sorted(places.items())
        if len(names) > 1
    )


def _about_fields(agent: AuditedAgent) -> Iterator[tuple[str, str | None, str]]:
    if agent.position not in _POSITIONS:
        yield "unknown-value", None, f"position is {_shown(agent.position)}; not documented"
    if agent.status != _USUAL_STATUS:
        yield "unknown-value", None, f"status is {_shown(agent.status)}; documented: usually active"


def _about(
    domains: tuple[str, ...], approved: ApprovedDomains | None
) -> Iterator[tuple[str, str | None, str]]:
    if not domains:
        yield "no-domain", None, "no domain is listed; what that means is not documented"
    seen: dict[str, str] = {}
    for domain in domains:
        entry, wrong = _judged(domain)
        for rule, reason in wrong:
            yield rule, domain, f"{_shown(domain)} {reason}"
        if approved is not None and not approved.allows(entry):
            yield "not-approved", domain, f"{_shown(domain)} is not on the approved list"
        first = seen.get(entry.identity)
        if first is None:
            seen[entry.identity] = domain
        else:
            how = "is listed again" if first == domain else f"is the same as {_shown(first)}"
            yield "duplicate", domain, f"{_shown(domain)} {how}"


@lru_cache(512)  # the agents of a workspace mostly list the same domains
def _judged(domain: str) -> tuple[Entry, tuple[tuple[str, str], ...]]:
    entry = parse_entry(domain)
    return entry, tuple(_wrong_with(entry))


def _wrong_with(entry: Entry) -> Iterator[tuple[str, str]]:
    """Yield the id of each rule an entry breaks, and the rest of a sentence that begins with it."""
    yield from _wrong_with_form(entry)
    if entry.host and entry.address is None:
        yield from _wrong_with_host(entry.host)


def _wrong_with_form(entry: Entry) -> Iterator[tuple[str, str]]:
    if entry.problem:
        yield "malformed", entry.problem
    if entry.url:
        yield "url", "is a URL or has a port; a domain belongs here"
    if entry.wildcard:
        yield "wildcard", "holds a wildcard; the API reference describes none"
    if entry.address is not None:
        if is_documentation(entry.address):
            yield "private-address", "is an address for documentation: no machine has it"
        elif is_private(entry.address):
            yield (
                "private-address",
                "is a private or reserved address: another machine for everybody",
            )
        else:
            yield "ip-address", "is an IP address"
    if entry.wildcard and not entry.host and not entry.problem:
        yield "public-suffix", "stands for every name there is"


def _wrong_with_host(host: str) -> Iterator[tuple[str, str]]:
    if is_public_suffix(host):
        yield "public-suffix", "is a public suffix: anybody can register names below it"
    elif is_local(host):
        yield "private-address", "is a name that means something else, or nothing, elsewhere"
    elif "xn--" in host:
        reason = look_alike(host)
        if reason is not None:
            yield "look-alike", f"can be taken for another name: {reason}"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(names)} workspaces: {', '.join(names[:_NAMED])}{more}"


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
