"""Memory, pressure, load and how busy the processor is.

Available memory is the least of what the kernel says and what each control group above us still
allows (limit less working set, which leaves out inactive file pages: the kernel drops those
first). Pressure is the share of the last ten seconds in which some task waited (PSI). A processor
without an energy counter gets a modelled power, flagged as such.
Source: the kernel's documentation of PSI, of cgroups v1 and v2, and of /proc.
"""

__all__ = ["HostSensor", "Options", "create"]

import os
import sys

from msgspec import Struct
from msgspec.structs import replace

from metabolic.core.hardware import HardwareState, Reading
from metabolic.core.obstacle import Obstacle
from metabolic.core.units import bytes_from_kib, ratio_from_percent
from metabolic.sense.cadence import aged, due
from metabolic.sense.cgroup import MemoryGroup
from metabolic.sense.cputime import BusyCpu
from metabolic.sense.files import Folder, KernelFile
from metabolic.sense.merge import with_device, with_signals

_NO_PRESSURE = Obstacle(
    kind="platform",
    what="the kernel tells no pressure stall information (/proc/pressure)",
    remedy="boot with psi=1 on Linux 4.20 or newer",
)


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where and how often to read, and how to model a processor without an energy counter.

    ``cpu_w_per_core`` is the power one busy core adds; ``None`` models nothing. ``cpu_idle_w`` is
    what an idle package draws; ``None`` is unknown, and the model is then of active power alone.
    """

    root: str = "/"
    every_s: float = 0.5
    cpu_w_per_core: float | None = 4.0
    cpu_idle_w: float | None = None


class _Read(Struct, frozen=True, kw_only=True):
    """What was read at one time."""

    at_s: float
    memory_total_bytes: Reading | None = None
    memory_available_bytes: Reading | None = None
    cpu_pressure_ratio: Reading | None = None
    memory_pressure_ratio: Reading | None = None
    load_ratio: Reading | None = None
    utilization_ratio: Reading | None = None
    energy_j: Reading | None = None
    power_w: Reading | None = None


_FIELDS = tuple(name for name in _Read.__struct_fields__ if name != "at_s")
_OF_CPU = frozenset({"utilization_ratio", "energy_j", "power_w"})


class HostSensor:
    """Reads the machine itself."""

    name = "host"

    def __init__(self, options: Options) -> None:
        """Remember the options; files are opened when first read."""
        self._options = options
        proc = Folder(options.root, "proc")
        self._portable = options.root == "/" and not sys.platform.startswith("linux")
        self._meminfo = proc.file("meminfo")
        self._loadavg = proc.file("loadavg")
        self._pressure = proc.file("pressure/cpu"), proc.file("pressure/memory")
        self._group = MemoryGroup(options.root)
        self._busy = BusyCpu(options.root)
        self._last: tuple[float, float] | None = None
        self._modelled_j = 0.0
        self._read: _Read | None = None

    def read(self, state: HardwareState) -> HardwareState:
        """Return the state with memory, pressure, load and the processor's utilisation."""
        now_s = state.taken_at_s
        last = self._read
        if last is None or due(last.at_s, now_s=now_s, every_s=self._options.every_s):
            last = self._read = self._look(now_s)
        age_s = now_s - last.at_s
        known = {name: aged(getattr(last, name), age_s) for name in _FIELDS}
        of_cpu = {name: known.pop(name) for name in _OF_CPU}
        return with_device(with_signals(state, **known), "cpu", kind="cpu", **of_cpu)

    def obstacles(self) -> tuple[Obstacle, ...]:
        """Return what of memory, pressure and load cannot be read."""
        last = self._read
        if last is None or self._portable:
            return ()
        found: list[Obstacle] = []
        if last.memory_available_bytes is None:
            found.append(Obstacle(kind="container", what="/proc/meminfo cannot be read"))
        if last.memory_pressure_ratio is None:
            found.append(_NO_PRESSURE)
        return tuple(found)

    def close(self) -> None:
        """Close all files."""
        for file in (self._meminfo, self._loadavg, *self._pressure):
            file.close()
        self._group.close()
        self._busy.close()

    def _look(self, now_s: float) -> _Read:
        """Read everything."""
        utilization, energy, power = self._cpu(now_s)
        total, available = _portable_memory() if self._portable else self._memory()
        return _Read(
            at_s=now_s,
            memory_total_bytes=total,
            memory_available_bytes=available,
            cpu_pressure_ratio=_pressure(self._pressure[0], "psi:cpu some avg10"),
            memory_pressure_ratio=_pressure(self._pressure[1], "psi:memory some avg10"),
            load_ratio=self._load(),
            utilization_ratio=utilization,
            energy_j=energy,
            power_w=power,
        )

    def _memory(self) -> tuple[Reading | None, Reading | None]:
        """Return total and available memory within the control group's limits."""
        data = self._meminfo.raw() or b""
        total = _meminfo(data, b"MemTotal:", "meminfo:MemTotal")
        available = _meminfo(data, b"MemAvailable:", "meminfo:MemAvailable")
        limit, free = self._group.read()
        return _least(total, limit, "cgroup limit"), _least(available, free, "cgroup available")

    def _load(self) -> Reading | None:
        """Return runnable tasks of the last minute per core."""
        cores = self._busy.cores
        if self._portable:
            mean = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
        else:
            mean = _decimal((self._loadavg.raw() or b"").partition(b" ")[0])
        if mean is None or not cores:
            return None
        return Reading(value=mean / cores, origin="derived", source="loadavg:1min")

    def _cpu(self, now_s: float) -> tuple[Reading | None, Reading | None, Reading | None]:
        """Return utilisation since the last look, and the modelled energy and power."""
        busy_s = self._busy.read()
        last, self._last = self._last, None if busy_s is None else (now_s, busy_s)
        if busy_s is None or last is None or now_s <= last[0] or busy_s < last[1]:
            return None, None, None
        seconds, spent_s, cores = now_s - last[0], busy_s - last[1], self._busy.cores
        utilization = None
        if cores:
            share = min(1.0, spent_s / (seconds * cores))
            utilization = Reading(value=share, origin="derived", source="cpu time")
        per_core_w = self._options.cpu_w_per_core
        if per_core_w is None:
            return utilization, None, None
        joules = spent_s * per_core_w + seconds * (self._options.cpu_idle_w or 0.0)
        self._modelled_j += joules
        energy = Reading(value=self._modelled_j, origin="modelled", source="cpu time model")
        return utilization, energy, replace(energy, value=joules / seconds)


