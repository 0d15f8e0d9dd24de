"""A Jetson through ``tegrastats``, where sysfs does not show its rails, or from what it wrote."""

__all__ = ["Options", "TegrastatsSensor", "create"]

import os

from msgspec import Struct

from metabolic.core.hardware import HardwareState, Reading
from metabolic.core.obstacle import Obstacle
from metabolic.sense.merge import with_device, with_signals
from metabolic.sense.rails import total_of
from metabolic.sense.tegrastats_line import TegraLine, parse
from metabolic.sense.tool import Tool

_SOURCE = "tegrastats"
_COMMANDS = (("tegrastats", "--interval", "400"),)
_CPU = ("tj", "cpu", "mcpu", "bcpu")
"""Thermometers of the processor, best first: ``tj`` is the hottest spot of the chip."""


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often to run it, and for how long; it writes a line every 0.4 s.

    ``file`` holds lines it wrote; the last one is read. Below another ``root`` nothing is run.
    """

    root: str = "/"
    file: str | None = None
    period_s: float = 2.0
    deadline_s: float = 0.7


class TegrastatsSensor:
    """Reads heat, power and load of a Jetson, unless another sensor has read its power."""

    name = "tegrastats"

    def __init__(self, options: Options) -> None:
        """Run nothing; the first read does."""
        self._tool = Tool(
            _last,
            name="tegrastats",
            commands=_COMMANDS,
            file=options.file,
            period_s=options.period_s,
            deadline_s=options.deadline_s,
            endless=True,
        )
        here = os.path.normpath(options.root) == "/"
        self._runs = options.file is not None or (here and self._tool.installed())

    def read(self, state: HardwareState) -> HardwareState:
        """Return the state with what the last line says."""
        has = any(d.name in {"board", "soc"} and d.power_w is not None for d in state.devices)
        fetched = self._tool.latest() if self._runs and not has else None
        if fetched is None:
            return state
        line, age_s = fetched.value, fetched.age_s
        total = total_of(line.rails_w)
        if total is not None:
            power = Reading(
                value=total.watts,
                origin="measured" if total.of == "board" else "derived",
                source=f"{_SOURCE} {total.source}",
                age_s=age_s,
            )
            state = with_device(state, total.of, kind="board", power_w=power)
        state = _with_memory(state, line, age_s)
        heat = next((line.temperatures_c[n] for n in _CPU if n in line.temperatures_c), None)
        state = with_device(state, "cpu", kind="cpu", temperature_c=_reading(heat, age_s))
        return with_device(
            state,
            "tegra0",
            kind="gpu",
            temperature_c=_reading(line.temperatures_c.get("gpu"), age_s),
            utilization_ratio=_reading(line.gpu_ratio, age_s),
            integrated=True,
        )

    def obstacles(self) -> tuple[Obstacle, ...]:
        """Return why there is nothing."""
        if not self._runs:
            return (Obstacle(kind="absent", what="no tegrastats: this is no Jetson"),)
        problem = self._tool.problem()
        return () if problem is None else (problem,)

    def close(self) -> None:
        """Run it no more."""
        self._tool.close()


def _with_memory(state: HardwareState, line: TegraLine, age_s: float) -> HardwareState:
    """Return the state with the memory that processor and GPU share."""
    used, total = line.memory_used_bytes, line.memory_total_bytes
    if used is None or total is None:
        return state
    free = Reading(value=total - used, origin="derived", source=_SOURCE, age_s=age_s)
    whole = _reading(total, age_s)
    return with_signals(state, memory_total_bytes=whole, memory_available_bytes=free)


def _last(text: str) -> TegraLine | None:
    """Return the last whole line that says something."""
    for line in reversed(text.splitlines()):
        found = parse(line)
        if found.rails_w or found.temperatures_c:
            return found
    return None


def _reading(value: float | None, age_s: float) -> Reading | None:
    """Return a figure that was read."""
    if value is None:
        return None
    return Reading(value=value, origin="measured", source=_SOURCE, age_s=age_s)


def create(options: Options) -> TegrastatsSensor:
    """Return the sensor."""
    return TegrastatsSensor(options)
