"""What recordings of accelerators' tools say: nvidia-smi, DCGM, rocm-smi, amd-smi, tegrastats."""

__all__ = ["amd_smi", "dcgm", "nvidia_smi", "rocm_smi", "tegrastats"]

import json
import re
from collections.abc import Callable
from typing import Any

from metabolic.bench.telemetry_signals import Bump, Expected, counter, flag, quantity

_MIB = 2**20
_NEVER_NOTHING = ("limit_c", "power_limit_w", "memory_total_bytes")
"""A limit or a size of 0 is one that is not told."""

_Found = list[Expected]
_Number = Callable[..., float | None]


def nvidia_smi(text: str) -> _Found:
    """Return every GPU of ``nvidia-smi -q``, as XML or as text."""
    if "<nvidia_smi_log" in text:
        gpus = re.findall(r"<gpu id=.*?</gpu>", text, re.DOTALL)
        facts = [_xml(gpu) for gpu in gpus]
    else:
        parts = re.split(r"^GPU [0-9A-Fa-f]+:[0-9A-Fa-f]+:\S+\s*$", text, flags=re.MULTILINE)
        facts = [_log(part) for part in parts[1:]]
    return [one for index, fact in enumerate(facts) for one in _nvidia(f"nvidia{index}", fact)]


def _xml(gpu: str) -> dict[str, str]:
    """Return one GPU's facts from XML, each as ``section/name``; MIG devices are left out."""
    gpu = re.sub(r"<mig_devices>.*?</mig_devices>", "", gpu, flags=re.DOTALL)
    names = {
        "heat": "temperature",
        "memory": "fb_memory_usage",
        "load": "utilization",
        "mig": "mig_mode",
        "power": "gpu_power_readings",
        "oldpower": "power_readings",
        "module": "module_power_readings",
        "reasons": "clocks_(?:event|throttle)_reasons",
    }
    facts: dict[str, str] = {}
    for short, tag in names.items():
        block = re.search(rf"<{tag}>(.*?)</{tag}>", gpu, re.DOTALL)
        for name, value in re.findall(r"<(\w+)>([^<]*)</", block[1] if block else ""):
            plain = re.sub(r"^clocks_(event|throttle)_reason_", "", name)
            facts.setdefault(f"{short}/{plain}", value.strip())
    return facts


def _log(gpu: str) -> dict[str, str]:
    """Return one GPU's facts from the indented log, under the names of the XML."""
    names = {
        "heat": "Temperature",
        "memory": "FB Memory Usage",
        "load": "Utilization",
        "mig": "MIG Mode",
        "power": "GPU Power Readings",
        "oldpower": "Power Readings",
        "module": "Module Power Readings",
        "reasons": "Clocks (?:Event|Throttle) Reasons",
    }
    same = {
        "gpu_current_temp": "gpu_temp",
        "gpu_t.limit_temp": "gpu_temp_tlimit",
        "gpu_current_t.limit_temp": "gpu_temp_tlimit",
        "gpu_slowdown_t.limit_temp": "gpu_temp_slow_tlimit_threshold",
        "gpu_slowdown_temp": "gpu_temp_slow_threshold",
        "gpu_max_operating_temp": "gpu_temp_max_gpu_threshold",
        "memory_current_temp": "memory_temp",
        "memory_max_operating_temp": "gpu_temp_max_mem_threshold",
        "instantaneous_power_draw": "instant_power_draw",
        "gpu": "gpu_util",
        "current": "current_mig",
    }
    facts: dict[str, str] = {}
    for short, title in names.items():
        block = re.search(rf"^    {title} *\n((?: {{8,}}.*\n?)+)", gpu, re.MULTILINE)
        for line in (block[1] if block else "").splitlines():
            name, colon, value = line.partition(" : ")
            key = re.sub(r"\s+", "_", name.strip().lower())
            if colon:
                facts.setdefault(f"{short}/{same.get(key, key)}", value.strip())
    return facts


def _nvidia(name: str, facts: dict[str, str]) -> _Found:
    """Return one NVIDIA GPU's signals."""
    found: _Found = []

    def number(*keys: str) -> float | None:
        every = (re.match(r"-?\d+(\.\d+)?", facts.get(key, "")) for key in keys)
        return next((float(value[0]) for value in every if value is not None), None)

    def put(field: str, value: float | None, scale: float = 1.0) -> None:
        if value is not None:
            found.append(quantity(f"{name}.{field}", value * scale))

    celsius = number("heat/gpu_temp")
    thresholds = (number(f"heat/gpu_temp_{kind}_threshold") for kind in ("slow", "max_gpu"))
    limit = next((one for one in thresholds if one is not None and 40 <= one <= 130), None)  # noqa: PLR2004
    put("temperature_c", celsius)
    put("limit_c", limit)
    put("headroom_c", _nvidia_room(number, celsius, limit))
    power, cap = _nvidia_power(number)
    put("power_w", power)
    put("power_limit_w", cap or None)
    put("memory_used_bytes", number("memory/used"), _MIB)
    put("memory_total_bytes", number("memory/total") or None, _MIB)
    if facts.get("mig/current_mig") != "Enabled":
        put("utilization_ratio", number("load/gpu_util"), 0.01)
    reasons = {
        key.removeprefix("reasons/"): value
        for key, value in facts.items()
        if key.startswith("reasons/") and value in {"Active", "Not Active"}
    }
    heat = ("hw_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown", "sw_thermal_slowdown")
    known = [reasons[reason] for reason in heat if reason in reasons]
    if known:
        found.append(flag(f"{name}.throttled", "Active" in known))
    return found


