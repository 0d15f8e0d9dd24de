"""A made machine: a folder that looks like ``/sys`` and ``/proc``, written from a small simulation.

The real sensors read it. Its processor heats up by what the routed answers draw (``thermal_plant``:
two masses, a fan, a lagging thermometer), so what the decisions do comes back to them.
"""

__all__ = ["Machine", "Outside"]

from pathlib import Path
from random import Random
from typing import TextIO

from msgspec import Struct
from msgspec.structs import replace

from metabolic.bench.thermal_plant import PARTS, Part, Plant

_TOTAL_KB = 16_000_000
_STEP_S = 0.1
_RANGE_UJ = 262_143_328_850
_FULL_UWH = 60_000_000


class Outside(Struct, frozen=True, kw_only=True):
    """What happens to the machine, whatever it does itself.

    ``other_w`` is what another program draws on a cooler part of the package; ``battery_ratio``
    ``None`` is mains.
    """

    free_kb: int = 9_000_000
    stall_percent: float = 0.0
    other_w: float = 0.0
    battery_ratio: float | None = None
    thermometer: bool = True


class Machine:
    """Lets time pass and writes what the sensors would read."""

    def __init__(self, root: Path, seed: int) -> None:
        """Make the folder; the processor is a desktop's."""
        self._root = root
        self._written: dict[str, str] = {}
        self._files: dict[str, TextIO] = {}
        part = next(one for one in PARTS if one.name == "cpu_desktop")
        self.part: Part = replace(part, full_w=1.5 * Plant(part, Random(seed)).limit_w())
        self.plant = Plant(self.part, Random(seed))
        self.joules = 0.0
        self._write("sys/class/hwmon/hwmon0/name", "coretemp")
        self._write("sys/class/hwmon/hwmon0/temp1_label", "Package id 0")
        self._write("sys/class/hwmon/hwmon0/temp1_crit", f"{part.limit_c * 1000:.0f}")
        zone = "sys/class/powercap/intel-rapl:0"
        self._write(f"{zone}/name", "package-0")
        self._write(f"{zone}/max_energy_range_uj", str(_RANGE_UJ))
        limit_uw = self.part.full_w * 1e6
        self._write(f"{zone}/constraint_0_power_limit_uw", f"{limit_uw:.0f}")
        self._write("sys/class/power_supply/AC/type", "Mains")
        self._write("sys/class/power_supply/BAT0/type", "Battery")
        self._write("sys/class/power_supply/BAT0/present", "1")
        self._write("sys/class/power_supply/BAT0/energy_full", str(_FULL_UWH))
        self._write("proc/loadavg", "1.00 1.00 1.00 1/100 1000")

    def pass_time(self, seconds: float, answers_w: float, outside: Outside) -> None:
        """Let the processor draw ``answers_w`` above idle for so long."""
        for _ in range(round(seconds / _STEP_S)):
            self.plant.step(self.part.idle_w + answers_w, _STEP_S)
        self.joules += seconds * (self.part.idle_w + answers_w + outside.other_w)

    def write(self, outside: Outside) -> None:
        """Write every file."""
        seen = self.plant.seen()
        thermometer = self._root / "sys/class/hwmon/hwmon0/temp1_input"
        if outside.thermometer:
            self._write("sys/class/hwmon/hwmon0/temp1_input", f"{seen.temperature_c * 1000:.0f}")
        else:
            thermometer.unlink(missing_ok=True)
            self._forget("sys/class/hwmon/hwmon0/temp1_input")
        counter = int(self.joules * 1e6) % _RANGE_UJ
        self._write("sys/class/powercap/intel-rapl:0/energy_uj", str(counter))
        on_mains = outside.battery_ratio is None
        charge = 1.0 if outside.battery_ratio is None else outside.battery_ratio
        self._write("sys/class/power_supply/AC/online", "1" if on_mains else "0")
        status = "Full" if on_mains else "Discharging"
        self._write("sys/class/power_supply/BAT0/status", status)
        self._write("sys/class/power_supply/BAT0/energy_now", f"{charge * _FULL_UWH:.0f}")
        self._write("proc/meminfo", f"MemTotal: {_TOTAL_KB} kB\nMemAvailable: {outside.free_kb} kB")
        for kind, percent in (("memory", outside.stall_percent), ("cpu", 0.0)):
            self._write(
                f"proc/pressure/{kind}",
                f"some avg10={percent:.2f} avg60=0.00 avg300=0.00 total=0\n"
                "full avg10=0.00 avg60=0.00 avg300=0.00 total=0",
            )

    def close(self) -> None:
        """Close every file."""
        for name in tuple(self._files):
            self._forget(name)

    def _forget(self, name: str) -> None:
        """Close a file; the next write makes it anew."""
        self._written.pop(name, None)
        file = self._files.pop(name, None)
        if file is not None:
            file.close()

    def _write(self, name: str, text: str) -> None:
        """Write a file as the kernel would show it; in place, so that open files follow."""
        if self._written.get(name) == text:
            return
        self._written[name] = text
        file = self._files.get(name)
        if file is None:
            path = self._root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            file = self._files[name] = path.open("w", encoding="ascii")
        file.seek(0)
        file.write(text + "\n")
        file.truncate()
        file.flush()
