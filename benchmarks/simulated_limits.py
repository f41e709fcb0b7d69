"""The limits that a client must live with, and the bar for each: the rows of ``politeness``.

A bar is the most that a figure may be. Not here: how a job is run (``simulated_jobs``), what is
judged by seconds (``simulated_moments``), outages (``simulated_outages``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from email.utils import formatdate
from functools import partial
from itertools import product

import attrs
from attrs import frozen

from benchmarks.simulated_clients import CLIENTS, Crew
from benchmarks.simulated_jobs import Job
from benchmarks.simulated_servers import Trouble, far, wide
from chatloom_async import RateLimit
from chatloom_async.testing.dialects import DIALECTS, Dialect
from chatloom_async.testing.meters import Standing
from chatloom_async.testing.quota import Quota

MOVES_AT = 120.0  # seconds, for limits that halve or double
HICCUPS = 0.05


@frozen
class Bar:
    """The most of each: makespan ÷ best; the share refused, or so many requests; a neighbour's."""

    time: float = math.inf
    refused: float = math.inf
    requests: float = 0
    theirs: float = math.inf
    fails: bool = False  # calls may


@frozen
class Row:
    """One line of the table: the mean over jobs and seeds."""

    title: str
    jobs: tuple[Job, ...]
    bar: Bar
    client: str = "chatloom_async"


SHORT = Bar(1.25, 0.02, 20)  # windows of 1 to 10 s
MINUTE = Bar(1.08, 0.02, 20)
GUESSED = Bar(1.15, 0.02, 20)
BLIND = Bar(1.80, 0.06, 20)  # each refusal blocks for an unknown time, and nothing tells
BUCKET = Bar(1.05, 0.02, 20)
ADDRESS = Bar(1.30, 0.05, 20)
FLIGHT = Bar(1.50)


def rows(*, quick: bool) -> Iterator[Row]:
    """Yield every row; ``quick`` thins out the long jobs of the first group only."""
    yield from _long_jobs(quick=quick)
    yield from _windows()
    yield from _upstash()
    yield from _dialects()
    yield from _signals()
    yield from _stores()
    yield from _crowds()
    yield from _peers(quick=quick)


_Make = Callable[[float], Quota]

LONG: Mapping[str, tuple[_Make, float, float]] = {  # how, whose clock, makespan ÷ best
    "token bucket": (lambda limit: Quota.token_bucket(limit, limit), 0, 1.02),
    "gcra": (lambda limit: Quota.gcra(limit, 10), 0, 1.02),
    "two counters": (lambda limit: Quota.sliding_counters(limit, 60), 0, 1.04),
    "fixed window": (lambda limit: Quota.fixed_window(limit, 60), 0, 1.08),
    "sliding log": (lambda limit: Quota.sliding_window(limit, 60), 0, 1.08),
    "clock window": (lambda limit: Quota.fixed_window(limit, 60, aligned=True), 60, 1.16),
    "clock counters": (lambda limit: Quota.sliding_counters(limit, 60), 60, 1.10),
    "small bucket": (lambda limit: Quota.token_bucket(limit, 20), 0, 1.08),
}
LONG_REFUSED = 0.01
MOVED: Mapping[str, tuple[float, float]] = {  # makespan ÷ best when the limit halves, and doubles
    "token bucket": (1.02, 1.04),
    "gcra": (1.02, 1.25),
    "two counters": (1.05, 1.10),
    "fixed window": (1.05, 1.30),
    "sliding log": (1.05, 1.38),
}


def _long(name: str, limit: float, *, tells: bool, tasks: int = 500) -> Job:
    make, period, _ = LONG[name]
    quota = make(limit) if tells else make(limit).telling("silent")
    return Job(quota, tasks=tasks, latency=wide, service=0, period=period, rate=limit)


