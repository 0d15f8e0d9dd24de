"""What powermetrics and macmon say of a Mac, as samples in SI.

powermetrics writes property lists separated by NUL bytes, or text; macmon a JSON object a line.
Traps: the plist's ``gpu.freq_hz`` is in MHz (and not read here), its ``*_energy`` in millijoules,
and it has two of the GPU, over different intervals: the one beside ``gpu_power`` belongs to it;
macmon says 0 for a temperature or a power it could not read, and a processor that runs this code
draws more than nothing.
Source: powermetrics(1); recordings of macOS 12 to 26; macmon's readme and source, 0.8.
"""

__all__ = ["AppleSample", "from_macmon", "from_plists", "from_text", "level_of"]

import plistlib
import re
from collections.abc import Mapping
from typing import Any, cast
from xml.parsers.expat import ExpatError

import msgspec
from msgspec import Struct

from metabolic.core.errors import SensorError
from metabolic.core.hardware import ThermalLevel
from metabolic.core.units import j_from_millijoules, ratio_from_percent, w_from_milliwatts

_LEVELS: tuple[ThermalLevel, ...] = ("nominal", "moderate", "heavy", "trapping", "sleeping")
_HEAD = re.compile(
    r"^\*\*\* Sampled system activity .*?\((\d+(?:\.\d+)?)ms elapsed\)", re.MULTILINE
)
_POWER = re.compile(
    r"^(CPU|GPU|ANE|Package|Combined) Power(?: \([^)]*\))?: (\d+(?:\.\d+)?) mW", re.MULTILINE
)
_CPU_ACTIVE = re.compile(r"^CPU \d+ active residency: +(\d*\.?\d+)%", re.MULTILINE)
_GPU_IDLE = re.compile(r"^GPU idle residency: +(\d*\.?\d+)%", re.MULTILINE)
_INTEL_W = re.compile(
    r"^Intel energy model derived package power.*: (\d+(?:\.\d+)?)W", re.MULTILINE
)
_DIE_C = re.compile(r"^(CPU|GPU) die temperature: (\d+(?:\.\d+)?) C", re.MULTILINE)
_PRESSURE = re.compile(r"^Current pressure level: (\w+)", re.MULTILINE)
_READS_C = (0.0, 150.0)


class AppleSample(Struct, frozen=True, kw_only=True):
    """One sample; ``None`` is what it does not say. Power is the mean over ``seconds``.

    ``soc_w`` is processor, GPU and neural engine together, ``system_w`` the whole machine.
    """

    seconds: float | None = None
    cpu_w: float | None = None
    cpu_j: float | None = None
    gpu_w: float | None = None
    gpu_j: float | None = None
    soc_w: float | None = None
    system_w: float | None = None
    cpu_ratio: float | None = None
    gpu_ratio: float | None = None
    cpu_c: float | None = None
    gpu_c: float | None = None
    memory_used_bytes: float | None = None
    memory_total_bytes: float | None = None
    level: ThermalLevel | None = None


def level_of(word: object) -> ThermalLevel | None:
    """Return a thermal pressure level by its name in any case, or by its number from 0."""
    if isinstance(word, int):
        return _LEVELS[word] if 0 <= word < len(_LEVELS) else None
    return next((level for level in _LEVELS if level == str(word).lower()), None)


def from_plists(data: bytes) -> tuple[AppleSample, ...]:
    """Return the samples of a stream of property lists.

    Raises:
        SensorError: one of them is none.
    """
    parts = [part for part in data.split(b"\0") if part.strip()]
    return tuple(_from_plist(part.strip()) for part in parts)


def _from_plist(data: bytes) -> AppleSample:
    """Return one sample."""
    try:
        root = cast("object", plistlib.loads(data))
    except (plistlib.InvalidFileException, ExpatError, ValueError, TypeError) as exc:
        message = "powermetrics wrote something that is no property list"
        raise SensorError(message) from exc
    if not isinstance(root, dict):
        message = "powermetrics wrote a property list without keys"
        raise SensorError(message)
    top = cast("dict[str, Any]", root)
    cpu, gpu = _table(top, "processor"), _table(top, "gpu")
    elapsed_ns = _number(top, "elapsed_ns")
    energy = _number(cpu, "gpu_energy") if "gpu_energy" in cpu else _number(gpu, "gpu_energy")
    return AppleSample(
        seconds=elapsed_ns / 1e9 if elapsed_ns else None,
        cpu_w=_watts(cpu, "cpu_power"),
        cpu_j=_joules(_number(cpu, "cpu_energy")),
        gpu_w=_watts(cpu, "gpu_power"),
        gpu_j=_joules(energy),
        soc_w=_watts(cpu, "combined_power") or _positive(cpu, "package_watts"),
        cpu_ratio=_busy(cpu),
        gpu_ratio=_share(gpu.get("idle_ratio"), idle=True),
        level=level_of(top.get("thermal_pressure")),
    )