def _meminfo(data: bytes, key: bytes, source: str) -> Reading | None:
    """Return one line of ``/proc/meminfo`` in bytes."""
    _, found, rest = data.partition(key)
    words = rest.split(None, 1)
    if not found or not words or not words[0].isdigit():
        return None
    return Reading(value=bytes_from_kib(int(words[0])), origin="measured", source=source)


def _pressure(file: KernelFile, source: str) -> Reading | None:
    """Return the ``some avg10`` of a PSI file as a share."""
    _, found, rest = (file.raw() or b"").partition(b"some avg10=")
    percent = _decimal(rest.partition(b" ")[0]) if found else None
    share = None if percent is None else ratio_from_percent(percent)
    if share is None or not 0 <= share <= 1:
        return None
    return Reading(value=share, origin="measured", source=source)


def _decimal(word: bytes) -> float | None:
    """Return a plain decimal number; ``None`` for anything else."""
    return float(word) if word.replace(b".", b"", 1).isdigit() else None


def _least(reading: Reading | None, bound: float | None, source: str) -> Reading | None:
    """Return the lower of a reading and a bound."""
    if bound is None or (reading is not None and reading.value <= bound):
        return reading
    return Reading(value=bound, origin="measured", source=source)


def _portable_memory() -> tuple[Reading | None, Reading | None]:
    """Return total and available memory where there is no ``/proc``."""
    import psutil  # noqa: PLC0415 - only needed off Linux

    try:
        memory = psutil.virtual_memory()
    except (OSError, psutil.Error):
        return None, None
    total = Reading(value=memory.total, origin="measured", source="psutil")
    return total, replace(total, value=memory.available)


def create(options: Options) -> HostSensor:
    """Return the sensor."""
    return HostSensor(options)
