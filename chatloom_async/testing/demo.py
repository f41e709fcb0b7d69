"""A demonstration: workspaces like those of an agency's clients, and faults that heal on retry.

Invented data only, with something in it for an audit to find; nothing here serves it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from chatloom_async.testing.api import AGENTS, domains_path
from chatloom_async.testing.faults import Fault
from chatloom_async.testing.workspaces import SandboxAgent, Workspace, iso

_TABLES = {
    "brightleaf": """
Garden Helper: brightleaf.example www.brightleaf.example
Seed Finder: shop.brightleaf.example
Order Status: shop.brightleaf.example account.brightleaf.example
Delivery Questions: brightleaf.example help.brightleaf.example
Plant Doctor: care.brightleaf.example xn--brightlef-7yh.example
Wholesale Desk: trade.brightleaf.example
Returns Assistant: BrightLeaf.example brightleaf.example
Gift Card Helper: gifts.brightleaf.example
Autumn Campaign 2024:
Store Locator: stores.brightleaf.example
Newsletter Sign-up: news.brightleaf.example brightleaf.example
""",
    "northwind-travel": """
Booking Assistant: northwind-travel.example booking.northwind-travel.example
Flight Changes: northwind-travel.example
Group Tours: groups.northwind-travel.example
Hotel Concierge: stay.northwind-travel.example *.northwind-travel.example
Baggage Help: help.northwind-travel.example
Visa Questions: help.northwind-travel.example
Loyalty Club: club.northwind-travel.example northwind-travel.example
Corporate Travel: business.northwind-travel.example
Weather Alerts:
Cruise Advisor: cruises.northwind-travel.example
Agent Portal: agents.northwind-travel.example partners.example
""",
    "halden-insurance": """
Claims Intake: halden-insurance.example claims.halden-insurance.example
Policy Questions: halden-insurance.example
Car Insurance Quote: quote.halden-insurance.example
Home Insurance Quote: quote.halden-insurance.example
Broker Support: brokers.halden-insurance.example
Emergency Line: halden-insurance.example sos.halden-insurance.example
Staging Copy: localhost staging.halden-insurance.example
Careers: jobs.halden-insurance.example
Document Upload: https://docs.halden-insurance.example/upload
Investor Relations: investors.halden-insurance.example
""",
    "kitesoft": """
Onboarding Guide: kitesoft.example app.kitesoft.example
Billing Help: billing.kitesoft.example app.kitesoft.example
API Support: developers.kitesoft.example
Status Bot: status.kitesoft.example
Sales Assistant: kitesoft.example www.kitesoft.example
Demo Scheduler: demo.kitesoft.example
Community Helper: community.kitesoft.example
Release Notes: docs.kitesoft.example
Internal Sandbox: 192.0.2.44
Bug Triage: support.kitesoft.example
Partner Desk: partners.example
Migration Coach: app.kitesoft.example
""",
    "orchard-clinic": """
Appointments: orchard-clinic.example termin.orchard-clinic.example
Prescription Refill: orchard-clinic.example
Insurance Questions: orchard-clinic.example billing.orchard-clinic.example
Vaccination Info: orchard-clinic.example
Opening Hours: orchard-clinic.example www.orchard-clinic.example
Lab Results: results.orchard-clinic.example
Paediatrics: kids.orchard-clinic.example
Old Widget:
Parking & Directions: orchard-clinic.example
""",
    "meridian-books": """
Reading Advisor: meridian-books.example www.meridian-books.example
Rare Books: rare.meridian-books.example
Event Tickets: events.meridian-books.example
Library Services: libraries.meridian-books.example
E-book Support: ebooks.meridian-books.example help.meridian-books.example
Author Services: authors.meridian-books.example
School Orders: schools.meridian-books.example
Press Room: press.meridian-books.example
Café Menu: cafe.meridian-books.example
Christmas Shop:
Subscription Box: box.meridian-books.example meridian-books.example
""",
    "former-client": """
Chat: former-client.example
Support: help.former-client.example
""",
}

_REVOKED = "former-client"

_LOOK = (
    ("#611F69", "#764ba2", "bottom-right", "modern"),
    ("#0B6E4F", "#73BA9B", "bottom-left", "classic"),
    ("#1D3557", "#457B9D", "bottom-right", "minimal"),
    ("#9B2226", "#EE9B00", "top-right", "modern"),
)

# One that no release of a client can know yet.
_NEW_LOOK = ("#222222", "#DDDDDD", "center", "immersive")


def demo_workspaces() -> tuple[Workspace, ...]:
    """Seven workspaces with 66 agents; the last one's key is revoked.

    Among the domains: a wildcard, localhost, an IP address, a URL, one name twice in different
    case, a look-alike in punycode, one domain in two workspaces, and agents with none at all.
    """
    return tuple(_workspace(*each) for each in _TABLES.items())


def demo_faults() -> tuple[Fault, ...]:
    """What goes wrong in the demonstration: all of it heals on retry but for one agent's 500s."""
    return (
        Fault.status(429, path=_domains("brightleaf", 4), retry_after="0.2"),
        Fault.status(429, path=_domains("northwind-travel", 6), retry_after=1),
        Fault.status(429, path=_domains("kitesoft", 3)),
        Fault.status(429, path=AGENTS, workspace="meridian-books", retry_after="0.5"),
        Fault.status(500, path=_domains("brightleaf", 7), times=2),
        Fault.status(500, path=AGENTS, workspace="orchard-clinic"),
        Fault.status(503, path=_domains("halden-insurance", 2), retry_after="0.3"),
        Fault.status(502, path=_domains("meridian-books", 5)),
        Fault.disconnect(path=_domains("halden-insurance", 5)),
        Fault.cut_body(path=_domains("northwind-travel", 2)),
        Fault.delay(0.4, path=_domains("orchard-clinic", 6)),
        Fault.status(500, path=_domains("kitesoft", 10), times=None),
    )


def _workspace(name: str, table: str) -> Workspace:
    rows = enumerate(table.strip().splitlines(), start=1)
    agents = tuple(_agent(name, number, row) for number, row in rows)
    return Workspace(name, f"clf_demo_{name}", agents, revoked=name == _REVOKED)


def _agent(workspace: str, number: int, row: str) -> SandboxAgent:
    title, _, domains = row.partition(":")
    newest = (workspace, number) == ("kitesoft", 12)
    primary, secondary, position, template = _NEW_LOOK if newest else _LOOK[number % len(_LOOK)]
    return SandboxAgent(
        _id(workspace, number),
        title,
        primary,
        secondary,
        position,
        template,
        created_at=iso(datetime(2025, 2, 3, 9, 30, tzinfo=UTC) + timedelta(days=19 * number)),
        domains=tuple(domains.split()),
    )


def _id(workspace: str, number: int) -> str:
    return f"agt_{workspace.partition('-')[0]}_{number:02d}"


def _domains(workspace: str, number: int) -> str:
    return domains_path(_id(workspace, number))
