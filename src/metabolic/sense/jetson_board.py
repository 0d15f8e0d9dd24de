"""A Jetson through sysfs: INA3221 rails, the GPU's load, heat and throttling, the power mode.

The zones of the processor and of the carrier are the ``thermal`` sensor's; here is what only a
Jetson has. The limit is the power mode's, where its name tells it (``15W``; ``MAXN`` has none).
Source: the kernel's documentation of ina3221 (mV and mA), NVIDIA's Jetson Linux developer guide
(rails, ``load`` in thousandths, nvpmodel).
"""

__all__ = ["ANY_LIMIT_W", "JetsonBoard"]

import re
from collections.abc import Iterator

from msgspec import Struct

from metabolic.core.hardware import Reading
from metabolic.core.obstacle import Obstacle
from metabolic.core.units import w_from_microwatts, w_from_milliwatts
from metabolic.sense.files import Folder, KernelFile
from metabolic.sense.merge import Field
from metabolic.sense.rails import Total, total_of
from metabolic.sense.supply import Supply
from metabolic.sense.thermometer import Thermometer, nearest, plausible_limit_c
from metabolic.sense.throttling import coolers

ANY_LIMIT_W = 300.0
"""More than any Jetson draws (Thor: 130 W)."""

_MONITORS = ("ina3221", "ina238")
_LOADS = ("gpu.0/load", "platform/gpu.0/load", "platform/bus@0/17000000.gpu/load")
_GPU_WORDS = ("gpu", "ga10b", "gv11b", "gp10b", "gm20b")
_GPU_COOLERS = ("gpu-throttle-alert", "thermal-devfreq", "gpu-balanced")
_SOC_HIGH_RATIO = 2.6
"""What a module may draw of what its chip draws: all rails of six recorded lines of AGX Orins
together are 1.3 (busy) to 2.6 (idle) times the chip's, if none of them lies behind another."""

_WATTS = re.compile(r"(?<!\d)(\d{1,3})W")
_MODE = re.compile(r"POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)")


class _Rail(Struct, frozen=True, kw_only=True):
    """One rail: a power file, or voltage and current."""

    name: str
    files: tuple[KernelFile, ...]
    milli: bool

    def watts(self) -> float | None:
        """Return the power now."""
        values = [file.number() for file in self.files]
        known = [value for value in values if value is not None and value >= 0]
        if len(known) != len(values):
            return None
        if len(known) == 1:
            return w_from_milliwatts(known[0]) if self.milli else w_from_microwatts(known[0])
        return w_from_microwatts(known[0] * known[1])


class JetsonBoard:
    """The board, its chip and its GPU."""

    name = "board"

    def __init__(self, root: str) -> None:
        """Find the files."""
        self._rails = (*_hwmon_rails(root), *_iio_rails(root))
        self._load = _load(root)
        self._gpu_zones = tuple(_gpu_zones(root))
        self._gpu_coolers = coolers(root, _GPU_COOLERS)
        total = self.total()
        self.supplies: str = "board" if total is None else total.of
        self._limit_w = _mode_w(root) if self._rails else None

    def __bool__(self) -> bool:
        """Say whether this is a Jetson."""
        return bool(self._rails)

    def total(self) -> Total | None:
        """Return the power of the board or its chip now."""
        read = {rail.name: rail.watts() for rail in self._rails}
        return total_of({name: w for name, w in read.items() if w is not None and w < ANY_LIMIT_W})

    def look(self) -> tuple[str, dict[str, Field | None], dict[str, Field | None]]:
        """Return ``board`` or ``soc``, its fields, and the GPU's."""
        total = self.total()
        supplied: dict[str, Field | None] = {}
        if total is not None:
            origin = "measured" if total.of == "board" else "derived"
            supplied["power_w"] = Reading(value=total.watts, origin=origin, source=total.source)
        if self._limit_w is not None and self.supplies == "board":
            limit = Reading(value=self._limit_w, origin="measured", source="nvpmodel")
            supplied["power_limit_w"] = limit
        temperature, limit_c = nearest(self._gpu_zones)
        gpu: dict[str, Field | None] = {
            "temperature_c": temperature,
            "limit_c": limit_c,
            "utilization_ratio": self._busy(),
            "throttled": self._throttled(),
            "integrated": True,
        }
        return self.supplies, supplied, gpu

    def supply(self, now_s: float) -> Supply | None:
        """Return the power for a meter; ``None`` when no rail can be read."""
        del now_s
        total = self.total()
        if total is None:
            return None
        busy = self._busy()
        return Supply(
            power_w=total.watts,
            busy_ratio=None if busy is None else busy.value,
            high_ratio=1.0 if total.of == "board" else _SOC_HIGH_RATIO,
        )

    def obstacles(self) -> tuple[Obstacle, ...]:
        """Return why there is no power."""
        if not self._rails:
            return (Obstacle(kind="absent", what="no Jetson: no INA3221 that names rails"),)
        names = ", ".join(rail.name for rail in self._rails)
        if self.total() is None:
            return (Obstacle(kind="driver", what=f"no total among the rails {names}"),)
        return ()

    def close(self) -> None:
        """Close all files."""
        zones = (zone.file for zone in self._gpu_zones)
        rails = (file for rail in self._rails for file in rail.files)
        for file in (*rails, *zones, *self._gpu_coolers, *([self._load] if self._load else [])):
            file.close()

    def _busy(self) -> Reading | None:
        """Return the GPU's load."""
        load = None if self._load is None else self._load.number()
        if load is None or not 0 <= load <= 1000:  # noqa: PLR2004 - thousandths
            return None
        return Reading(value=load / 1000, origin="measured", source="gpu load")

    def _throttled(self) -> bool | None:
        """Return whether heat slows the GPU."""
        states = [file.number() for file in self._gpu_coolers]
        known = [state for state in states if state is not None]
        return any(state > 0 for state in known) if known else None


