"""Concurrent look-ups of allowed domains across many agents, against a bare aiohttp loop.

::

    python -m benchmarks.fanout [--turns 40] [--json] [--chart]
    python -m benchmarks.fanout --instructions [--check | --keep] [--chart]

The server is a process of its own on a core of its own: a raw protocol that answers the same bytes
to everybody. The contenders (``contenders``) take turns of 200 look-ups, of more where more than
100 are in flight, in one process on the other core, after a warm-up that opens the connections, for
processors change their pace within seconds; those on uvloop have a loop of their own in that
process. CPU is the process's own accounting (user and system) in the median turn, the ratio the
median over turns of the CPU beside that of ``bare`` on asyncio. ``--chart`` draws the ratios of 100
in flight into ``fanout.svg``.

``--instructions`` counts them instead, under valgrind (cachegrind), as the difference between a
long and a short run: that repeats within 1 %. ``--check`` compares with ``fanout.json`` and ends
with 1 if a contender of this package needs 3 % more beside ``bare``; ``--keep`` writes that file.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

from attrs import asdict, frozen

from benchmarks.contenders import CONTENDERS, Run
from benchmarks.processes import pin, printed_by, serve, serving

SERVER = "benchmarks.fanout", "--serve"
LOOKUPS = 200  # in one turn, and at least twice as many as are in flight
IN_FLIGHT = (1, 10, 100, 256)
# Look-ups before those that are counted, and those. A rate limiter lets 100 be in flight once
# 1,600 answers have shown that there may be no limit.
WARM, COUNTED = 1800, 1200
TOLERANCE = 1.03
HERE = Path(__file__).parent
BASELINE, CHART = HERE / "fanout.json", HERE / "fanout.svg"
ANSWER = b'{"domains":["example.com","support.example.com"]}'
HEAD = (
    "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n"
    f"Content-Length: {len(ANSWER)}\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nServer: raw\r\n\r\n"
)


@frozen
class Measurement:
    """One contender: microseconds of CPU and of time per look-up, and CPU beside ``bare``'s."""

    cpu: float
    wall: float
    ratio: float


class _Contest:
    """Contenders, each ready on its loop; ``direct uvloop`` is ``direct`` on uvloop's."""

    def __init__(self, names: list[str], base_url: str, in_flight: int) -> None:
        self._runners = {name: asyncio.Runner(loop_factory=_factory(name)) for name in names}
        self._stacks = {name: AsyncExitStack() for name in names}
        self._runs: dict[str, Run] = {}
        for name, runner in self._runners.items():
            contender = CONTENDERS[name.partition(" ")[0]](base_url, in_flight)
            self._runs[name] = runner.run(self._stacks[name].enter_async_context(contender))

    def look_up(self, name: str, lookups: int) -> tuple[float, float]:
        """Return the CPU and the time that so many look-ups take, in seconds."""
        used, started = time.process_time(), time.perf_counter()
        found = self._runners[name].run(_all_of(self._runs[name], lookups))
        used, started = time.process_time() - used, time.perf_counter() - started
        if found != 2 * lookups:
            raise RuntimeError(f"{name} found {found} domains of {2 * lookups}")
        return used, started

    def close(self) -> None:
        """End what was begun."""
        for name, runner in self._runners.items():
            runner.run(self._stacks[name].aclose())
            runner.close()


async def _all_of(run: Run, lookups: int) -> int:
    return await run(lookups)


def _factory(name: str) -> type[asyncio.AbstractEventLoop] | None:
    if not name.endswith(" uvloop"):
        return None
    import uvloop  # noqa: PLC0415 - not on every system

    return uvloop.Loop


def _names() -> list[str]:
    try:
        _factory("direct uvloop")
    except ImportError:
        return list(CONTENDERS)
    return [*CONTENDERS, "bare uvloop", "session uvloop", "direct uvloop"]