def _nvidia_room(number: _Number, celsius: float | None, limit: float | None) -> float | None:
    """Return headroom: the margin less the slowdown's, else the nearer of core and memory."""
    margin = number("heat/gpu_temp_tlimit")
    if margin is not None:
        return margin - (number("heat/gpu_temp_slow_tlimit_threshold") or 0.0)
    memory, highest = number("heat/memory_temp"), number("heat/gpu_temp_max_mem_threshold")
    if memory is None or highest is None:
        return None
    if celsius is None or limit is None:
        return highest - memory
    return min(limit - celsius, highest - memory)


def _nvidia_power(number: _Number) -> tuple[float | None, float | None]:
    """Return power now and the limit in force; a module's where the GPU's own is not told."""
    kinds = ("instant_power_draw", "average_power_draw", "power_draw")
    watts = number(*(f"power/{kind}" for kind in kinds), "oldpower/power_draw")
    if watts is not None:
        limits = "power/current_power_limit", "oldpower/enforced_power_limit"
        return watts, number(*limits, "oldpower/power_limit")
    module = number(*(f"module/{kind}" for kind in kinds))
    if module is not None:
        return module, number("module/current_power_limit")
    return None, number(
        "power/current_power_limit", "oldpower/enforced_power_limit", "oldpower/power_limit"
    )


def dcgm(text: str) -> _Found:
    """Return every GPU of a scrape of DCGM-exporter: as many as there are identities."""
    gpus: dict[str, dict[str, float]] = {}
    for name, labels, raw in re.findall(r"^DCGM_FI_DEV_(\w+)\{(.*)\} (\S+)", text, re.MULTILINE):
        identity = re.search(r'UUID="([^"]+)"', labels) or re.search(r'gpu="(\d+)"', labels)
        if identity is not None:
            gpus.setdefault(identity[1], {}).setdefault(name, float(raw))
    return [one for index, gpu in enumerate(gpus.values()) for one in _dcgm(f"nvidia{index}", gpu)]


def _dcgm(name: str, gpu: dict[str, float]) -> _Found:
    """Return one GPU of DCGM."""
    found: _Found = []
    plain = {
        "GPU_TEMP": ("temperature_c", 1.0),
        "SLOWDOWN_TEMP": ("limit_c", 1.0),
        "POWER_USAGE": ("power_w", 1.0),
        "POWER_MGMT_LIMIT": ("power_limit_w", 1.0),
        "GPU_UTIL": ("utilization_ratio", 0.01),
        "FB_USED": ("memory_used_bytes", _MIB),
    }
    for metric, (field, scale) in plain.items():
        if metric in gpu and (gpu[metric] or "limit" not in field):
            found.append(quantity(f"{name}.{field}", gpu[metric] * scale))
    total = gpu.get("FB_TOTAL")
    if total is None and {"FB_USED", "FB_FREE"} <= set(gpu):
        total = gpu["FB_USED"] + gpu["FB_FREE"] + gpu.get("FB_RESERVED", 0.0)
    if total:
        found.append(quantity(f"{name}.memory_total_bytes", total * _MIB))
    if "TOTAL_ENERGY_CONSUMPTION" in gpu:
        bump = Bump(file="", per_j=1000, pattern=r"^DCGM_FI_DEV_TOTAL_ENERGY\w+\{.*\} \d+")
        joules = gpu["TOTAL_ENERGY_CONSUMPTION"] / 1000
        found.append(counter(f"{name}.energy_j", joules, bump=bump))
    reasons = gpu.get("CLOCKS_EVENT_REASONS", gpu.get("CLOCK_THROTTLE_REASONS"))
    if reasons is not None:
        found.append(flag(f"{name}.throttled", bool(int(reasons) & (0x8 | 0x20 | 0x40 | 0x80))))
    return found


def rocm_smi(text: str) -> _Found:
    """Return every card of ``rocm-smi --json``; the hottest of its thermometers speaks."""
    found: _Found = []
    for card, facts in json.loads(text).items():
        index = re.fullmatch(r"card(\d+)", card)
        if index is None:
            continue
        name = f"amd{index[1]}"
        heat = [_plain(v) for k, v in facts.items() if k.startswith("Temperature (Sensor")]
        hottest = max((celsius for celsius in heat if celsius is not None), default=None)
        wanted: dict[str, tuple[float | None, float]] = {
            "temperature_c": (hottest, 1.0),
            "power_w": (
                _first(facts, r"(Average|Current Socket) Graphics Package Power \(W\)"),
                1.0,
            ),
            "power_limit_w": (_first(facts, r"Max Graphics Package Power \(W\)"), 1.0),
            "utilization_ratio": (_first(facts, r"GPU use \(%\)"), 0.01),
            "memory_used_bytes": (_first(facts, r"VRAM Total Used Memory \(B\)"), 1.0),
            "memory_total_bytes": (_first(facts, r"VRAM Total Memory \(B\)"), 1.0),
        }
        found += [
            quantity(f"{name}.{field}", value * scale)
            for field, (value, scale) in wanted.items()
            if value is not None and (value or not field.startswith(_NEVER_NOTHING))
        ]
    return found


