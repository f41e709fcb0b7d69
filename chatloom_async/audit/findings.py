"""Findings: the table of rules, from ``findings.json``, and pure functions that apply them.

What they look at is data already read; nothing here asks the API. The API reference says little
about what an allowed domain may be, and the rules say no more: each names its source.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from importlib.resources import files
from itertools import chain

from attrs import frozen

from chatloom_async.audit.addresses import is_documentation
from chatloom_async.audit.domains import (
    LONGEST,
    ApprovedDomains,
    Entry,
    is_local,
    is_plain,
    parse_entry,
)
from chatloom_async.audit.hosts import shown
from chatloom_async.audit.look_alikes import look_alike
from chatloom_async.audit.results import Finding, Severity, WorkspaceAudit
from chatloom_async.audit.suffixes import is_public_suffix, is_suffix_or_above
from chatloom_async.models import AuditedAgent

POSITIONS = ("bottom-right", "bottom-left", "top-right", "top-left")
_USUAL_STATUS = "active"
_SHOWN = 80  # characters of an entry that a message quotes
_NAMED = 5  # workspaces
_ALIKE = 1000  # findings of one rule about one agent, before the others are only counted
_NAMED_OF_OTHERS = 3
_MOST_ODD = 10_000  # entries of one agent that are not plain hosts in order, some 30 µs each
_LONGEST = 2048  # characters of an entry in a finding
_DOCUMENTATION = "example"  # RFC 2606 §2: what examples are made of
_TOO_MUCH = {
    "everything": ("public-suffix", "stands for every host there is"),
    "anybody's hosts": ("public-suffix", "stands for hosts that anybody can register"),
    "addresses": ("address-space", "stands for many IP addresses, whoever has them"),
}

Judged = tuple[Entry, tuple[tuple[str, str], ...]]  # and the ids of rules that it breaks, with why
Found = tuple[str, str | None, str]  # the id of a rule, the entry, the message


@frozen
class Rule:
    """One kind of finding: what it says, how much it matters, where it comes from."""

    id: str
    severity: Severity
    sentence: str
    source: str


_data = json.loads(files("chatloom_async.audit").joinpath("findings.json").read_text("utf-8"))

FINDING_RULES: Mapping[str, Rule] = {each: Rule(each, **rule) for each, rule in _data.items()}
"""Every rule by its id."""


def agent_findings(
    agent: AuditedAgent, approved: ApprovedDomains | None = None
) -> tuple[Finding, ...]:
    """Apply every rule that looks at one agent; without its domains, those that need none.

    Of one rule a thousand findings are made; of the others it is said how many they are, and which
    are the first of them. So an agent's findings are bounded, and so is the time they take.
    """
    found: list[Finding] = []
    counts: Counter[str] = Counter()
    others: defaultdict[str, list[str]] = defaultdict(list)
    for rule, domain, message in _about(agent, approved):
        counts[rule] += 1
        if counts[rule] <= _ALIKE:
            found.append(_finding(rule, agent.id, domain and domain[:_LONGEST], message))
        elif counts[rule] <= _ALIKE + _NAMED_OF_OTHERS:
            others[rule].append(_quote(domain or ""))
    for rule, domains in others.items():
        more = f"{counts[rule] - _ALIKE:,} more entries: {', '.join(domains)}, …"
        found.append(_finding(rule, agent.id, None, f"the same holds for {more}"))
    return tuple(found)


def list_findings(count: int, agents: int) -> tuple[Finding, ...]:
    """Compare the number of agents an answer names with the number it holds."""
    if count == agents:
        return ()
    message = f"count is {count}, but {agents} agents are listed; some may be missing"
    return (_finding("count-mismatch", None, None, message),)


def shared_domains(audits: Iterable[WorkspaceAudit]) -> tuple[Finding, ...]:
    """Find the domains which several workspaces allow, by name; memory grows with their number.

    A stream does without it, for it would have to remember every domain. Local names are left out.
    """
    places: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for audit in audits:
        for domain in chain(*(agent.allowed_domains or () for agent in audit.agents)):
            entry, _ = _judged(domain)
            if entry.fixed and not entry.address and not is_local(entry.fixed):
                places[entry.identity][audit.workspace] = None
    found: list[Finding] = []
    for identity, names in sorted(places.items()):
        if len(names) > 1:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            named = f"{len(names)} workspaces: {', '.join([*names][:_NAMED])}{more}"
            found.append(_finding("shared-domain", None, identity, f"allowed by {named}"))
    return tuple(found)


def text_of(finding: Finding) -> str:
    """Return what a finding says, the entry that it is about included."""
    domain = finding.domain
    if domain is None or finding.message.startswith(repr(domain[:_SHOWN])[:-1]):
        return finding.message
    return f"{domain!r} {finding.message}"


def _finding(rule: str, agent: str | None, domain: str | None, message: str) -> Finding:
    return Finding(rule, FINDING_RULES[rule].severity, agent, domain, message)


def _about(agent: AuditedAgent, approved: ApprovedDomains | None) -> Iterator[Found]:
    if agent.position not in POSITIONS:
        yield "unknown-value", None, f"position is {_quote(agent.position)}; not documented"
    if agent.status != _USUAL_STATUS:
        yield "unknown-value", None, f"status is {_quote(agent.status)}; documented: usually active"
    if agent.allowed_domains is not None:
        yield from _about_domains(agent.allowed_domains, approved)


def _about_domains(domains: tuple[str, ...], approved: ApprovedDomains | None) -> Iterator[Found]:
    if not domains:
        yield "no-domain", None, "no domain is listed; what that means is not documented"
    seen: dict[str, str] = {}
    odd = 0
    for domain, count in Counter(domains).items():
        if odd >= _MOST_ODD and not _is_in_order(domain):
            odd += 1
            continue
        entry, wrong = _judged(domain)
        odd += bool(wrong) or not entry.plain
        for rule, reason in wrong:
            yield rule, domain, f"{_quote(domain)} {reason}"
        if approved is not None and not approved.allows(entry):
            yield "not-approved", domain, f"{_quote(domain)} is not on the approved list"
        first = seen.setdefault(entry.identity, domain)
        if first is not domain:
            yield "duplicate", domain, f"{_quote(domain)} names the same host as {_quote(first)}"
        if count > 1:
            yield "duplicate", domain, f"{_quote(domain)} is listed {count:,} times"
    if odd > _MOST_ODD:
        yield "not-judged", None, f"{odd - _MOST_ODD:,} more odd entries are listed; not judged"


def _judged(domain: str) -> Judged:
    """Return what an entry is and what is wrong with it."""
    # What is longer than any name is not worth remembering.
    return _remembered(domain) if len(domain) <= LONGEST else _remembered.__wrapped__(domain)


@lru_cache(4096)
def _remembered(domain: str) -> Judged:  # a workspace's agents mostly list the same domains
    entry = parse_entry(domain)
    return entry, tuple(_wrong_with(entry))


def _is_in_order(domain: str) -> bool:
    """Tell a plain host with nothing wrong, as almost all are, in a microsecond or two."""
    return is_plain(domain) and not any(_wrong_with_host(domain, wildcard=False))


def _wrong_with(entry: Entry) -> Iterator[tuple[str, str]]:
    """Yield the id of each rule an entry breaks, and the rest of a sentence that begins with it."""
    meant = "it means" if entry.wildcard else "browsers go to"
    host = f": {meant} {_quote(entry.identity)}" if entry.host else ""
    if entry.problem:
        yield "malformed", f"{entry.problem}{host if entry.hidden else ''}"
    if entry.url:
        yield "url", f"is a URL or has a port{host}; a domain belongs here"
    if entry.wildcard:
        yield "wildcard", "holds a wildcard; the API reference describes none"
    if entry.covers in _TOO_MUCH:
        yield _TOO_MUCH[entry.covers]
    if entry.address is None:
        if entry.fixed:
            yield from _wrong_with_host(entry.fixed, wildcard=entry.wildcard)
    elif is_documentation(entry.address):
        yield "private-address", "is an address for documentation: no machine has it"
    elif entry.address.is_multicast or not entry.address.is_global:
        yield "private-address", "is a private or reserved address: another machine for everybody"
    else:
        yield "ip-address", "is an IP address"


def _wrong_with_host(host: str, *, wildcard: bool) -> Iterator[tuple[str, str]]:
    top = host.rpartition(".")[2]
    if not wildcard and is_public_suffix(host):
        yield "public-suffix", "is a public suffix: anybody can register names below it"
    elif is_local(host):
        yield "private-address", "is a name that means something else, or nothing, elsewhere"
    elif not is_suffix_or_above(top) and top != _DOCUMENTATION:
        yield "unknown-top-level", f"ends in .{_quote(top)[1:-1]}, no known top-level domain"
    reason = look_alike(shown(host)) if "xn--" in host else None
    if reason is not None:
        yield "look-alike", f"can be taken for another name: {reason}"


def _quote(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
