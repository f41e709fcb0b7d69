"""What ``import chatloom_async`` costs beside ``import aiohttp`` alone.

::

    python -m benchmarks.imports [--rounds 11] [--json]

Fresh processes, taking turns; CPU seconds (user and system) of the whole process, the median. The
first round only fills the bytecode cache and is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys

STATEMENTS = ("import aiohttp", "import chatloom_async")


def _cpu(statement: str) -> float:
    """Return the CPU seconds of a process that does only this."""
    environment = {name: value for name, value in os.environ.items() if "BYTECODE" not in name}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", statement], check=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(rounds: int) -> dict[str, float]:
    """Return the median CPU milliseconds of each statement."""
    turns = [[_cpu(statement) for statement in STATEMENTS] for _ in range(rounds + 1)][1:]
    medians = (statistics.median(times) * 1000 for times in zip(*turns, strict=True))
    return dict(zip(STATEMENTS, medians, strict=True))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.imports", description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    measured = measure(options.rounds)
    ratio = measured[STATEMENTS[1]] / measured[STATEMENTS[0]]
    if options.json:
        print(json.dumps({**measured, "ratio": ratio}))
        return
    for statement, milliseconds in measured.items():
        print(f"{statement:22} {milliseconds:7.1f} ms")
    print(f"{'ratio':22} {ratio:7.2f}")


if __name__ == "__main__":
    main()
