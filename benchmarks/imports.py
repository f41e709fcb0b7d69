"""What ``import chatloom_async`` and ``chatloom-async --help`` cost beside ``import aiohttp``.

::

    python -m benchmarks.imports [--rounds 11]

Fresh processes, taking turns; CPU seconds (user and system) of the whole process, the median. The
first round only fills the bytecode cache and is not counted.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

START = Path(__file__).parents[1] / "chatloom_async" / "cli" / "start.py"
HELP = f"import runpy, sys; sys.argv[1:] = ['--help']; runpy.run_path({str(START)!r})['main']()"
STATEMENTS = {
    "import aiohttp": "import aiohttp",
    "import chatloom_async": "import chatloom_async",
    "chatloom-async --help": HELP,
}


def _cpu(statement: str) -> float:
    """Return the CPU seconds of a process that does only this."""
    environment = {name: value for name, value in os.environ.items() if "BYTECODE" not in name}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", statement]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(rounds: int) -> dict[str, float]:
    """Return the median CPU milliseconds of each statement."""
    turns = [[_cpu(each) for each in STATEMENTS.values()] for _ in range(rounds + 1)][1:]
    medians = (statistics.median(times) * 1000 for times in zip(*turns, strict=True))
    return dict(zip(STATEMENTS, medians, strict=True))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.imports", description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    options = parser.parse_args()
    measured = measure(options.rounds)
    for name, milliseconds in measured.items():
        ratio = milliseconds / measured["import aiohttp"]
        print(f"{name:22} {milliseconds:7.1f} ms  {ratio:.2f}")


if __name__ == "__main__":
    main()