def from_text(text: str) -> tuple[AppleSample, ...]:
    """Return the samples of powermetrics' text."""
    heads = list(_HEAD.finditer(text))
    ends = [head.start() for head in heads[1:]] + [len(text)] * bool(heads)
    return tuple(
        _from_section(text[head.end() : end], seconds=float(head[1]) / 1e3)
        for head, end in zip(heads, ends, strict=True)
    )


def _from_section(text: str, *, seconds: float) -> AppleSample:
    """Return one sample; the processor's utilisation is the mean over its cores."""
    watts = {name: w_from_milliwatts(float(value)) for name, value in _POWER.findall(text)}
    active = [float(value) for value in _CPU_ACTIVE.findall(text)]
    heat = {name: float(value) for name, value in _DIE_C.findall(text)}
    idle, intel = _GPU_IDLE.search(text), _INTEL_W.search(text)
    level = _PRESSURE.search(text)
    return AppleSample(
        seconds=seconds or None,
        cpu_w=watts.get("CPU") or None,
        gpu_w=watts.get("GPU"),
        soc_w=watts.get("Combined") or watts.get("Package") or (float(intel[1]) if intel else None),
        cpu_ratio=_share(ratio_from_percent(sum(active) / len(active))) if active else None,
        gpu_ratio=_share(ratio_from_percent(float(idle[1])), idle=True) if idle else None,
        cpu_c=_celsius(heat, "CPU"),
        gpu_c=_celsius(heat, "GPU"),
        level=level_of(level[1]) if level else None,
    )


def from_macmon(line: bytes) -> AppleSample:
    """Return the sample of one line of ``macmon pipe``, or of ``/json`` of ``macmon serve``.

    Raises:
        SensorError: it is no JSON object.
    """
    try:
        root = msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError) as exc:
        message = "macmon wrote something that is no JSON object"
        raise SensorError(message) from exc
    heat, memory = _table(root, "temp"), _table(root, "memory")
    return AppleSample(
        cpu_w=_positive(root, "cpu_power"),
        gpu_w=_number(root, "gpu_power"),
        soc_w=_positive(root, "all_power"),
        system_w=_positive(root, "sys_power"),
        cpu_ratio=_share(root.get("cpu_usage_pct")),
        gpu_ratio=_share(_second(root.get("gpu_usage"))),
        cpu_c=_celsius(heat, "cpu_temp_avg"),
        gpu_c=_celsius(heat, "gpu_temp_avg"),
        memory_used_bytes=_positive(memory, "ram_usage"),
        memory_total_bytes=_positive(memory, "ram_total"),
    )


def _table(value: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return a nested table, empty where there is none."""
    found: object = value.get(key)
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _number(table: Mapping[str, Any], key: str) -> float | None:
    """Return a number that is not negative; ``None`` for anything else."""
    value: object = table.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not value >= 0:
        return None
    return float(value)


def _positive(table: Mapping[str, Any], key: str) -> float | None:
    """Return a number above zero."""
    return _number(table, key) or None


def _watts(table: Mapping[str, Any], key: str) -> float | None:
    """Return a plist's power; a processor's nothing is no reading."""
    value = _number(table, key)
    if value is None or (value == 0 and key != "gpu_power"):
        return None
    return w_from_milliwatts(value)


def _joules(millijoules: float | None) -> float | None:
    """Return a plist's energy."""
    return None if millijoules is None else j_from_millijoules(millijoules)


def _celsius(table: Mapping[str, Any], key: str) -> float | None:
    """Return a temperature; 0 stands for one that could not be read."""
    value = _number(table, key)
    return value if value is not None and _READS_C[0] < value < _READS_C[1] else None


def _share(value: object, *, idle: bool = False) -> float | None:
    """Return a share of time, or what is left of it beside ``idle``; rounding is forgiven."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1.001:  # noqa: PLR2004
        return None
    share = min(1.0, float(value))
    return 1.0 - share if idle else share


def _second(value: object) -> object:
    """Return the second of a pair: macmon's are frequency and share."""
    pair = cast("list[object]", value) if isinstance(value, list) else []
    return pair[1] if len(pair) > 1 else None


def _busy(cpu: Mapping[str, Any]) -> float | None:
    """Return the mean share of time the cores were neither idle nor switched off."""
    shares: list[float] = []
    for cluster in _entries(cpu, "clusters"):
        for core in _entries(cluster, "cpus"):
            idle, down = _number(core, "idle_ratio"), _number(core, "down_ratio") or 0.0
            if idle is not None:
                shares.append(max(0.0, 1.0 - idle - down))
    return sum(shares) / len(shares) if shares else None


def _entries(table: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """Return the tables of a list."""
    found: object = table.get(key)
    return [
        cast("dict[str, Any]", one)
        for one in (cast("list[object]", found) if isinstance(found, list) else [])
        if isinstance(one, dict)
    ]
