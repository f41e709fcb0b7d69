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

from attrs import asdict, frozen

from benchmarks.simulated_jobs import Outcome, counted_closures, mean, run
from benchmarks.simulated_limits import Row, rows
from benchmarks.simulated_moments import Moment, moments
from benchmarks.simulated_outages import OUTAGES, Outage, Survival, survive

PEER_SEEDS, OUTAGE_SEEDS = 2, 2  # what is not ours, or long, is run less often


@frozen
class Line:
    """One result as it is printed, for people and for machines."""

    name: str
    text: str
    figures: dict[str, object]
    missed: bool


def limits(chosen: re.Pattern[str], seeds: int, *, quick: bool) -> Iterator[Line]:
    """Run every job whose title matches."""
    for row in rows(quick=quick):
        if chosen.search(row.title):
            times = seeds if row.client == "chatloom_async" else min(seeds, PEER_SEEDS)
            with counted_closures():
                outcome = mean(
                    run(job, row.client, seed) for job in row.jobs for seed in range(times)
                )
            yield _limit_line(row, outcome)


def _limit_line(row: Row, outcome: Outcome) -> Line:
    bar, figures = row.bar, asdict(outcome)
    rude = outcome.refused > max(bar.refused, bar.requests / outcome.sent)
    short = {
        "slow": outcome.time > bar.time,
        "refused": rude,
        "failed": outcome.failed > 0 and not bar.fails,
        "greedy": outcome.theirs > bar.theirs,
    }
    spent = f"{outcome.time:.3f}{_against(bar.time, '.2f')}"
    refused = f"{outcome.refused:.2%}{_against(bar.refused, '.1%')}"
    theirs = f"{outcome.theirs:.0%}{_against(bar.theirs, '.0%')}" if outcome.theirs else ""
    words = " ".join(word for word, missed in short.items() if missed)
    text = (
        f"{row.title:52} {row.client:26} {spent:>14} {refused:>15} {outcome.failed:>7.1%}"
        f" {theirs:>10}  {words}"
    )
    return Line(row.title, text, {"client": row.client, **figures}, missed=any(short.values()))


def seconds(chosen: re.Pattern[str], seeds: int) -> Iterator[Line]:
    """Measure every moment whose title matches; the mean over the seeds."""
    for moment in moments():
        if chosen.search(moment.title):
            with counted_closures():
                yield _moment_line(moment, fmean(moment.measure(seed) for seed in range(seeds)))


def _moment_line(moment: Moment, figure: float) -> Line:
    missed = figure > moment.bar
    text = f"{moment.title:52} {figure:8.2f} / {moment.bar:g} {moment.unit}{' !' if missed else ''}"
    return Line(moment.title, text, {"figure": figure, "unit": moment.unit}, missed=missed)


def outages(chosen: re.Pattern[str], seeds: int, *, quick: bool) -> Iterator[Line]:
    """Run every outage whose name matches; the worst of all seeds."""
    for outage in OUTAGES:
        if chosen.search(outage.name):
            runs = [survive(outage, seed, quick=quick) for seed in range(seeds)]
            yield _outage_line(
                outage,
                Survival(
                    max(run.lost for run in runs),
                    max(run.per_waiting for run in runs),
                    max(run.back for run in runs),
                    max(run.closed for run in runs),
                ),
            )


def _outage_line(outage: Outage, worst: Survival) -> Line:
    missed = (
        worst.lost > 0 or worst.per_waiting > 0.2 or worst.back > 5
        if outage.stops
        else worst.closed > 0 or (outage.poisoned is not None and worst.lost > 0)
    )
    text = (
        f"{outage.name:52} {worst.lost:6} {worst.per_waiting:17.2f} {worst.back:8.1f} "
        f"{worst.closed:7}{' !' if missed else ''}"
    )
    return Line(outage.name, text, asdict(worst), missed=missed)


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
    missed = [line for line in lines if line.missed]
    if options.json:
        figures = [{"name": x.name, **x.figures, "missed": x.missed} for x in lines]
        print(json.dumps(figures, indent=2))
    else:
        held = f"{len(lines) - len(missed)} of {len(lines)} hold"
        print(f"{held}; {seeds} seeds, {time.monotonic() - started:.0f} s")
    return int(options.check and bool(missed))


def _against(bar: float, form: str) -> str:
    """Return how a bar is shown beside its figure, if there is one."""
    return "" if bar == math.inf else f" / {bar:{form}}"


if __name__ == "__main__":
    sys.exit(main())
