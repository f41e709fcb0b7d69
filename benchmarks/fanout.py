"""Concurrent look-ups of allowed domains across many agents, against a bare aiohttp loop.

::

    python -m benchmarks.fanout [--turns 40] [--chart]
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
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from benchmarks.contenders import CONTENDERS
from benchmarks.processes import fresh, instructions, serving

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


class _Answers(asyncio.Protocol):
    """Answers each request with the same bytes."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a TCP server's
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write((HEAD.encode() + ANSWER) * data.count(b"\r\n\r\n"))


@asynccontextmanager
async def server() -> AsyncGenerator[str]:
    """Serve the answer."""
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(_Answers, "127.0.0.1", 0, backlog=16_384)
    async with listener:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"


class _Ready:
    """A contender, ready on a loop of its own; ``direct uvloop`` is ``direct`` on uvloop's."""

    def __init__(self, name: str, base_url: str, in_flight: int) -> None:
        self.name, factory = name, None
        if name.endswith(" uvloop"):
            import uvloop  # noqa: PLC0415 - not on every system

            factory = uvloop.Loop
        self._runner = asyncio.Runner(loop_factory=factory)
        self._context = CONTENDERS[name.partition(" ")[0]](base_url, in_flight)
        self._run = self._runner.run(self._context.__aenter__())

    def look_up(self, lookups: int) -> tuple[float, float]:
        """Return the CPU and the time that so many look-ups take, in seconds."""
        used, started = time.process_time(), time.perf_counter()
        found = self._runner.run(self._run(lookups))
        used, took = time.process_time() - used, time.perf_counter() - started
        if found != 2 * lookups:
            raise RuntimeError(f"{self.name} found {found} domains of {2 * lookups}")
        return used, took

    def close(self) -> None:
        """End what was begun."""
        self._runner.run(self._context.__aexit__(None, None, None))
        self._runner.close()


def look_up(name: str, base_url: str, lookups: int) -> None:
    """Be the process whose instructions are counted."""
    ready = _Ready(name, base_url, 100)
    ready.look_up(lookups)
    ready.close()


def _names(*on_uvloop: str) -> list[str]:
    others = [f"{name} uvloop" for name in on_uvloop] if find_spec("uvloop") else []
    return [*CONTENDERS, *others]


def measure(base_url: str, in_flight: int, turns: int) -> dict[str, tuple[float, float, float]]:
    """Return CPU and time per look-up in microseconds, and the CPU beside ``bare``'s.

    The contenders take turns, every other time in the opposite order.
    """
    lookups = max(LOOKUPS, 2 * in_flight)
    contenders = [_Ready(n, base_url, in_flight) for n in _names("bare", "session", "direct")]
    spent: dict[str, list[tuple[float, float]]] = {each.name: [] for each in contenders}
    for each in contenders:
        each.look_up(max(lookups, WARM * in_flight // 100))
    for turn in range(turns):
        for each in contenders if turn % 2 else reversed(contenders):
            spent[each.name].append(each.look_up(lookups))
    for each in contenders:
        each.close()
    bare = [used for used, _ in spent["bare"]]
    return {
        name: (
            median(used for used, _ in own) / lookups * 1e6,
            median(took for _, took in own) / lookups * 1e6,
            median(used / other for (used, _), other in zip(own, bare, strict=True)),
        )
        for name, own in spent.items()
    }


def count_instructions(base_url: str) -> dict[str, int]:
    """Return the instructions per look-up of each contender, 100 in flight."""
    counts = {}
    for name in _names("direct"):
        short, long = (
            instructions(
                f"from benchmarks.fanout import look_up; look_up({name!r}, {base_url!r}, {lookups})"
            )
            for lookups in (WARM, WARM + COUNTED)
        )
        counts[name] = (long - short) // COUNTED
    return counts


def _chart(what: str, ratios: Mapping[str, float]) -> None:
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
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 520 {height}" width="520" '
        f'font-family="sans-serif" font-size="13" fill="#202124">'
        f'<rect width="520" height="{height}" fill="#ffffff"/>'
        f'<text x="12" y="20" font-weight="bold">{what} per look-up, 100 in flight, beside a '
        f"bare aiohttp loop</text>{''.join(bars)}</svg>\n"
    )
    CHART.write_text(svg, "utf-8")


def _judge(ratios: Mapping[str, float]) -> bool:
    """Tell whether all is as in the baseline, and print what is not."""
    kept: dict[str, int] = json.loads(BASELINE.read_text("utf-8"))["instructions"]
    before = {name: each / kept["bare"] for name, each in kept.items()}
    worse = [name for name in ratios if ratios[name] > TOLERANCE * before.get(name, ratios[name])]
    for name in worse:
        print(f"{name}: {ratios[name]:.3f} × bare, the baseline is {before[name]:.3f}")
    return not worse


def main() -> int:
    """Compare, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fanout", description=__doc__)
    parser.add_argument("--turns", type=int, default=40)
    for name in ("chart", "instructions", "check", "keep"):
        parser.add_argument(f"--{name}", action="store_true")
    options = parser.parse_args()
    with serving(server) as base_url:
        if not options.instructions:
            ratios = _table(base_url, options.turns)
        else:
            counts = count_instructions(base_url)
            ratios = {name: each / counts["bare"] for name, each in counts.items()}
            for name, each in counts.items():
                print(f"{name:14}  {each:9,} instructions  {ratios[name]:.3f} × bare")
            if options.keep:
                python = f"{sys.version_info.major}.{sys.version_info.minor}"
                kept = {"python": python, "in_flight": 100, "instructions": counts}
                BASELINE.write_text(json.dumps(kept, indent=2) + "\n", "utf-8")
    if options.chart:
        _chart("Instructions" if options.instructions else "CPU", ratios)
    return int(options.instructions and options.check and not _judge(ratios))


def _table(base_url: str, turns: int) -> dict[str, float]:
    """Print every measurement, and return the ratios of 100 in flight."""
    print("in flight  contender       CPU µs/look-up  × bare  wall µs/look-up")
    ratios = {}
    for in_flight in IN_FLIGHT:
        for name, (cpu, wall, ratio) in fresh(measure, base_url, in_flight, turns).items():
            print(f"{in_flight:9}  {name:14}  {cpu:14.1f}  {ratio:6.2f}  {wall:15.1f}", flush=True)
            if in_flight == 100:
                ratios[name] = ratio
    return ratios


if __name__ == "__main__":
    sys.exit(main())
