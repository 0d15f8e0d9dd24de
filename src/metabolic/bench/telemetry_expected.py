"""What each recording says, read from its raw text by other means than the sensors'.

This is the other side of the comparison: it shares no code with ``sense``, and knows formats only
from their documentation. Regular expressions pick figures out where the sensors parse, and the
choice among several (which thermometer speaks, which power counts) is written down a second time,
from docs/hardware.md. Where the two disagree one of them is wrong, and the raw text says which.
"""

__all__ = ["expected_of"]

import json
import plistlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from metabolic.bench import telemetry_gpus, telemetry_trees
from metabolic.bench.telemetry_recordings import Recording
from metabolic.bench.telemetry_signals import Expected, counter, flag, quantity

_Found = list[Expected]


def expected_of(recording: Recording, place: Path) -> tuple[Expected, ...]:
    """Return every signal a recording holds; ``place`` is where it was materialised."""
    if recording.kind in {"host", "card", "psi"}:
        return tuple(telemetry_trees.expected_of(recording.kind, place))
    data = place.read_bytes()
    text = data.decode("utf-8", "replace")
    extract = _BY_KIND.get(recording.kind)
    return () if extract is None else tuple(extract(text))


def _first_sample(text: str) -> _Found:
    """Return what the first sample of a Mac's text or property list says."""
    if "Sampled system activity" in text:
        parts = text.split("*** Sampled system activity")
        return _mac_text(parts[1] if len(parts) > 1 else "")
    return _mac_plist(text.split("\0", maxsplit=1)[0])


def _mac_text(sample: str) -> _Found:
    """Return the figures of powermetrics' text."""
    found: _Found = []
    seconds = float(_one(r"\(([\d.]+)ms elapsed\)", sample) or 0) / 1000
    for label, device in (("CPU", "cpu"), ("GPU", "apple0")):
        milliwatts = _one(rf"^{label} Power: ([\d.]+) mW", sample)
        if milliwatts is not None and (float(milliwatts) > 0 or label == "GPU"):
            found.append(quantity(f"{device}.power_w", float(milliwatts) / 1000))
            found.append(counter(f"{device}.energy_j", float(milliwatts) / 1000 * seconds))
    whole = _one(r"^(?:Combined|Package) Power.*?: ([\d.]+) mW", sample)
    if whole is not None and float(whole) > 0:
        found.append(quantity("soc.power_w", float(whole) / 1000))
        found.append(counter("soc.energy_j", float(whole) / 1000 * seconds))
    active = re.findall(r"^CPU \d+ active residency:\s+([\d.]+)%", sample, re.MULTILINE)
    busy = [float(share) for share in active]
    if busy:
        found.append(quantity("cpu.utilization_ratio", sum(busy) / len(busy) / 100))
    idle = _one(r"^GPU idle residency:\s+([\d.]+)%", sample)
    if idle is not None:
        found.append(quantity("apple0.utilization_ratio", 1 - float(idle) / 100))
    return found + _level(_one(r"^Current pressure level: (\w+)", sample))


def _mac_plist(text: str) -> _Found:
    """Return the figures of powermetrics' property list."""
    root: dict[str, Any] = plistlib.loads(text.encode())
    cpu: dict[str, Any] = root.get("processor", {})
    gpu: dict[str, Any] = root.get("gpu", {})
    seconds = root.get("elapsed_ns", 0) / 1e9
    found: _Found = []
    for device, name in (("cpu", "cpu"), ("apple0", "gpu"), ("soc", "combined")):
        milliwatts = cpu.get(f"{name}_power")
        if milliwatts is not None and (milliwatts > 0 or name == "gpu"):
            found.append(quantity(f"{device}.power_w", milliwatts / 1000))
            millijoules = cpu.get(f"{name}_energy", milliwatts * seconds)
            found.append(counter(f"{device}.energy_j", millijoules / 1000))
    cores = [core for cluster in cpu.get("clusters", ()) for core in cluster.get("cpus", ())]
    if cores:
        idle = [core["idle_ratio"] + core.get("down_ratio", 0) for core in cores]
        shares = [max(0.0, 1 - one) for one in idle]
        found.append(quantity("cpu.utilization_ratio", sum(shares) / len(shares)))
    if "idle_ratio" in gpu:
        found.append(quantity("apple0.utilization_ratio", 1 - gpu["idle_ratio"]))
    return found + _level(root.get("thermal_pressure"))


def _level(word: str | None) -> _Found:
    """Return a Mac's thermal pressure, and that it throttles from the second level on."""
    if word is None:
        return []
    level = word.lower()
    return [
        Expected(signal="soc.thermal_level", value=level, unit=""),
        flag("soc.throttled", level != "nominal"),
    ]


def _pressure_level(text: str) -> _Found:
    """Return the level that ``notifyutil`` printed first."""
    number = int(_one(r"thermalpressurelevel (\d)", text) or 0)
    return _level(("nominal", "moderate", "heavy", "trapping", "sleeping")[number])


