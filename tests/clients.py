"""Clients as most tests want them: one attempt and no limiter, unless a test says more."""

import asyncio
from typing import Any

from chatloom_async import ApiKey, AsyncChatloom, ChatloomError, ConnectionPool, RetryPolicy
from chatloom_async.testing import StubReply, StubTransport

KEY = "clf_key_of_acme"
OTHER = "clf_key_of_beta"
ONCE = RetryPolicy(attempts=1)


def client_at(
    url: str, pool: ConnectionPool | None = None, key: str | ApiKey = KEY, **options: Any
) -> AsyncChatloom:
    options = {"retry": ONCE, "rate_limit": None, **options}
    return AsyncChatloom(key, base_url=url, pool=pool, **options)


def scripted(
    *replies: StubReply | ChatloomError, key: Any = KEY, **options: Any
) -> tuple[AsyncChatloom, StubTransport]:
    """A client that gets these replies, with the usual options, and what it asked for."""
    transport = StubTransport(replies)
    return AsyncChatloom(key, pool=transport, **options), transport


async def outcomes(client: AsyncChatloom, calls: int) -> list[Any]:
    """List agents so often at once and return what became of each."""
    asked = (client.list_agents() for _ in range(calls))
    return list(await asyncio.gather(*asked, return_exceptions=True))