def _long_jobs(*, quick: bool) -> Iterator[Row]:
    """3,000 calls of 50 and 500 tasks, 20 to 200 ms, 300 and 600 a minute."""
    tells = (True, False)
    for name in ("token bucket", "fixed window") if quick else LONG:
        sizes = (500,) if quick else (50, 500)
        cells = [
            _long(name, limit, tells=told, tasks=tasks)
            for limit, told, tasks in product((300, 600), tells, sizes)
        ]
        yield Row(name, tuple(cells), Bar(LONG[name][2], LONG_REFUSED))
    for way, (word, limit) in enumerate((("halves", 150), ("doubles", 600))):
        for name in ("gcra",) if quick else MOVED:
            cells = [
                attrs.evolve(_long(name, 300, tells=t), moves=(MOVES_AT, limit)) for t in tells
            ]
            yield Row(f"{name}, limit {word}", tuple(cells), Bar(MOVED[name][way], 0.015))
    for name in () if quick else MOVED:
        mishap = (Trouble(0, math.inf, "500", 0.005),)
        cells = [
            attrs.evolve(_long(name, limit, tells=told), troubles=mishap, limited_first=False)
            for limit, told in product((300, 600), tells)
        ]
        yield Row(f"{name}, 0.5 % 500s", tuple(cells), Bar(LONG[name][2], LONG_REFUSED))
    for name in ("token bucket",) if quick else MOVED:
        four = Crew(processes=4)
        cells = [
            attrs.evolve(_long(name, limit, tells=told), crew=four, calls=12_000)
            for limit, told in product((300,) if quick else (300, 600), tells)
        ]
        yield Row(f"{name}, four processes", tuple(cells), Bar(1 / 0.95, 0.02))


_WINDOWS: tuple[tuple[int, int, int, Bar], ...] = (
    (300, 10, 1, SHORT),
    (500, 100, 10, SHORT),
    (700, 300, 60, MINUTE),
)


def _windows() -> Iterator[Row]:
    """Windows of 1, 10 and 60 seconds, of lengths that are not round, and far away."""
    kinds: Mapping[str, tuple[Callable[[float, float], Quota], bool]] = {
        "window": (Quota.fixed_window, False),
        "clock window": (partial(Quota.fixed_window, aligned=True), True),
        "moving window": (Quota.sliding_window, False),
        "counters": (Quota.sliding_counters, True),
    }
    for (calls, limit, seconds, bar), (name, (make, aligned)) in product(_WINDOWS, kinds.items()):
        for told in ("retry-after", "silent"):
            quota = make(limit, seconds).telling(DIALECTS[told])
            job = Job(quota, calls, period=seconds if aligned else 0, rate=limit * 60 / seconds)
            # Nothing tells where a clock's minute ends: the pause can only be tried out.
            guessed = aligned and told == "silent" and bar is MINUTE
            yield Row(f"{name} {limit}/{seconds} s, {told}", (job,), GUESSED if guessed else bar)
    for few, period in ((20, 5), (70, 7), (45, 13.7), (200, 30)):
        quota = Quota.fixed_window(few, period).telling("silent")
        yield Row(f"window {few}/{period:g} s, silent", (Job(quota, 5 * few),), SHORT)
    for told in ("retry-after", "silent"):
        job = Job(Quota.fixed_window(100, 10).telling(DIALECTS[told]), 500, latency=far)
        yield Row(f"window 100/10 s at 300 ms, {told}", (job,), Bar(1.25, 0.02, 40))
    for limit, seconds in ((10, 1), (100, 10)):
        quota = Quota.fixed_window(limit, seconds).telling("silent")
        job = Job(quota, 300, connecting=0.15)
        yield Row(f"connecting takes 150 ms, {limit}/{seconds} s, silent", (job,), SHORT)
    for name, (make, _) in list(kinds.items())[::3]:
        quota = make(30, 10).telling("silent")
        job = Job(quota, 200, crew=Crew(ceiling=RateLimit()), period=10)
        yield Row(f"{name} 30/10 s, silent, default ceiling", (job,), SHORT)


def _upstash() -> Iterator[Row]:
    """As @upstash/ratelimit decides, and as its examples tell."""
    ms, floored = DIALECTS["x-ratelimit-epoch-ms"], DIALECTS["retry-after-floored"]
    sliding, fixed = Quota.sliding_counters, partial(Quota.fixed_window, aligned=True)
    for name, quota, calls, seconds, bar in (
        ("sliding 10/1 s, no cache", sliding(10, 1).telling(ms), 300, 1, SHORT),
        ("sliding 10/1 s", sliding(10, 1).telling(ms).cached(), 300, 1, SHORT),
        ("sliding 100/10 s", sliding(100, 10).telling(ms).cached(), 500, 10, SHORT),
        ("sliding 100/10 s, floored", sliding(100, 10).telling(floored).cached(), 500, 10, SHORT),
        ("sliding 300/60 s", sliding(300, 60).telling(ms).cached(), 700, 60, MINUTE),
        ("sliding 100/10 s, silent", sliding(100, 10).telling("silent").cached(), 500, 10, BLIND),
        ("fixed 100/10 s", fixed(100, 10).telling(ms).cached(), 500, 10, SHORT),
        ("fixed 300/60 s, floored", fixed(300, 60).telling(floored).cached(), 700, 60, MINUTE),
    ):
        yield Row(f"Upstash {name}", (Job(quota, calls, period=seconds),), bar)
    job = Job(Quota.token_steps(10, 1, 20).telling(ms).cached(), 500)
    yield Row("Upstash token 10/1 s, tells 20", (job,), BUCKET)