def _first(facts: dict[str, str], pattern: str) -> float | None:
    """Return the first fact of that name that is a number."""
    for key, value in facts.items():
        if re.fullmatch(pattern, key) and _plain(value) is not None:
            return _plain(value)
    return None


def _plain(value: object) -> float | None:
    """Return a number written as text; ``N/A`` and the like are none."""
    found = re.fullmatch(r"\s*(-?\d+(?:\.\d+)?)\s*", str(value))
    return float(found[1]) if found else None


def amd_smi(text: str) -> _Found:
    """Return every GPU of ``amd-smi static --json`` and ``metric --json``.

    Each spot has its own limit; which one counts only the temperatures beside them can say.
    """
    root: Any = json.loads(text)
    found: _Found = []
    gpus: list[dict[str, Any]] = root if text.lstrip().startswith("[") else root["gpu_data"]
    for gpu in gpus:
        name = f"amd{gpu['gpu']}"
        limits, heat = gpu.get("limit", {}), gpu.get("temperature", {})
        spots = {"edge": "edge", "hotspot": "hotspot", "mem": "vram"}
        rooms = [
            ((limit or 150.0) - celsius, celsius, limit)
            for spot, name_of_limit in spots.items()
            if (celsius := _value(heat.get(spot))) is not None
            for limit in (_value(limits.get(f"slowdown_{name_of_limit}_temperature")),)
        ]
        _, celsius, limit = min(rooms, key=lambda one: one[0], default=(0.0, None, None))
        power, memory = gpu.get("power", {}), gpu.get("mem_usage", {})
        size = _value(memory.get("total_vram")) or _value(gpu.get("vram", {}).get("size"))
        used = _value(memory.get("used_vram"))
        busy = _value(gpu.get("usage", {}).get("gfx_activity"))
        wanted = {
            "temperature_c": celsius,
            "limit_c": limit,
            "power_w": _value(power.get("socket_power", power.get("average_socket_power"))),
            "power_limit_w": _value(limits.get("socket_power", limits.get("max_power"))),
            "utilization_ratio": None if busy is None else busy / 100,
            "memory_used_bytes": None if used is None else used * _MIB,
            "memory_total_bytes": None if size is None else size * _MIB,
        }
        found += [
            quantity(f"{name}.{field}", value)
            for field, value in wanted.items()
            if value is not None and (value or not field.startswith(_NEVER_NOTHING))
        ]
    return found


def _value(pair: Any) -> float | None:  # noqa: ANN401 - whatever JSON held
    """Return the number of a value and its unit, or alone; ``N/A`` and the like are none."""
    return _plain(pair["value"]) if str(pair).startswith("{") else _plain(pair)


def tegrastats(text: str) -> _Found:
    """Return what the first line of tegrastats says."""
    line = text.strip().splitlines()[0]
    found: _Found = []
    load = re.search(r"GR3D_FREQ (\d+)%", line)
    heat = {name.lower(): float(c) for name, c in re.findall(r"(\w+)@(-?[\d.]+)C", line)}
    heat = {name: celsius for name, celsius in heat.items() if celsius > -40}  # noqa: PLR2004
    ram = re.search(r"RAM (\d+)/(\d+)MB", line)
    drawn = re.findall(r"\b([A-Z][A-Z0-9_]*) (\d+)(?:mW)?/\d+(?!\d*MB)", line)
    rails = {name: int(milliwatts) / 1000 for name, milliwatts in drawn}
    hottest = heat.get("tj", heat.get("cpu"))
    if hottest is not None:
        found.append(quantity("cpu.temperature_c", hottest))
    if "gpu" in heat:
        found.append(quantity("tegra0.temperature_c", heat["gpu"]))
    if load is not None:
        found.append(quantity("tegra0.utilization_ratio", float(load[1]) / 100))
    if ram is not None:
        found.append(quantity("memory_total_bytes", float(ram[2]) * _MIB))
        found.append(quantity("memory_available_bytes", (float(ram[2]) - float(ram[1])) * _MIB))
    whole = next((rails[rail] for rail in ("VIN", "VDD_IN", "POM_5V_IN") if rail in rails), None)
    if whole is not None:
        found.append(quantity("board.power_w", whole))
    chips = ("VDD_GPU_SOC VDD_CPU_CV", "VDD_GPU VDD_CPU_SOC_MSS", "GPU CPU SOC CV")
    chip = next((names for names in map(str.split, chips) if set(names) <= set(rails)), None)
    if whole is None and chip is not None:
        found.append(quantity("soc.power_w", sum(rails[name] for name in chip)))
    return found
