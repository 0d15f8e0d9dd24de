"""One line of NVIDIA's ``tegrastats``, in all its dialects.

Rails are ``NAME now/mean``, with or without ``mW``, with or without a maximum; temperatures
``name@49.8C``, with or without a maximum. -256 C is a sensor that is off, ``NC`` a rail that is
not connected, and the first Jetsons' ``PMIC@100C`` a constant. The GPU's load may lack its percent.
Source: NVIDIA's Jetson Linux developer guide (tegrastats), and recorded lines.
"""

__all__ = ["TegraLine", "parse"]

import re
from collections.abc import Mapping

from msgspec import Struct

from metabolic.core.units import ratio_from_percent, w_from_milliwatts

_RAIL = re.compile(
    r"(?<!\S)([A-Z][A-Z0-9_]*) (\d{1,7})(?:mW)?/\d{1,7}(?:mW)?(?:/\d{1,7}(?:mW)?)?(?!\S)"
)
_HEAT = re.compile(r"(?<!\S)([A-Za-z][\w-]*)@(-?\d{1,4}(?:\.\d+)?)C(?:/-?[\d.]+C)?(?!\S)")
_LOAD = re.compile(r"(?<!\S)GR3D_FREQ (\d{1,3})%")
_MEMORY = re.compile(r"(?<!\S)RAM (\d{1,9})/(\d{1,9})MB")
_READS_C = (-40.0, 150.0)
_FULL = 100
_MIB = 1024 * 1024


class TegraLine(Struct, frozen=True, kw_only=True):
    """What a line says: degrees by thermometer, watts by rail, the GPU's load, memory."""

    temperatures_c: Mapping[str, float] = {}
    rails_w: Mapping[str, float] = {}
    gpu_ratio: float | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None


def parse(line: str) -> TegraLine:
    """Return what a line says; nothing of it is required, and what is odd is left out."""
    load = _LOAD.search(line)
    percent = None if load is None else int(load[1])
    memory = _MEMORY.search(line)
    used, total = (int(memory[1]), int(memory[2])) if memory else (0, 0)
    known = total > 0 and used <= total
    return TegraLine(
        temperatures_c={
            name.lower(): celsius
            for name, word in _HEAT.findall(line)
            if _READS_C[0] < (celsius := float(word)) < _READS_C[1] and name != "PMIC"
        },
        rails_w={
            name: w_from_milliwatts(int(now))
            for name, now in _RAIL.findall(line)
            if name not in {"NC", "RAM", "SWAP", "IRAM"}
        },
        gpu_ratio=None if percent is None or percent > _FULL else ratio_from_percent(percent),
        memory_used_bytes=used * _MIB if known else None,
        memory_total_bytes=total * _MIB if known else None,
    )
