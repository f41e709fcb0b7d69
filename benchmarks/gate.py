"""What the rate limiter costs: CPU per call, with nobody waiting and with thousands.

::

    python -m benchmarks.gate [--rounds 5]

- ``free``: microseconds that the gate adds to a call that leaves at once; the policy adds none to
  one that succeeds. The transport is a script; with a gate and without take turns.
- ``waiting``: microseconds per admission while 100, 1,000 and 10,000 calls queue at one gate, in
  virtual time; each call's own task is part of them.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from itertools import repeat
from statistics import median

from chatloom_async import AsyncChatloom, RateLimit
from chatloom_async.ratelimit.limiter import RateLimiter
from chatloom_async.ratelimit.waiting import WaitLimits
from chatloom_async.testing import FakeClock, StubReply, StubTransport

CALLS = 4000
WAITING = (100, 1000, 10_000)
NO_CEILING = RateLimit(per_minute=None)
ANSWER = StubReply(body=b'{"domains":["example.com"]}')


async def spent(chatloom: AsyncChatloom) -> float:
    """Return the microseconds of CPU per call, one every tenth of a virtual second."""
    started = time.process_time()
    for _ in range(CALLS):
        await chatloom.get_allowed_domains("agt_1")
        await asyncio.sleep(0.1)
    return (time.process_time() - started) / CALLS * 1e6


async def free(rounds: int) -> float:
    """Return what a gate at which nobody waits adds to a call."""
    unpaced = AsyncChatloom("clf_benchmark", rate_limit=None, pool=StubTransport(repeat(ANSWER)))
    paced = unpaced.with_options(rate_limit=NO_CEILING)
    turns = [(await spent(paced), await spent(unpaced)) for _ in range(rounds + 1)][1:]
    return median(one - other for one, other in turns)


async def waiting(calls: int) -> float:
    """Return the microseconds of CPU per admission while so many queue."""
    gate = RateLimiter(RateLimit(per_minute=60_000, burst=1), name="benchmark")

    async def call() -> None:
        gate.admitted(await gate.wait("/agents", WaitLimits()), "/agents")

    tasks = [asyncio.create_task(call()) for _ in range(calls)]
    await asyncio.sleep(0)
    started = time.process_time()
    await asyncio.gather(*tasks)
    return (time.process_time() - started) / calls * 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print(f"nobody waiting  {FakeClock().run(free(rounds)):6.2f} µs added to a call")
    turns = [[FakeClock().run(waiting(calls)) for calls in WAITING] for _ in range(rounds)]
    queued = [median(row) for row in zip(*turns, strict=True)]
    for calls, microseconds in zip(WAITING, queued, strict=True):
        print(f"{calls:6} waiting  {microseconds:6.2f} µs per admission")
    print(f"most ÷ least    {max(queued) / min(queued):6.2f}")


if __name__ == "__main__":
    main()
