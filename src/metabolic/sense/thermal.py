"""Thermal zones: temperature, trip points, and whether the kernel slows the processor.

Zones inside the processor speak for the device ``cpu``, all others that have a trip point for
``board`` (a laptop's skin, a module's carrier). The limit of a zone is where the kernel begins to
slow things down: its passive trip point, else ``hot``, else ``critical``. Under the governor
``power_allocator`` the *last* passive trip is the one it holds; under the others the first.
Source: the Linux kernel's documentation of the thermal sysfs interface and of power_allocator.
"""

__all__ = ["Options", "ThermalSensor", "create"]

from msgspec import Struct

from metabolic.core.hardware import HardwareState, Reading
from metabolic.core.obstacle import Obstacle
from metabolic.sense.cadence import due
from metabolic.sense.files import Folder
from metabolic.sense.merge import with_device
from metabolic.sense.thermometer import Thermometer, nearest, plausible_limit_c
from metabolic.sense.throttling import Throttling

_CPU_WORDS = ("cpu", "pkg", "soc", "tj", "coretemp", "bcm2", "big", "little", "cluster")
_NOT_CPU = ("gpu", "socket", "board")
_NO_THERMOMETERS = frozenset({"pmic-die"})
"""Zones that always say the same: the Jetson Nano's reads 100 C whatever happens."""

_NOTHING = Obstacle(
    kind="platform",
    what="no thermal zone and no throttle counter; usual in virtual machines and containers",
)


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where and how often to read; ``assumed_limit_c`` as for hwmon, for CPU zones only."""

    root: str = "/"
    assumed_limit_c: float | None = 90.0
    throttle_every_s: float = 0.5
    rescan_s: float = 30.0


class ThermalSensor:
    """Reads thermal zones and the throttling of the processor."""

    name = "thermal"

    def __init__(self, options: Options) -> None:
        """Remember the options; the first read looks for zones."""
        self._options = options
        self._folder = Folder(options.root, "sys/class/thermal")
        self._zones: dict[bool, tuple[Thermometer, ...]] = {}
        self._throttling: Throttling | None = None
        self._scanned_s: float | None = None

    def read(self, state: HardwareState) -> HardwareState:
        """Return the state with temperatures, limits and throttling of processor and board."""
        now_s = state.taken_at_s
        if due(self._scanned_s, now_s=now_s, every_s=self._options.rescan_s):
            self._scan(now_s)
        throttled = self._throttling.read(now_s) if self._throttling else None
        temperature, limit = nearest(self._zones.get(True, ()))
        state = with_device(
            state,
            "cpu",
            kind="cpu",
            temperature_c=temperature,
            limit_c=limit,
            throttled=throttled,
        )
        temperature, limit = nearest(self._zones.get(False, ()))
        return with_device(state, "board", kind="board", temperature_c=temperature, limit_c=limit)

    def obstacles(self) -> tuple[Obstacle, ...]:
        """Return why there is neither a temperature nor a word on throttling."""
        blind = self._throttling is not None and not self._throttling and not self._zones
        return (_NOTHING,) if blind else ()

    def close(self) -> None:
        """Close all files."""
        self._forget()
        if self._throttling is not None:
            self._throttling.close()
        self._throttling = None

    def _scan(self, now_s: float) -> None:
        """Look for zones anew; throttle counters are kept, since only their growth speaks."""
        self._forget()
        self._scanned_s = now_s
        if self._throttling is None:
            every_s = self._options.throttle_every_s
            self._throttling = Throttling(self._options.root, every_s=every_s)
        for name in self._folder.names():
            if name.startswith("thermal_zone"):
                self._add(self._folder.sub(name))

    def _forget(self) -> None:
        """Close the zones' files."""
        for zone in (zone for zones in self._zones.values() for zone in zones):
            zone.file.close()
        self._zones = {}

    def _add(self, folder: Folder) -> None:
        """Add one zone, unless it says nothing about throttling."""
        kind = folder.text("type")
        if kind is None or folder.text("mode") == "disabled" or kind.lower() in _NO_THERMOMETERS:
            return
        lowered = kind.lower()
        is_cpu = any(w in lowered for w in _CPU_WORDS) and not any(w in lowered for w in _NOT_CPU)
        limit = _limit(kind, folder)
        assumed = self._options.assumed_limit_c
        if limit is None and is_cpu and assumed is not None:
            limit = Reading(value=assumed, origin="modelled", source="assumed")
        if limit is None and not is_cpu:
            return
        zone = Thermometer(source=f"thermal:{kind}", file=folder.file("temp"), limit=limit)
        self._zones[is_cpu] = (*self._zones.get(is_cpu, ()), zone)


def _limit(kind: str, folder: Folder) -> Reading | None:
    """Return where the kernel begins to slow things down; ``None`` without a trip point."""
    trips: dict[str, list[float]] = {}
    for name in folder.names():
        if name.startswith("trip_point_") and name.endswith("_temp"):
            celsius = plausible_limit_c(folder.number(name))
            what = folder.text(name[:-4] + "type")
            if celsius is not None and what is not None:
                trips.setdefault(what, []).append(celsius)
    pick = max if folder.text("policy") == "power_allocator" else min
    for what in ("passive", "hot", "critical"):
        if what in trips:
            value = pick(trips[what])
            return Reading(value=value, origin="measured", source=f"thermal:{kind} {what}")
    return None


def create(options: Options) -> ThermalSensor:
    """Return the sensor."""
    return ThermalSensor(options)
