"""What trees of kernel files say, read by other means than the sensors'.

The choice among several is docs/hardware.md's: the thermometer nearest to its limit speaks for a
device; without limits the hottest does.
"""

__all__ = ["expected_of"]

import re
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from metabolic.bench.telemetry_signals import Bump, Expected, counter, flag, quantity

_CPU_CHIPS = re.compile(r"coretemp|k10temp|zenpower|k8temp|via_cputemp|(cpu|soc)_thermal|cpu")
_CPU_ZONE = re.compile(r"cpu|pkg|soc|tj|coretemp|bcm2|big|little|cluster", re.IGNORECASE)
_OTHER_ZONE = re.compile(r"gpu|socket|board", re.IGNORECASE)
_NO_POWER_LIMIT_W = 1000.0
_INTEGRATED_TABLES = (2, 3)


def expected_of(kind: str, root: Path) -> Iterator[Expected]:
    """Yield every signal of a machine's or a card's tree."""
    yield from _cards(root)
    if kind == "card":
        return
    yield from _heat(root)
    yield from _energy(root)
    yield from _battery(root)
    yield from _memory(root)


def _text(path: Path) -> str | None:
    """Return a file's text without padding; ``None`` if it is not there or empty."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return data.strip(b"\0 \r\n\t").decode("utf-8", "replace") or None


def _int(path: Path) -> int | None:
    """Return the whole number at the beginning of a file."""
    found = re.match(r"-?\d+", _text(path) or "")
    return int(found[0]) if found else None


def _celsius(path: Path, low: float, high: float) -> float | None:
    """Return millidegrees as degrees, if they are between two bounds."""
    value = _int(path)
    return value / 1000 if value is not None and low <= value / 1000 <= high else None


def _thermometers(chip: Path, *limits: str) -> Iterator[tuple[str, float, float | None]]:
    """Yield label, temperature and limit of everything a chip measures."""
    for file in sorted(chip.glob("temp*_input")):
        stem = file.name.removesuffix("_input")
        celsius = _celsius(file, -39.999, 149.999)
        every = (_celsius(chip / f"{stem}_{kind}", 40, 130) for kind in limits)
        limit = next((one for one in every if one is not None), None)
        if celsius is not None:
            yield _text(chip / f"{stem}_label") or stem, celsius, limit


def _nearest(device: str, found: Sequence[tuple[float, float | None]]) -> Iterator[Expected]:
    """Yield temperature and limit of the one with the least room."""
    if not found:
        return
    celsius, limit = min(found, key=lambda one: (one[1] or 150.0) - one[0])
    yield quantity(f"{device}.temperature_c", celsius)
    if limit is not None:
        yield quantity(f"{device}.limit_c", limit)


def _heat(root: Path) -> Iterator[Expected]:
    """Yield the processor's heat from its chips, else from its zones; and the board's."""
    packages: list[tuple[float, float | None]] = []
    cores: list[tuple[float, float | None]] = []
    for entry in sorted((root / "sys/class/hwmon").glob("*")):
        chip = entry if (entry / "name").exists() else entry / "device"
        if not _CPU_CHIPS.fullmatch(_text(chip / "name") or ""):
            continue
        for label, celsius, limit in _thermometers(chip, "crit", "max"):
            whole = re.match(r"Package id|Physical id|Tctl", label)
            (packages if whole else cores).append((celsius, limit))
    zones = list(_zones(root))
    of_cpu = [(celsius, limit) for cpu, celsius, limit in zones if cpu]
    others = [(celsius, limit) for cpu, celsius, limit in zones if not cpu and limit is not None]
    yield from _nearest("cpu", packages or cores or of_cpu)
    yield from _nearest("board", others)
    throttled = _throttled(root)
    if throttled is not None:
        yield flag("cpu.throttled", throttled)


def _zones(root: Path) -> Iterator[tuple[bool, float, float | None]]:
    """Yield whether a zone is the processor's, its temperature, and its first trip point."""
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        kind = _text(zone / "type")
        celsius = _celsius(zone / "temp", -39.999, 149.999)
        if kind is None or celsius is None or _text(zone / "mode") == "disabled":
            continue
        trips: dict[str, list[float]] = {}
        for file in zone.glob("trip_point_*_temp"):
            degrees = _celsius(file, 40, 130)
            if degrees is not None:
                what = _text(zone / file.name.replace("_temp", "_type")) or ""
                trips.setdefault(what, []).append(degrees)
        kinds = [trips[what] for what in ("passive", "hot", "critical") if what in trips]
        last = _text(zone / "policy") == "power_allocator"
        limit = (max if last else min)(kinds[0]) if kinds else None
        yield bool(_CPU_ZONE.search(kind)) and not _OTHER_ZONE.search(kind), celsius, limit