def _dialects() -> Iterator[Row]:
    """What headers say, honestly or not."""
    for name, spoken in DIALECTS.items():
        quota = Quota.fixed_window(100, 10).telling(spoken)
        yield Row(f"100/10 s, {name}", (Job(quota, 500),), SHORT)
    for name in ("x-ratelimit-epoch", "draft-7"):
        quota = Quota.token_bucket(600, 60).telling(DIALECTS[name])
        yield Row(f"bucket 10/s burst 60, {name}", (Job(quota, 600),), BUCKET)
    for name, lie in _LIES.items():
        quota = Quota.fixed_window(100, 10).telling(lie)
        yield Row(f"100/10 s, lies: {name}", (Job(quota, 500),), SHORT)


def _lie(name: str, change: Callable[[Standing], Standing]) -> Dialect:
    spoken = DIALECTS["draft-7"] if name == "draft" else DIALECTS["x-ratelimit-epoch"]
    return lambda standing: spoken(change(standing))


def _ahead(standing: Standing) -> Mapping[str, str]:
    """Tell the epoch of a clock that is half a minute ahead, and its Date."""
    ahead = attrs.evolve(standing, wall=standing.wall + 30)
    told = DIALECTS["x-ratelimit-epoch-ms"](ahead)
    return {**told, "Date": formatdate(ahead.wall, usegmt=True)}


def _garbage(_: Standing) -> Mapping[str, str]:
    return {"X-RateLimit-Remaining": "many", "X-RateLimit-Reset": "soon", "Retry-After": "-1"}


_LIES: Mapping[str, Dialect] = {
    "twice the limit": _lie(
        "x", lambda s: attrs.evolve(s, limit=2 * s.limit, remaining=s.remaining + int(s.limit))
    ),
    "always 0 left": _lie("draft", lambda s: attrs.evolve(s, remaining=0)),
    "all left": _lie("draft", lambda s: attrs.evolve(s, remaining=int(s.limit))),
    "a reset long past": _lie("x", lambda s: attrs.evolve(s, reset=s.reset - 3600)),
    "a reset a tenth as far": _lie("draft", lambda s: attrs.evolve(s, reset=s.reset / 10)),
    "Retry-After 0": lambda s: {} if s.admitted else {"Retry-After": "0"},
    "Retry-After of half the wait": lambda s: (
        {} if s.admitted else {"Retry-After": f"{s.wait / 2}"}
    ),
    "a clock half a minute ahead": _ahead,
    "garbage": _garbage,
}


def _signals() -> Iterator[Row]:
    """What says "refused", and what only looks so."""
    proxy = Quota.token_bucket(600, 60).telling("silent").answering(503, html=True)
    yield Row("503 in HTML, bucket 10/s burst 60", (Job(proxy, 600),), Bar(1.1, 0.02, 40))
    window = Quota.fixed_window(100, 10).answering(503)
    yield Row("503 + Retry-After, 100/10 s", (Job(window, 500),), Bar(1.25, 0.02, 40))
    window = Quota.fixed_window(50, 10).telling("x-ratelimit-epoch").answering(403)
    yield Row("403 + Retry-After, 50/10 s", (Job(window, 300),), SHORT)
    flask = Quota.fixed_window(300, 60).telling("retry-after-always")
    hiccups = (Trouble(0, math.inf, "500", HICCUPS),)
    job = Job(flask, 700, troubles=hiccups, ideal=2 * 60)
    yield Row("Retry-After on 5 % of 500s, 300/60 s", (job,), MINUTE)
    hour = Quota.fixed_window(1000, 3600).telling("retry-after-always")
    job = Job(hour, 300, troubles=(Trouble(0, math.inf, "500", 0.01),), ideal=2.0)
    yield Row("Retry-After on 1 % of 500s, 1000/h", (job,), Bar(2.0, 0, 0))


