"""CPU temperature from hwmon: coretemp, k10temp and their like.

Only the thermometer that stands for a whole package is read where there is one (``Package id 0``,
``Tdie``, ``Tctl``): each core's own costs an interrupt on that core. ``Tdie`` is preferred to
``Tctl``, to which some Ryzen add up to 27 C for their fans. The one nearest to its limit speaks
for the CPU. The limit is ``crit`` (on coretemp TjMax, where the processor throttles itself), else
``max``, else an assumed one, which is then flagged as modelled.
Source: the kernel's documentation of hwmon's sysfs names, of coretemp and of k10temp.
"""

__all__ = ["CPU_CHIPS", "HwmonSensor", "Options", "create"]

from msgspec import Struct
from msgspec.structs import replace

from metabolic.core.hardware import HardwareState, Reading
from metabolic.core.obstacle import Obstacle
from metabolic.sense.cadence import due
from metabolic.sense.files import Folder
from metabolic.sense.merge import with_device
from metabolic.sense.thermometer import Thermometer, nearest, of_chip

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

_PACKAGE = ("Package id", "Tdie", "Tctl", "Physical id")
_NOTHING = Obstacle(
    kind="platform",
    what="no processor thermometer in hwmon; usual in virtual machines and containers",
    remedy="on a real machine load coretemp (Intel) or k10temp (AMD)",
)


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


class HwmonSensor:
    """Reads the CPU's temperature and limit from hwmon."""

    name = "hwmon"

    def __init__(self, options: Options) -> None:
        """Remember the options; the first read looks for chips."""
        self._options = options
        self._folder = Folder(options.root, "sys/class/hwmon")
        self._found: tuple[Thermometer, ...] = ()
        self._scanned_s: float | None = None

    def read(self, state: HardwareState) -> HardwareState:
        """Return the state with the CPU's temperature and limit."""
        if due(self._scanned_s, now_s=state.taken_at_s, every_s=self._options.rescan_s):
            self._scan(state.taken_at_s)
        temperature, limit = nearest(self._found)
        if temperature is None:
            self._scanned_s = None if self._found else self._scanned_s
            return state
        return with_device(state, "cpu", kind="cpu", temperature_c=temperature, limit_c=limit)

    def obstacles(self) -> tuple[Obstacle, ...]:
        """Return why there is no temperature."""
        return () if self._found or self._scanned_s is None else (_NOTHING,)

    def close(self) -> None:
        """Close all files."""
        for thermometer in self._found:
            thermometer.file.close()
        self._found = ()

    def _scan(self, now_s: float) -> None:
        """Look for chips anew."""
        self.close()
        self._scanned_s = now_s
        found: list[Thermometer] = []
        for entry in self._folder.names():
            chip = self._folder.sub(entry)
            if chip.text("name") is None and chip.text("device/name") is not None:
                chip = chip.sub("device")
            name = chip.text("name")
            if name in self._options.chips:
                found += self._thermometers(name, chip)
        self._found = tuple(found)

    def _thermometers(self, name: str, chip: Folder) -> list[Thermometer]:
        """Return a chip's package thermometers, or all it has."""
        every = list(of_chip(name, chip))
        package = [one for one in every if one[0].startswith(_PACKAGE)]
        if any(label == "Tdie" for label, _ in package):
            package = [one for one in package if one[0] != "Tctl"]
        return [self._limited(one) for _, one in package or every]

    def _limited(self, thermometer: Thermometer) -> Thermometer:
        """Return the thermometer with the assumed limit, if no file gives one."""
        assumed = self._options.assumed_limit_c
        if thermometer.limit is not None or assumed is None:
            return thermometer
        limit = Reading(value=assumed, origin="modelled", source="assumed")
        return replace(thermometer, limit=limit)


def create(options: Options) -> HwmonSensor:
    """Return the sensor."""
    return HwmonSensor(options)