def _throttled(root: Path) -> bool | None:
    """Say whether a cooling device slows the processor; a counter alone cannot have grown yet."""
    known = any(root.glob("sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/*_throttle_count"))
    slowed = False
    for device in (root / "sys/class/thermal").glob("cooling_device*"):
        kind = _text(device / "type") or ""
        state = _int(device / "cur_state")
        if re.match(r"Processor|cpufreq|thermal-cpu|intel_powerclamp", kind) and state is not None:
            known, slowed = True, slowed or state > 0
    return slowed if known else None


def _energy(root: Path) -> Iterator[Expected]:
    """Yield the packages' energy counters together, and their limits where they are real."""
    joules: dict[str, float] = {}
    limits: list[float] = []
    bump = None
    for zone in sorted((root / "sys/class/powercap").glob("intel-rapl:*")):
        name, count = _text(zone / "name") or "", _int(zone / "energy_uj")
        if zone.name.count(":") == 1 and name.startswith("package") and count is not None:
            joules[name] = count / 1e6
            bump = Bump(file=f"sys/class/powercap/{zone.name}/energy_uj", per_j=1e6)
            limits.append((_int(zone / "constraint_0_power_limit_uw") or 0) / 1e6)
    if joules:
        yield counter("cpu.energy_j", sum(joules.values()), bump=bump)
        if all(0 < limit <= _NO_POWER_LIMIT_W for limit in limits):
            yield quantity("cpu.power_limit_w", sum(limits))


def _battery(root: Path) -> Iterator[Expected]:
    """Yield charge, mains and discharge of the batteries."""
    supplies = sorted((root / "sys/class/power_supply").glob("*"))
    cells = [
        one
        for one in supplies
        if _text(one / "type") == "Battery"
        and _text(one / "scope") != "Device"
        and _int(one / "present") != 0
    ]
    if not cells:
        return
    now = [_int(one / "energy_now") or _int(one / "charge_now") for one in cells]
    full = [_int(one / "energy_full") or _int(one / "charge_full") for one in cells]
    percents = [_int(one / "capacity") for one in cells]
    if all(now) and all(full):
        share = sum(one or 0 for one in now) / sum(one or 0 for one in full)
        yield quantity("battery.charge_ratio", min(1.0, share))
    elif all(percent is not None for percent in percents):
        yield quantity("battery.charge_ratio", sum(p or 0 for p in percents) / len(percents) / 100)
    states = [_text(one / "status") for one in cells]
    mains = [_int(one / "online") for one in supplies if _text(one / "type") in {"Mains", "USB"}]
    yield flag("battery.on_battery", not any(mains) and "Discharging" in states)
    watts = [(_int(one / "power_now") or 0) / 1e6 for one in cells]
    if all(state == "Discharging" for state in states) and all(watts):
        yield quantity("battery.discharge_w", sum(watts))


def _memory(root: Path) -> Iterator[Expected]:
    """Yield memory, pressure and load."""
    info = _text(root / "proc/meminfo") or ""
    for key, signal in (("MemTotal", "total"), ("MemAvailable", "available")):
        found = re.search(rf"^{key}:\s+(\d+) kB", info, re.MULTILINE)
        if found is not None:
            yield quantity(f"memory_{signal}_bytes", int(found[1]) * 1024)
    for resource in ("cpu", "memory"):
        share = re.search(r"some avg10=([\d.]+)", _text(root / "proc/pressure" / resource) or "")
        if share is not None:
            yield quantity(f"{resource}_pressure_ratio", float(share[1]) / 100)