def _stores() -> Iterator[Row]:
    """Buckets that store little, and places in flight."""
    for rate, burst, calls, bar in (
        (10, 20, 500, BUCKET),
        (50, 100, 2000, BUCKET),
        (20, 5, 600, Bar(1.3, 0.02, 20)),
        (3, 3, 150, Bar(1.3, 0.02, 20)),
        (10, 1, 300, Bar(2.0, 0.02, 20)),
        (2, 1, 100, Bar(2.0, 0.02, 20)),
    ):
        bucket = Quota.token_bucket(rate * 60, burst).telling("silent")
        job = Job(bucket.answering(429, html=True), calls)
        yield Row(f"bucket {rate}/s burst {burst}, HTML", (job,), bar)
    for most, seconds, calls in ((5, 0.3, 500), (2, 0.3, 200), (20, 0.3, 1000)):
        quota, best = Quota.in_flight(most), calls / most * seconds
        job = Job(quota, calls, service=seconds, ideal=best)
        yield Row(f"{most} in flight of {seconds * 1000:.0f} ms", (job,), FLIGHT)
    job = Job(Quota.in_flight(5).answering(503, html=True), 500, service=0.3, ideal=500 / 5 * 0.3)
    yield Row("5 in flight of 300 ms, 503 in HTML", (job,), FLIGHT)


def _crowds() -> Iterator[Row]:
    """Many keys, many processes, neighbours."""
    many = Crew(keys=50)
    bucket, window = Quota.token_bucket(1200, 20).telling("silent"), Quota.fixed_window(200, 10)
    for name, quota in (
        ("bucket 20/s burst 20", bucket.answering(429, html=True)),
        ("bucket 20/s burst 20, 503", bucket.answering(503, html=True)),
        ("200/10 s, draft-7", window.telling("draft-7")),
        ("200/10 s, silent", window.telling("silent")),
    ):
        job = Job(quota.per_address(), 1000, 250, many, one_heap=False)
        yield Row(f"50 keys, one address: {name}", (job,), ADDRESS)
    own = Bar(1.15, 0.03, 20 * 10)
    for name, quota, bar in (
        ("bucket 5/s burst 20", Quota.token_bucket(300, 20), own),
        ("20/10 s", Quota.fixed_window(20, 10), own),
        # So few at once look like one limit of all keys at first.
        ("5/1 s, silent", Quota.fixed_window(5, 1).telling("silent"), Bar(2.0, 0.05)),
    ):
        job = Job(quota, 2000, 200, Crew(keys=20), one_heap=False)
        yield Row(f"20 keys with limits of their own: {name}", (job,), bar)
    for name, quota in (
        ("bucket 300/min burst 60", Quota.token_bucket(300, 60)),
        ("300/60 s", Quota.fixed_window(300, 60)),
        ("100/10 s, silent", Quota.fixed_window(100, 10).telling("silent")),
    ):
        job = Job(quota, 600, 100, Crew(processes=4), one_heap=False)
        yield Row(f"four processes, 150 calls each: {name}", (job,), Bar(1.25, 0.02, 80))
    for name, quota, fair, per_minute in (
        ("300/60 s", Quota.fixed_window(300, 60), Quota.fixed_window(180, 60), 120),
        ("100/10 s", Quota.fixed_window(100, 10), Quota.fixed_window(70, 10), 180),
        ("bucket 300/min", Quota.token_bucket(300, 60), Quota.token_bucket(180, 60), 120),
    ):
        for told in ("draft-7", "silent"):
            job = Job(quota.telling(DIALECTS[told]), 700, neighbour=per_minute, fair=fair)
            theirs = 0.35 if told == "draft-7" else math.inf
            yield Row(f"a neighbour: {name}, {told}", (job,), Bar(1.25, 0.02, 20, theirs))


def _peers(*, quick: bool) -> Iterator[Row]:
    """What users write today."""
    for name in ("token bucket", "fixed window") if quick else MOVED:
        for client in list(CLIENTS)[1:]:
            cells = [
                _long(name, 600, tells=told) for told in ((False,) if quick else (True, False))
            ]
            yield Row(name, tuple(cells), Bar(fails=True), client)
