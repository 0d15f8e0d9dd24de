"""What the device is asked to do: power over time, drawn per seed, or as recorded."""

__all__ = ["SCENARIOS", "Load", "made", "recorded"]

from bisect import bisect
from collections.abc import Callable, Sequence
from math import pi, sin
from pathlib import Path
from random import Random
from typing import Any, cast

Load = Callable[[float], float]
"""The power asked for at a time, as a multiple of what the device bears for ever (1: its limit)."""

_HOLD_S = 20.0
_LONGEST_S = 4000.0
_PEAK_S, _LONG_S = 5.0, 150.0


def _steps(random: Random) -> Load:
    """Return long steps between idle and too much."""
    levels = [random.choice((0.1, 0.5, 0.8, 1.15, 1.3)) for _ in range(200)]
    hold_s = random.uniform(60.0, 240.0)
    return lambda at_s: levels[int(at_s / hold_s) % len(levels)]


def _bursts(random: Random) -> Load:
    """Return answers that come and go: seconds of full power, seconds of idling."""
    times: list[tuple[float, float]] = []
    at_s = 0.0
    while at_s < _LONGEST_S:
        busy = random.uniform(0.2, 0.95) if len(times) % 40 == 0 or not times else times[-1][1]
        at_s += random.expovariate(1 / 6.0)
        times.append((at_s, busy))
    marks = [one[0] for one in times]

    def load(at: float) -> float:
        index = bisect(marks, at)
        busy = times[min(index, len(times) - 1)][1]
        return 1.5 if (index * 0.6180339887) % 1.0 < busy else 0.1

    return load


def _ramp(random: Random) -> Load:
    """Return traffic that swells and ebbs over many minutes."""
    period_s, top = random.uniform(600.0, 1500.0), random.uniform(0.95, 1.35)
    return lambda at_s: 0.15 + (top - 0.15) * (0.5 - 0.5 * sin(2 * pi * at_s / period_s + pi / 2))


def _edge(random: Random) -> Load:
    """Return a steady load just below what the device bears: the alarm must keep still."""
    base = random.uniform(0.86, 0.96)
    return lambda at_s: base + 0.03 * sin(at_s / 17.0) if at_s > _HOLD_S else 0.2


def _spikes(random: Random) -> Load:
    """Return a middling load with peaks too short to matter, and a few that do."""
    long_at = [random.uniform(200.0, 1700.0) for _ in range(4)]
    phase = random.uniform(0.0, 60.0)

    def load(at_s: float) -> float:
        if any(0 <= at_s - start < _LONG_S for start in long_at):
            return 1.3
        return 1.5 if (at_s + phase) % 60.0 < _PEAK_S else 0.55

    return load


SCENARIOS: dict[str, Callable[[Random], Load]] = {
    "steps": _steps,
    "bursts": _bursts,
    "ramp": _ramp,
    "edge": _edge,
    "spikes": _spikes,
}
"""Name and how to draw one."""


def made(scenario: str, random: Random) -> Load:
    """Return a load of a scenario."""
    return SCENARIOS[scenario](random)


def recorded(data: Path, *, most: int) -> list[tuple[str, Load]]:
    """Return recorded power series (10 Hz and 1 Hz) as loads; none where there are no tables.

    A series is scaled so that the mean of its upper half is a little more than the device bears.
    """
    found: list[tuple[str, Load]] = []
    for pattern, group, watts in (
        ("*gpu_power*.parquet", "run", "watts"),
        ("*power_1hz*.parquet", ("benchmark", "scenario"), "system_watts"),
    ):
        for path in sorted(data.rglob(pattern)):
            found += _series(path, group, watts)[:most]
    return found


def _series(path: Path, group: str | tuple[str, ...], watts: str) -> list[tuple[str, Load]]:
    """Return the longest series of a table."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - only with recordings

    names = (group,) if isinstance(group, str) else group
    columns = [*names, "t_s", watts]
    rows = cast("list[dict[str, Any]]", pq.read_table(path, columns=columns).to_pylist())
    series: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row["t_s"] is not None and row[watts] is not None:
            key = "/".join(str(row[name]) for name in names)
            series.setdefault(key, []).append((row["t_s"], row[watts]))
    longest = sorted(series.items(), key=lambda item: (-len(item[1]), item[0]))
    return [(key, _replayed(sorted(points))) for key, points in longest]


def _replayed(points: Sequence[tuple[float, float]]) -> Load:
    """Return a series as a load, over again when it ends."""
    first_s, watts = points[0][0], sorted(power for _, power in points)
    upper = watts[len(watts) // 2 :]
    scale = 1.15 / max(1e-9, sum(upper) / len(upper))
    length_s = int(points[-1][0] - first_s) + 1
    grid = [0.0] * length_s
    for at_s, power in points:
        grid[int(at_s - first_s)] = power * scale
    for index in range(1, length_s):
        grid[index] = grid[index] or grid[index - 1]
    return lambda at_s: grid[int(at_s) % length_s]