def _cards(root: Path) -> Iterator[Expected]:
    """Yield every graphics card of the tree, by vendor and place on the bus."""
    seen = {"0x1002": 0, "0x8086": 0}
    cards = [one for one in (root / "sys/class/drm").glob("card*") if one.name[4:].isdigit()]
    for card in sorted(cards, key=lambda one: _slot(one / "device")):
        device = card / "device"
        vendor = _text(device / "vendor") or ""
        if vendor in seen:
            name = {"0x1002": "amd", "0x8086": "intel"}[vendor] + str(seen[vendor])
            seen[vendor] += 1
            yield from (_amd if vendor == "0x1002" else _intel)(name, device)


def _slot(device: Path) -> str:
    """Return a card's place on the PCI bus."""
    found = re.search(r"PCI_SLOT_NAME=(\S+)", _text(device / "uevent") or "")
    return found[1] if found else ""


def _amd(name: str, device: Path) -> Iterator[Expected]:
    """Yield an AMD card; an APU's power is its package's, and so the processor's."""
    chip = next(iter(sorted((device / "hwmon").glob("hwmon*"))), device / "none")
    table = (device / "gpu_metrics").read_bytes() if (device / "gpu_metrics").exists() else b""
    size, form, content = struct.unpack_from("<HBB", table) if len(table) > 3 else (0, 0, 0)  # noqa: PLR2004
    yield from _nearest(name, [(c, limit) for _, c, limit in _thermometers(chip, "crit")])
    integrated = _text(chip / "in1_label") == "vddnb" or form in _INTEGRATED_TABLES
    microwatts = _int(chip / "power1_average")
    microwatts = _int(chip / "power1_input") if microwatts is None else microwatts
    cap = _int(chip / "power1_cap")
    owner = "cpu" if integrated else name
    if microwatts is not None and not (microwatts == 0 and cap == 0):
        yield quantity(f"{owner}.power_w", microwatts / 1e6)
    if cap:
        yield quantity(f"{owner}.power_limit_w", cap / 1e6)
    busy = _int(device / "gpu_busy_percent")
    if busy is not None:
        yield quantity(f"{name}.utilization_ratio", busy / 100)
    for field in ("used", "total"):
        size_bytes = _int(device / f"mem_info_vram_{field}")
        if size_bytes is not None:
            yield quantity(f"{name}.memory_{field}_bytes", size_bytes)
    if len(table) == size and (form, content) == (3, 0):
        yield flag(f"{name}.throttled", False)
    elif len(table) == size and (form, content) == (1, 3):
        (status,) = struct.unpack_from("<Q", table, 112)
        yield flag(f"{name}.throttled", bool(status >> 32 & 0xFFFF))


def _intel(name: str, device: Path) -> Iterator[Expected]:
    """Yield an Intel card: the card's counter where it counts, else the package's."""
    chip = next(iter(sorted((device / "hwmon").glob("hwmon*"))), device / "none")
    yield from _nearest(name, [(c, limit) for _, c, limit in _thermometers(chip, "crit")])
    counters = [chip / f"energy{n}_input" for n in (1, 2)]
    counted = next((one for one in counters if _int(one)), None)
    if counted is not None:
        inner = counted.relative_to(device.parents[4]).as_posix()
        bump = Bump(file=inner, per_j=1e6)
        yield counter(f"{name}.energy_j", (_int(counted) or 0) / 1e6, bump=bump)
    caps = [_int(chip / n) for n in ("power1_cap", "power1_max", "power2_cap", "power2_max")]
    cap = next((one for one in caps if one), None)
    if cap is not None:
        yield quantity(f"{name}.power_limit_w", cap / 1e6)
