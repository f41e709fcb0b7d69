"""Rate limits met over real sockets, in virtual time: a server that allows 40 calls a minute."""

import pytest

from chatloom_async import AsyncChatloom, FanOut, RateLimit, Success
from chatloom_async.testing import Quota, Sandbox, make_workspace
from tests.virtual import now

pytestmark = pytest.mark.looptime

ACME = make_workspace("acme", "clf_acme", agents=120)
PER_MINUTE = 40
IDEAL = 120.0  # seconds: 40 at once, and 80 that wait for two minutes' worth


QUOTAS = {
    "token bucket": Quota.token_bucket(PER_MINUTE, PER_MINUTE),
    "token bucket, refusals count": Quota.token_bucket(PER_MINUTE, PER_MINUTE, count_refused=True),
    "fixed window": Quota.fixed_window(PER_MINUTE, 60),
    "sliding window": Quota.sliding_window(PER_MINUTE, 60),
    "sliding window, refusals count": Quota.sliding_window(PER_MINUTE, 60, count_refused=True),
}


@pytest.mark.parametrize("tasks", [20, 120])
@pytest.mark.parametrize("told", ["retry-after", "silent"])
@pytest.mark.parametrize("kind", QUOTAS)
async def test_every_call_succeeds_in_hardly_more_time(kind: str, told: str, tasks: int) -> None:
    quota, in_vain = QUOTAS[kind].telling(told), "count" in kind and told == "silent"
    async with (
        Sandbox([ACME], quota=quota, latency=0.05) as sandbox,
        AsyncChatloom(
            ACME.key, base_url=sandbox.base_url, rate_limit=RateLimit(per_minute=None)
        ) as chatloom,
    ):
        started, ids = now(), [agent.id for agent in ACME.agents]
        async with FanOut(chatloom.get_allowed_domains, ids, concurrency=tasks) as answers:
            assert {type(answer) async for answer in answers} == {Success}
        assert sandbox.count(status=429) <= (45 if told == "silent" else 33)
        # Where refusals count and nothing is told, every probe in vain may cost another minute.
        assert now() - started <= 1.2 * IDEAL + (60 if in_vain else 0)
