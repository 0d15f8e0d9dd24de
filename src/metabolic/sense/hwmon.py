"""CPU temperature from hwmon: coretemp, k10temp and their like.

Only the thermometer that stands for a whole package is read where there is one (``Package id 0``,
``Tctl``): each core's own costs an interrupt on that core. The one nearest to its limit speaks for
the CPU. The limit is ``crit`` (on coretemp TjMax, where the processor throttles itself), else
``max``, else an assumed one, which is then flagged as modelled.
"""

__all__ = ["CPU_CHIPS", "HwmonSensor", "Options", "create", "plausible_c", "plausible_limit_c"]

import re

from msgspec import Struct

from metabolic.core.hardware import HardwareState, Reading
from metabolic.core.units import c_from_millidegrees
from metabolic.sense.cadence import due
from metabolic.sense.files import Folder, KernelFile
from metabolic.sense.merge import with_device

CPU_CHIPS = (
    "coretemp",
    "k10temp",
    "zenpower",
    "k8temp",
    "via_cputemp",
    "cpu_thermal",
    "soc_thermal",
    "cpu",
)
"""hwmon names of thermometers inside a processor."""

_PACKAGE = ("Package id", "Tctl", "Physical id")
_READS_C = (-40.0, 150.0)
_LIMITS_C = (40.0, 130.0)
_INPUT = re.compile(r"temp(\d+)_input")


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where and what to read.

    ``assumed_limit_c`` stands in for a limit that no file gives (k10temp has none); ``None``
    assumes nothing. Source: AMD states 90 to 95 C as the highest operating temperature of recent
    processors; the lower is taken.
    """

    root: str = "/"
    chips: tuple[str, ...] = CPU_CHIPS
    assumed_limit_c: float | None = 90.0
    rescan_s: float = 30.0


class _Thermometer(Struct, frozen=True, kw_only=True):
    """One temperature file and its limit."""

    source: str
    file: KernelFile
    limit: Reading | None


def plausible_c(millidegrees: int | None) -> float | None:
    """Return degrees; ``None`` for a missing value and for sentinels such as -256 C."""
    if millidegrees is None:
        return None
    celsius = c_from_millidegrees(millidegrees)
    return celsius if _READS_C[0] < celsius < _READS_C[1] else None


def plausible_limit_c(millidegrees: int | None) -> float | None:
    """Return degrees; ``None`` outside 40 to 130 C (-273.15, 0, 20.8 and 255 C are seen)."""
    if millidegrees is None:
        return None
    celsius = c_from_millidegrees(millidegrees)
    return celsius if _LIMITS_C[0] <= celsius <= _LIMITS_C[1] else None


class HwmonSensor:
    """Reads the CPU's temperature and limit from hwmon."""

    name = "hwmon"

    def __init__(self, options: Options) -> None:
        """Remember the options; the first read looks for chips."""
        self._options = options
        self._folder = Folder(options.root, "sys/class/hwmon")
        self._found: tuple[_Thermometer, ...] = ()
        self._scanned_s: float | None = None

    def read(self, state: HardwareState) -> HardwareState:
        """Return the state with the CPU's temperature and limit."""
        if due(self._scanned_s, now_s=state.taken_at_s, every_s=self._options.rescan_s):
            self._scan(state.taken_at_s)
        worst, least = None, float("inf")
        for thermometer in self._found:
            celsius = plausible_c(thermometer.file.number())
            if celsius is None:
                continue
            limit = thermometer.limit
            room = (limit.value if limit else 150.0) - celsius
            if room < least:
                worst, least = (thermometer, celsius), room
        if worst is None:
            self._scanned_s = None if self._found else self._scanned_s
            return state
        thermometer, celsius = worst
        reading = Reading(value=celsius, origin="measured", source=thermometer.source)
        return with_device(
            state, "cpu", kind="cpu", temperature_c=reading, limit_c=thermometer.limit
        )

    def close(self) -> None:
        """Close all files."""
        for thermometer in self._found:
            thermometer.file.close()
        self._found = ()

    def _scan(self, now_s: float) -> None:
        """Look for chips anew."""
        self.close()
        self._scanned_s = now_s
        found: list[_Thermometer] = []
        for entry in self._folder.names():
            chip = self._folder.sub(entry)
            if chip.text("name") is None and chip.text("device/name") is not None:
                chip = chip.sub("device")
            name = chip.text("name")
            if name in self._options.chips:
                found += self._thermometers(name, chip)
        self._found = tuple(found)

    def _thermometers(self, name: str, chip: Folder) -> list[_Thermometer]:
        """Return a chip's package thermometers, or all it has."""
        every = [
            (chip.text(f"temp{match[1]}_label") or f"temp{match[1]}", match[1])
            for match in map(_INPUT.fullmatch, chip.names())
            if match
        ]
        package = [one for one in every if one[0].startswith(_PACKAGE)]
        return [
            _Thermometer(
                source=f"hwmon:{name}/{label}",
                file=chip.file(f"temp{number}_input"),
                limit=self._limit(name, label, chip, number),
            )
            for label, number in package or every
        ]

    def _limit(self, name: str, label: str, chip: Folder, number: str) -> Reading | None:
        """Return where this thermometer's processor throttles."""
        for kind in ("crit", "max"):
            celsius = plausible_limit_c(chip.number(f"temp{number}_{kind}"))
            if celsius is not None:
                source = f"hwmon:{name}/{label} {kind}"
                return Reading(value=celsius, origin="measured", source=source)
        assumed = self._options.assumed_limit_c
        if assumed is None:
            return None
        return Reading(value=assumed, origin="modelled", source="assumed")


def create(options: Options) -> HwmonSensor:
    """Return the sensor."""
    return HwmonSensor(options)
