"""What ``rocm-smi --json`` and ``amd-smi ... --json`` say of each GPU.

rocm-smi's keys name their unit (``Average Graphics Package Power (W)``; newer accelerators say
``Current Socket``); its values are strings, and ``N/A`` or ``N/A (Secondary die)`` is unknown.
amd-smi's are ``{"value": 43, "unit": "W"}``, on some versions bare; the unit that stands there
counts. Its static table tells where the GPU slows down. Warnings may stand before the JSON.
Source: recorded output of rocm-smi 4.3 to 6.1; amd-smi's static table of an MI210. The metric
table of amd-smi is known from its documentation and from what others read, not from a recording.
"""

__all__ = ["AmdGpu", "parse"]

import re
from collections.abc import Iterable, Mapping
from typing import cast

import msgspec
from msgspec import Struct

from metabolic.core.units import ratio_from_percent

_POWER = re.compile(r"(?:Average|Current)\b.*Package Power \(W\)")
_CARD = re.compile(r"card(\d{1,3})")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_UNITS = {
    "": 1.0,
    "W": 1.0,
    "mW": 1e-3,
    "uW": 1e-6,
    "C": 1.0,
    "%": 1.0,
    "J": 1.0,
    "mJ": 1e-3,
    "uJ": 1e-6,
    "B": 1.0,
    "KB": 1024.0,
    "MB": 1024.0**2,
    "GB": 1024.0**3,
}
_MAX_C, _MAX_W, _MAX_LIMIT_C = 150.0, 5_000.0, (40.0, 130.0)
_MIB = 1024.0**2
_SPOTS = (
    ("edge", "slowdown_edge_temperature"),
    ("hotspot", "slowdown_hotspot_temperature"),
    ("mem", "slowdown_vram_temperature"),
)


class AmdGpu(Struct, frozen=True, kw_only=True):
    """One GPU; degrees and limits by spot (``edge``, ``hotspot``, ``mem``)."""

    index: int
    temperatures_c: Mapping[str, float] = {}
    limits_c: Mapping[str, float] = {}
    power_w: float | None = None
    power_limit_w: float | None = None
    busy_ratio: float | None = None
    used_bytes: float | None = None
    total_bytes: float | None = None


def parse(text: str) -> tuple[AmdGpu, ...] | None:
    """Return every GPU of a text; ``None`` when it is of neither tool."""
    starts = [at for at in (text.find("{"), text.find("[")) if at >= 0]
    if not starts:
        return None
    try:
        found: object = msgspec.json.decode(text[min(starts) :].rstrip("\0 \r\n\t"))
    except (msgspec.DecodeError, RecursionError):
        return None
    table = _table(found)
    if "gpu_data" in table:
        found = table["gpu_data"]
    if isinstance(found, list):
        tables = [_table(one) for one in cast("list[object]", found)]
        return tuple(_amd_smi(one, i) for i, one in enumerate(tables) if one) or None
    cards = [(match, _table(v)) for key, v in table.items() if (match := _CARD.fullmatch(key))]
    return tuple(_rocm_smi(card, int(match[1])) for match, card in cards) or None


def _rocm_smi(card: Mapping[str, object], index: int) -> AmdGpu:
    """Return one card of rocm-smi."""
    spots = ("edge", "edge"), ("hotspot", "junction"), ("mem", "memory")
    power = next((value for key, value in card.items() if _POWER.fullmatch(key)), None)
    return AmdGpu(
        index=index,
        temperatures_c=_known(
            (spot, _within(_number(card.get(f"Temperature (Sensor {name}) (C)")), _MAX_C))
            for spot, name in spots
        ),
        power_w=_within(_number(power), _MAX_W),
        power_limit_w=_limit_w(_number(card.get("Max Graphics Package Power (W)"))),
        busy_ratio=_ratio(_number(card.get("GPU use (%)"))),
        used_bytes=_within(_number(card.get("VRAM Total Used Memory (B)")), float("inf")),
        total_bytes=_within(_number(card.get("VRAM Total Memory (B)")), float("inf")),
    )


def _amd_smi(gpu: Mapping[str, object], place: int) -> AmdGpu:
    """Return one GPU of amd-smi's metric or static table."""
    heat, power, use, memory, limit = (
        _table(gpu.get(key)) for key in ("temperature", "power", "usage", "mem_usage", "limit")
    )
    number = gpu.get("gpu")
    watts = _number(power.get("socket_power"))
    if watts is None:
        watts = _number(power.get("average_socket_power"))
    newer = _table(limit.get("ppt0"))
    cap = limit.get("socket_power", newer.get("socket_power_limit"))
    size = memory.get("total_vram", _table(gpu.get("vram")).get("size"))
    return AmdGpu(
        index=number if isinstance(number, int) and number >= 0 else place,
        temperatures_c=_known((s, _within(_number(heat.get(s)), _MAX_C)) for s, _ in _SPOTS),
        limits_c=_known((s, _limit_c(_number(limit.get(key)))) for s, key in _SPOTS),
        power_w=_within(watts, _MAX_W),
        power_limit_w=_limit_w(_number(cap)),
        busy_ratio=_ratio(_number(use.get("gfx_activity"))),
        used_bytes=_within(_number(memory.get("used_vram"), bare=_MIB), float("inf")),
        total_bytes=_within(_number(size, bare=_MIB), float("inf")),
    )


def _table(value: object) -> Mapping[str, object]:
    """Return a JSON object; anything else is an empty one."""
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else {}


def _number(value: object, *, bare: float = 1.0) -> float | None:
    """Return a figure in its base unit; ``bare`` is the unit of one that has none."""
    unit = bare
    if isinstance(value, dict):
        table = _table(cast("object", value))
        told = table.get("unit", "")
        known = _UNITS.get(told) if isinstance(told, str) else None
        if known is None:
            return None
        value, unit = table.get("value"), known
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) * unit


def _known(pairs: Iterable[tuple[str, float | None]]) -> dict[str, float]:
    """Return those pairs that are known."""
    return {name: value for name, value in pairs if value is not None}


def _within(value: float | None, most: float) -> float | None:
    """Return a figure from 0 to ``most``."""
    return value if value is not None and 0 <= value <= most else None


def _limit_w(value: float | None) -> float | None:
    """Return a power limit; 0 is none."""
    return _within(value, _MAX_W) or None


def _limit_c(value: float | None) -> float | None:
    """Return a temperature at which a GPU may slow down."""
    return value if value is not None and _MAX_LIMIT_C[0] <= value <= _MAX_LIMIT_C[1] else None


def _ratio(percent: float | None) -> float | None:
    """Return a share."""
    known = _within(percent, 100.0)
    return None if known is None else ratio_from_percent(known)