def _macmon(text: str) -> _Found:
    """Return the figures of macmon's first line; its zeros of thermometers are none."""
    root: dict[str, Any] = json.loads(text.strip().splitlines()[0])
    found: _Found = []
    names = {"cpu": "cpu", "gpu": "apple0", "all": "soc", "sys": "node"}
    for name, device in names.items():
        watts = root.get(f"{name}_power")
        if watts is not None and (watts > 0 or name == "gpu"):
            found.append(quantity(f"{device}.power_w", watts))
            found.append(counter(f"{device}.energy_j", watts))
    for name, device in (("cpu", "cpu"), ("gpu", "apple0")):
        celsius = root.get("temp", {}).get(f"{name}_temp_avg")
        if celsius:
            found.append(quantity(f"{device}.temperature_c", celsius))
    if root.get("cpu_usage_pct") is not None:
        found.append(quantity("cpu.utilization_ratio", root["cpu_usage_pct"]))
    if root.get("gpu_usage"):
        found.append(quantity("apple0.utilization_ratio", root["gpu_usage"][1]))
    for name, field in (("ram_usage", "used"), ("ram_total", "total")):
        if root.get("memory", {}).get(name):
            found.append(quantity(f"apple0.memory_{field}_bytes", root["memory"][name]))
    return found


def _redfish(text: str) -> _Found:
    """Return a node's figures: the first of each, and the place nearest to its threshold."""
    found: _Found = []
    number = r"\s*(-?[\d.]+)"
    watts = _one(rf'"PowerConsumedWatts":{number}', text) or _one(
        rf'"(?:PowerWatts|InputPowerWatts)":\s*\{{[^{{}}]*?"Reading":{number}', text
    )
    if watts is not None and float(watts) > 0:
        found.append(quantity("node.power_w", float(watts)))
    limit = _one(rf'"LimitInWatts":{number}', text)
    if limit is not None and float(limit) > 0:
        found.append(quantity("node.power_limit_w", float(limit)))
    joules = _one(rf'"EnergyJoules":\s*\{{[^{{}}]*?"Reading":{number}', text)
    kwh = _one(rf'"EnergykWh":\s*\{{[^{{}}]*?"Reading":{number}', text)
    if joules is not None or kwh is not None:
        value = float(joules) if joules is not None else float(kwh or 0) * 3_600_000
        found.append(counter("node.energy_j", value))
    return found + _hottest(json.loads(text).get("Temperatures", []))


def _hottest(thermometers: list[dict[str, Any]]) -> _Found:
    """Return reading and threshold of the place with the least room."""
    rooms: list[tuple[float, float, float]] = []
    for one in thermometers:
        limit = one.get("UpperThresholdCritical") or one.get("UpperThresholdFatal")
        celsius = one.get("ReadingCelsius")
        there = one.get("Status", {}).get("State", "Enabled") == "Enabled"
        if there and celsius is not None and limit:
            rooms.append((limit - celsius, celsius, limit))
    if not rooms:
        return []
    _, celsius, limit = min(rooms, key=lambda room: room[0])
    return [quantity("node.temperature_c", celsius), quantity("node.limit_c", limit)]


def _exporter(text: str) -> _Found:
    """Return what a scrape of an exporter with known names says."""
    sums: dict[str, float] = {}
    counters: set[str] = set()
    for name, labels, raw in re.findall(r"^(\w+)(\{[^}]*\})? ([-+\w.]+)", text, re.MULTILINE):
        at = _exported(name, labels)
        if at is None or raw.lower() == "nan":
            continue
        signal, scale = at
        sums[signal] = sums.get(signal, 0.0) + float(raw) * scale
        if signal.endswith("energy_j"):
            counters.add(signal)
    return [
        counter(signal, value) if signal in counters else quantity(signal, value)
        for signal, value in sums.items()
    ]


def _exported(name: str, labels: str) -> tuple[str, float] | None:
    """Return which signal a metric is, and its scale."""
    index = _one(r'[{,]index="(\d+)"', labels)
    if name.startswith("kepler_node_cpu_") and 'zone="package"' in labels:
        known = {
            "kepler_node_cpu_watts": "cpu.power_w",
            "kepler_node_cpu_joules_total": "cpu.energy_j",
        }
        return (known[name], 1.0) if name in known else None
    if name.startswith("all_smi_gpu_") and index is not None:
        known_gpu = {
            "temperature_celsius": ("temperature_c", 1.0),
            "power_consumption_watts": ("power_w", 1.0),
            "utilization": ("utilization_ratio", 0.01),
            "memory_used_bytes": ("memory_used_bytes", 1.0),
            "memory_total_bytes": ("memory_total_bytes", 1.0),
        }
        found = known_gpu.get(name.removeprefix("all_smi_gpu_"))
        return None if found is None else (f"gpu{index}.{found[0]}", found[1])
    hosts = {
        "scaph_host_power_microwatts": ("node.power_w", 1e-6),
        "scaph_host_energy_microjoules": ("node.energy_j", 1e-6),
        "ipmi_dcmi_power_consumption_watts": ("node.power_w", 1.0),
    }
    return hosts.get(name)


def _one(pattern: str, text: str) -> str | None:
    """Return the first group of the first match, line by line."""
    found = re.search(pattern, text, re.MULTILINE)
    return None if found is None else found[1]


_BY_KIND: Mapping[str, Callable[[str], _Found]] = {
    "amd_smi": telemetry_gpus.amd_smi,
    "dcgm": telemetry_gpus.dcgm,
    "macmon": _macmon,
    "nvidia_smi": telemetry_gpus.nvidia_smi,
    "powermetrics": _first_sample,
    "pressure_level": _pressure_level,
    "prometheus": _exporter,
    "redfish": _redfish,
    "rocm_smi": telemetry_gpus.rocm_smi,
    "tegrastats": telemetry_gpus.tegrastats,
}
