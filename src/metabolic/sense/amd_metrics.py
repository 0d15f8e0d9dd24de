"""AMD's ``gpu_metrics``: one binary table per poll, whose layout depends on its version.

Only versions whose layout and units are public are read, and only tables as long as their version
is; all others are refused. Fields that the firmware does not fill are all ones, and unknown. The
tables of APUs before 2.4 leave the unit of power and temperature to the firmware (watts on some,
milliwatts on others), so only their throttling is read. The energy accumulator counts 2**-16 J
from 1.4 on; before, its unit is not told.
Source: the Linux kernel, ``drivers/gpu/drm/amd/include/kgd_pp_interface.h`` (layouts and units)
and ``amdgpu_smu.h`` (bits of the independent throttle status); 3.0's hundredths of a degree agree
with hwmon's on a recorded Strix Point.
"""

__all__ = ["Metrics", "parse", "version_of"]

import struct
from collections.abc import Mapping

from msgspec import Struct

from metabolic.core.units import ratio_from_percent

_HEADER = struct.Struct("<HBB")
_J_PER_COUNT = 2.0**-16
_POWER, _CURRENT, _THERMAL = 0x0000_FFFF, 0xFFFF_0000, 0xFFFF_0000_0000
"""Bits of the independent throttle status: power limits, current limits, heat (PROCHOT too)."""

_MAX_C = 150.0
_MAX_W = 5_000.0
_MAX_PERCENT = 100.0


class Metrics(Struct, frozen=True, kw_only=True):
    """What a table says; ``None`` where it does not.

    ``held_by`` names what holds the clocks now (``()``: nothing). ``thermal_count`` and
    ``power_count`` grow while heat or the power limit do, on versions that count instead.
    """

    version: tuple[int, int]
    temperatures_c: Mapping[str, float] = {}
    activity_ratio: float | None = None
    power_w: float | None = None
    energy_j: float | None = None
    held_by: tuple[str, ...] | None = None
    thermal_count: int | None = None
    power_count: int | None = None


class _Field(Struct, frozen=True):
    """Where a figure stands, and what one of it is."""

    offset: int
    code: str = "H"
    unit: float = 1.0


class _Layout(Struct, frozen=True, kw_only=True):
    """One version's table."""

    size: int
    temperatures: Mapping[str, _Field] = {}
    activity: _Field | None = None
    power: _Field | None = None
    energy: _Field | None = None
    status: int | None = None
    thermal_counts: tuple[int, ...] = ()
    power_counts: tuple[int, ...] = ()


def _card(size: int, *, first: int, status: int | None = None) -> _Layout:
    """Return a layout of 1.0 to 1.3; ``first`` is where its temperatures begin."""
    names = "edge", "junction", "mem"
    return _Layout(
        size=size,
        temperatures={name: _Field(first + 2 * i) for i, name in enumerate(names)},
        activity=_Field(first + 12),
        power=_Field(first + 18),
        status=status,
    )


def _accelerator(size: int, *, energy: int, counts: int | None = None) -> _Layout:
    """Return a layout of 1.4 to 1.8; ``counts`` is where the throttling counters begin."""
    return _Layout(
        size=size,
        temperatures={"junction": _Field(4), "mem": _Field(6)},
        activity=_Field(12),
        power=_Field(10),
        energy=_Field(energy, "Q", _J_PER_COUNT),
        thermal_counts=() if counts is None else (counts, *range(counts + 8, counts + 20, 4)),
        power_counts=() if counts is None else (counts + 4,),
    )


_MILLI, _CENTI = 0.001, 0.01
_LAYOUTS: Mapping[tuple[int, int], _Layout] = {
    (1, 0): _card(80, first=16),
    (1, 1): _card(96, first=4),
    (1, 2): _card(104, first=4),
    (1, 3): _card(120, first=4, status=112),
    (1, 4): _accelerator(288, energy=24),
    (1, 5): _accelerator(328, energy=56),
    (1, 6): _accelerator(1664, energy=16, counts=36),
    (1, 7): _accelerator(2208, energy=24, counts=44),
    (1, 8): _accelerator(3360, energy=24, counts=44),
    (2, 0): _Layout(size=120),
    (2, 1): _Layout(size=120),
    (2, 2): _Layout(size=128, status=120),
    (2, 3): _Layout(size=152, status=120),
    (2, 4): _Layout(
        size=168,
        temperatures={"gfx": _Field(4, "H", _CENTI)},
        activity=_Field(28, "H", _CENTI),
        power=_Field(40, "H", _MILLI),
        status=120,
    ),
    (3, 0): _Layout(
        size=264,
        temperatures={"gfx": _Field(4, "H", _CENTI)},
        activity=_Field(42),
        power=_Field(112, "I", _MILLI),
        thermal_counts=(228, 244, 248, 252),
        power_counts=(232, 236, 240),
    ),
}


def version_of(data: bytes) -> tuple[int, int] | None:
    """Return format and content revision; ``None`` for what is no table."""
    if len(data) < _HEADER.size:
        return None
    size, form, content = _HEADER.unpack_from(data)
    return (form, content) if size == len(data) else None


def parse(data: bytes) -> Metrics | None:
    """Return what a table says; ``None`` when it is not one that is known in full."""
    version = version_of(data)
    layout = None if version is None else _LAYOUTS.get(version)
    if version is None or layout is None or layout.size != len(data):
        return None
    temperatures = {
        name: celsius
        for name, field in layout.temperatures.items()
        if (celsius := _value(data, field, most=_MAX_C)) is not None
    }
    percent = _value(data, layout.activity, most=_MAX_PERCENT)
    return Metrics(
        version=version,
        temperatures_c=temperatures,
        activity_ratio=None if percent is None else ratio_from_percent(percent),
        power_w=_value(data, layout.power, most=_MAX_W),
        energy_j=_value(data, layout.energy, most=float("inf")),
        held_by=_held_by(data, layout.status),
        thermal_count=_sum(data, layout.thermal_counts),
        power_count=_sum(data, layout.power_counts),
    )


def _value(data: bytes, field: _Field | None, *, most: float) -> float | None:
    """Return one figure; ``None`` when it is not filled, or more than can be."""
    if field is None:
        return None
    (raw,) = struct.unpack_from("<" + field.code, data, field.offset)
    if raw == (1 << 8 * struct.calcsize(field.code)) - 1:
        return None
    value = raw * field.unit
    return value if value <= most else None


def _held_by(data: bytes, offset: int | None) -> tuple[str, ...] | None:
    """Return what holds the clocks, by the independent throttle status."""
    status = None if offset is None else _value(data, _Field(offset, "Q"), most=float("inf"))
    if status is None:
        return None
    masks = ("thermal", _THERMAL), ("power_cap", _POWER), ("current", _CURRENT)
    return tuple(name for name, mask in masks if int(status) & mask)


def _sum(data: bytes, offsets: tuple[int, ...]) -> int | None:
    """Return the sum of counters; ``None`` if any is not filled."""
    values = [_value(data, _Field(offset, "I"), most=float("inf")) for offset in offsets]
    known = [int(value) for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None