def _measure(base_url: str, in_flight: int, turns: int) -> dict[str, Measurement]:
    """Let contenders take turns, every other time in the opposite order."""
    names, lookups = _names(), max(LOOKUPS, 2 * in_flight)
    contest = _Contest(names, base_url, in_flight)
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for name in names:
        contest.look_up(name, max(lookups, WARM * in_flight // 100))
    for turn in range(turns):
        for name in names if turn % 2 else reversed(names):
            spent[name].append(contest.look_up(name, lookups))
    contest.close()
    bare = spent["bare"]
    return {
        name: Measurement(
            statistics.median(used for used, _ in turns) / lookups * 1e6,
            statistics.median(took for _, took in turns) / lookups * 1e6,
            statistics.median(
                mine / other for (mine, _), (other, _) in zip(turns, bare, strict=True)
            ),
        )
        for name, turns in spent.items()
    }


def _count_instructions(base_url: str) -> dict[str, int]:
    """Return the instructions per look-up of each contender, 100 in flight."""
    counts = {}
    for name in [name for name in _names() if name not in ("bare uvloop", "session uvloop")]:
        short, long = (_counted(base_url, name, WARM + more) for more in (0, COUNTED))
        counts[name] = (long - short) // COUNTED
    return counts


def _counted(base_url: str, name: str, lookups: int) -> int:
    """Return the instructions of a whole process that makes so many look-ups."""
    with tempfile.NamedTemporaryFile() as counts:
        tool = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--quiet"]
        command = [*tool, f"--cachegrind-out-file={counts.name}", sys.executable]
        command += ["-m", "benchmarks.fanout", "--only", base_url, name, str(lookups)]
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        subprocess.run(command, check=True, env=environment, stderr=subprocess.DEVNULL)
        summary = re.search(r"^summary: (\d+)", Path(counts.name).read_text("utf-8"), re.MULTILINE)
    if summary is None:
        raise RuntimeError("cachegrind wrote no summary")
    return int(summary[1])


def _run_only(base_url: str, name: str, lookups: int) -> None:
    contest = _Contest([name], base_url, 100)
    contest.look_up(name, lookups)
    contest.close()


class _Answers(asyncio.Protocol):
    """Answers each request with the same bytes."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a TCP server's
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write((HEAD.encode() + ANSWER) * data.count(b"\r\n\r\n"))


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Answers, "127.0.0.1", 0, backlog=16_384)
    await serve(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")


def _table(results: dict[int, dict[str, Measurement]]) -> str:
    lines = ["in flight  contender       CPU µs/look-up  × bare  wall µs/look-up"]
    for in_flight, row in results.items():
        for name, each in row.items():
            lines.append(
                f"{in_flight:9}  {name:14}  {each.cpu:14.1f}  {each.ratio:6.2f}  {each.wall:15.1f}"
            )
    return "\n".join(lines)


def _chart(what: str, ratios: dict[str, float]) -> str:
    """Draw what the contenders need beside ``bare`` as bars, the leanest first."""
    bars = []
    scale = 320 / max(ratios.values())
    ordered = sorted(ratios.items(), key=lambda item: item[1])
    for place, (name, ratio) in enumerate(ordered):
        y, ours = 34 + place * 26, "bare" not in name and "naive" not in name
        bars.append(
            f'<text x="132" y="{y + 14}" text-anchor="end">{name}</text>'
            f'<rect x="140" y="{y}" width="{ratio * scale:.0f}" height="20" '
            f'fill="{"#611f69" if ours else "#9aa0a6"}"/>'
            f'<text x="{146 + ratio * scale:.0f}" y="{y + 14}">{ratio:.2f}</text>'
        )
    height = 42 + len(ordered) * 26
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 520 {height}" width="520" '
        f'font-family="sans-serif" font-size="13" fill="#202124">'
        f'<rect width="520" height="{height}" fill="#ffffff"/>'
        f'<text x="12" y="20" font-weight="bold">{what} per look-up, 100 in flight, beside a '
        f"bare aiohttp loop</text>{''.join(bars)}</svg>\n"
    )


def _judge(counts: dict[str, int]) -> int:
    """Compare with the baseline; return the exit code."""
    kept: dict[str, int] = json.loads(BASELINE.read_text("utf-8"))["instructions"]
    worse = [
        name
        for name in counts.keys() & kept.keys()
        if counts[name] / counts["bare"] > TOLERANCE * kept[name] / kept["bare"]
    ]
    for name in worse:
        was, now = kept[name] / kept["bare"], counts[name] / counts["bare"]
        print(f"{name}: {now:.3f} × bare, the baseline is {was:.3f}")
    return int(bool(worse))


def main() -> int:
    """Compare, or be one of the processes of a comparison; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fanout", description=__doc__)
    parser.add_argument("--turns", type=int, default=40)
    for name in ("json", "chart", "instructions", "check", "keep"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--only", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        pin(0)
        asyncio.run(_serve())
    elif options.only:
        base_url, name, lookups = options.only
        _run_only(base_url, name, int(lookups))
    elif options.measure:
        pin(1)
        base_url, in_flight = options.measure
        measured = _measure(base_url, int(in_flight), options.turns)
        print(json.dumps({name: asdict(each) for name, each in measured.items()}))
    elif options.instructions:
        return _report_instructions(check=options.check, keep=options.keep, chart=options.chart)
    else:
        _report(options.turns, as_json=options.json, chart=options.chart)
    return 0


def _report(turns: int, *, as_json: bool, chart: bool) -> None:
    results = {}
    with serving(*SERVER) as base_url:
        for in_flight in IN_FLIGHT:
            command = ["benchmarks.fanout", "--turns", str(turns)]
            printed = printed_by(*command, "--measure", base_url, str(in_flight))
            results[in_flight] = {
                name: Measurement(**each) for name, each in json.loads(printed).items()
            }
    if chart:
        row = {name: each.ratio for name, each in results[100].items()}
        CHART.write_text(_chart("CPU", row), "utf-8")
    plain = {n: {k: asdict(v) for k, v in row.items()} for n, row in results.items()}
    print(json.dumps(plain, indent=2) if as_json else _table(results))


def _report_instructions(*, check: bool, keep: bool, chart: bool) -> int:
    with serving(*SERVER) as base_url:
        counts = _count_instructions(base_url)
    for name, each in counts.items():
        print(f"{name:14}  {each:9,} instructions  {each / counts['bare']:.3f} × bare")
    if chart:
        row = {name: each / counts["bare"] for name, each in counts.items()}
        CHART.write_text(_chart("Instructions", row), "utf-8")
    if keep:
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        kept = {"python": python, "in_flight": 100, "instructions": counts}
        BASELINE.write_text(json.dumps(kept, indent=2) + "\n", "utf-8")
    return _judge(counts) if check else 0


if __name__ == "__main__":
    sys.exit(main())
