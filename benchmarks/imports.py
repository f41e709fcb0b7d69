"""What ``import chatloom_async`` and ``chatloom-async --help`` cost beside ``import aiohttp``.

::

    python -m benchmarks.imports

The instructions of a whole process, under valgrind (cachegrind).
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.processes import instructions

START = Path(__file__).parents[1] / "chatloom_async" / "cli" / "start.py"
HELP = f"import runpy, sys; sys.argv[1:] = ['--help']; runpy.run_path({str(START)!r})['main']()"
STATEMENTS = {
    "import aiohttp": "import aiohttp",
    "import chatloom_async": "import chatloom_async",
    "chatloom-async --help": HELP,
}


def main() -> None:
    """Count and print."""
    counts = dict[str, int]()
    for name, statement in STATEMENTS.items():
        counts[name] = instructions(statement)
        ratio = counts[name] / counts["import aiohttp"]
        print(f"{name:22} {counts[name]:13,} instructions  {ratio:.3f}")


if __name__ == "__main__":
    main()
