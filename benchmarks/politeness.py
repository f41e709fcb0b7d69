"""How politely and how fast a client lives with a server's limits: a run in virtual time.

::

    python -m benchmarks.politeness [--quick] [--seeds 5] [--only REGEX] [--check] [--json]

This package's client, through its public methods, against rate limiters as servers have them and
through outages; it is told nothing about the limit. Beside it, in the same run, what users write
today. 20 ms each way, or 20 to 200 ms for the long jobs of 50 and 500 tasks.

- ``time``: makespan divided by that of a client that knows the server's state;
- ``refused``: refusals among all requests; ``failed``: calls that ended in an error;
- ``theirs``: refusals among the requests that somebody else sends with the same key.

``--check`` ends with 1 when a bar is missed, in the mean over the seeds.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import time
from collections.abc import Iterator
from statistics import fmean

from attrs import asdict, astuple, frozen

from benchmarks.simulated_jobs import Outcome, collected_warnings, run
from benchmarks.simulated_limits import rows
from benchmarks.simulated_moments import moments
from benchmarks.simulated_outages import OUTAGES, Survival, survive

PEER_SEEDS, OUTAGE_SEEDS = 2, 2  # what is not ours, or long, is run less often


@frozen
class Line:
    """One result as it is printed, for people and for machines."""

    name: str
    text: str
    figures: dict[str, object]
    missed: bool


def limits(chosen: re.Pattern[str], seeds: int, *, quick: bool) -> Iterator[Line]:
    """Run every job whose title matches; the mean over jobs and seeds."""
    for row in rows(quick=quick):
        if chosen.search(row.title):
            ours, bar = row.client == "chatloom_async", row.bar
            times = seeds if ours else min(seeds, PEER_SEEDS)
            with collected_warnings():
                runs = [run(job, row.client, seed) for job in row.jobs for seed in range(times)]
            found = Outcome(*map(fmean, zip(*map(astuple, runs), strict=True)))
            missed = {
                "slow": found.time > bar.time,
                "refused": found.refused > max(bar.refused, bar.requests / found.sent),
                "failed": found.failed > 0 and not bar.fails,
                "greedy": found.theirs > bar.theirs,
            }
            spent = f"{found.time:.3f}{_against(bar.time, '.2f')}"
            refused = f"{found.refused:.2%}{_against(bar.refused, '.1%')}"
            theirs = f"{found.theirs:.0%}{_against(bar.theirs, '.0%')}" if found.theirs else ""
            text = (
                f"{row.title:52} {row.client:26} {spent:>14} {refused:>15} {found.failed:>7.1%}"
                f" {theirs:>10}  {' '.join(word for word in missed if missed[word])}"
            )
            figures = {"client": row.client, **asdict(found)}
            yield Line(row.title, text, figures, any(missed.values()))


def _against(bar: float, form: str) -> str:
    """Return how a bar is shown beside its figure, if there is one."""
    return "" if bar == math.inf else f" / {bar:{form}}"


def seconds(chosen: re.Pattern[str], seeds: int) -> Iterator[Line]:
    """Measure every moment whose title matches; the mean over the seeds."""
    for moment in moments():
        if chosen.search(moment.title):
            with collected_warnings():
                figure = fmean(moment.measure(seed) for seed in range(seeds))
            missed = figure > moment.bar
            text = f"{moment.title:52} {figure:8.2f} / {moment.bar:g} {moment.unit}"
            figures = {"figure": figure, "unit": moment.unit}
            yield Line(moment.title, text + " !" * missed, figures, missed)


def outages(chosen: re.Pattern[str], seeds: int, *, quick: bool) -> Iterator[Line]:
    """Run every outage whose name matches; the worst of all seeds."""
    for outage in OUTAGES:
        if chosen.search(outage.name):
            runs = [survive(outage, seed, quick=quick) for seed in range(seeds)]
            worst = Survival(*map(max, zip(*map(astuple, runs), strict=True)))
            missed = not outage.is_survived(worst)
            text = (
                f"{outage.name:52} {worst.lost:6} {worst.per_waiting:17.2f} {worst.back:8.1f} "
                f"{worst.closed:7}"
            )
            yield Line(outage.name, text + " !" * missed, asdict(worst), missed)


def main() -> int:
    """Run, print, and tell whether every bar is met."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer long jobs, one seed")
    parser.add_argument("--seeds", type=int, help="runs per scenario (5; with --quick 1)")
    parser.add_argument("--only", type=re.compile, default=re.compile(""), metavar="REGEX")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a bar is missed")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args()
    quick, chosen = options.quick, options.only
    seeds = options.seeds or (1 if quick else 5)
    head = f"{'limit':52} {'client':26} {'time':>14} {'refused':>15} {'failed':>7} {'theirs':>10}"
    outage_head = f"{'outage':52} {'lost':>6} {'requests/waiting':>17} {'back s':>8} {'closed':>7}"
    tables = {
        head: limits(chosen, seeds, quick=quick),
        f"{'moment':52}   figure": seconds(chosen, seeds),
        outage_head: outages(chosen, min(seeds, OUTAGE_SEEDS), quick=quick),
    }
    started, lines = time.monotonic(), list[Line]()
    for title, table in tables.items():
        if not options.json:
            print(title)
        for line in table:
            lines.append(line)
            if not options.json:
                print(line.text, flush=True)
    missed = sum(line.missed for line in lines)
    if options.json:
        print(json.dumps([{"name": x.name, **x.figures, "missed": x.missed} for x in lines]))
    else:
        took = time.monotonic() - started
        print(f"{len(lines) - missed} of {len(lines)} hold; {seeds} seeds, {took:.0f} s")
    return int(options.check and bool(missed))


if __name__ == "__main__":
    sys.exit(main())