def _hwmon_rails(root: str) -> Iterator[_Rail]:
    """Yield the rails of power monitors in hwmon, but for those that are not connected."""
    folder = Folder(root, "sys/class/hwmon")
    for entry in folder.names():
        chip = folder.sub(entry)
        if chip.text("name") not in _MONITORS:
            continue
        for number in ("1", "2", "3"):
            name = chip.text(f"in{number}_label") or chip.text(f"power{number}_label")
            if name is None or name == "NC":
                continue
            power, volts, amperes = (
                chip.file(f"{kind}{number}_input") for kind in ("power", "in", "curr")
            )
            direct = chip.exists(f"power{number}_input")
            yield _Rail(name=name, files=(power,) if direct else (volts, amperes), milli=False)


def _iio_rails(root: str) -> Iterator[_Rail]:
    """Yield the rails as JetPack 4 shows them."""
    drivers = Folder(root, "sys/bus/i2c/drivers/ina3221x")
    for entry in drivers.names():
        chip = drivers.sub(entry)
        for device in (chip.sub(n) for n in chip.names() if n.startswith("iio:device")):
            for number in ("0", "1", "2"):
                name = device.text(f"rail_name_{number}")
                if name is not None and name != "NC":
                    file = device.file(f"in_power{number}_input")
                    yield _Rail(name=name, files=(file,), milli=True)


def _load(root: str) -> KernelFile | None:
    """Return the file of the GPU's load."""
    devices = Folder(root, "sys/devices")
    for name in _LOADS:
        if devices.exists(name):
            return devices.file(name)
    devfreq = Folder(root, "sys/class/devfreq")
    for entry in devfreq.names():
        if any(word in entry for word in _GPU_WORDS) and devfreq.exists(f"{entry}/device/load"):
            return devfreq.file(f"{entry}/device/load")
    return None


def _gpu_zones(root: str) -> Iterator[Thermometer]:
    """Yield the GPU's thermal zones, each with the first temperature at which it is slowed."""
    folder = Folder(root, "sys/class/thermal")
    for entry in folder.names():
        zone = folder.sub(entry)
        kind = zone.text("type") if entry.startswith("thermal_zone") else None
        if kind is None or "gpu" not in kind.lower():
            continue
        trips = [
            celsius
            for name in zone.names()
            if name.startswith("trip_point_") and name.endswith("_temp")
            if zone.text(name[:-4] + "type") in {"passive", "hot", "critical"}
            if (celsius := plausible_limit_c(zone.number(name))) is not None
        ]
        source = f"thermal:{kind}"
        limit = Reading(value=min(trips), origin="measured", source=source) if trips else None
        yield Thermometer(source=source, file=zone.file("temp"), limit=limit)


def _mode_w(root: str) -> float | None:
    """Return the watts in the name of the power mode that is set."""
    status = Folder(root, "var/lib/nvpmodel").text("status") or ""
    words = [word for word in status.split() if word.startswith("pmode:")]
    number = words[-1].removeprefix("pmode:") if words else ""
    if not number.isdigit():
        return None
    for mode, name in _MODE.findall(Folder(root, "etc").text("nvpmodel.conf") or ""):
        if int(mode) == int(number):
            watts = _WATTS.search(name)
            return float(watts[1]) if watts and 0 < int(watts[1]) <= ANY_LIMIT_W else None
    return None
