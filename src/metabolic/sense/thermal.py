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
from metabolic.sense.cadence import due
from metabolic.sense.files import Folder, KernelFile
from metabolic.sense.hwmon import plausible_c, plausible_limit_c
from metabolic.sense.merge import with_device
from metabolic.sense.throttling import Throttling

_CPU_WORDS = ("cpu", "pkg", "soc", "tj", "coretemp", "bcm2", "big", "little", "cluster")
_NOT_CPU = ("gpu", "socket", "board")


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where and how often to read; ``assumed_limit_c`` as for hwmon, for CPU zones only."""

    root: str = "/"
    assumed_limit_c: float | None = 90.0
    throttle_every_s: float = 0.5
    rescan_s: float = 30.0


class _Zone(Struct, frozen=True, kw_only=True):
    """One zone: its temperature file, its limit, and the device it speaks for."""

    source: str
    file: KernelFile
    limit: Reading | None
    is_cpu: bool


class ThermalSensor:
    """Reads thermal zones and the throttling of the processor."""

    name = "thermal"

    def __init__(self, options: Options) -> None:
        """Remember the options; the first read looks for zones."""
        self._options = options
        self._folder = Folder(options.root, "sys/class/thermal")
        self._zones: tuple[_Zone, ...] = ()
        self._throttling: Throttling | None = None
        self._scanned_s: float | None = None

    def read(self, state: HardwareState) -> HardwareState:
        """Return the state with temperatures, limits and throttling of processor and board."""
        now_s = state.taken_at_s
        if due(self._scanned_s, now_s=now_s, every_s=self._options.rescan_s):
            self._scan(now_s)
        throttled = self._throttling.read(now_s) if self._throttling else None
        temperature, limit = self._worst(is_cpu=True)
        state = with_device(
            state,
            "cpu",
            kind="cpu",
            temperature_c=temperature,
            limit_c=limit,
            throttled=throttled,
        )
        temperature, limit = self._worst(is_cpu=False)
        return with_device(state, "board", kind="board", temperature_c=temperature, limit_c=limit)

    def close(self) -> None:
        """Close all files."""
        for zone in self._zones:
            zone.file.close()
        if self._throttling is not None:
            self._throttling.close()
        self._zones, self._throttling = (), None

    def _worst(self, *, is_cpu: bool) -> tuple[Reading | None, Reading | None]:
        """Return temperature and limit of the zone nearest to its limit."""
        worst: tuple[Reading | None, Reading | None] = (None, None)
        least = float("inf")
        for zone in self._zones:
            celsius = plausible_c(zone.file.number()) if zone.is_cpu == is_cpu else None
            if celsius is None:
                continue
            room = (zone.limit.value if zone.limit else 150.0) - celsius
            if room < least:
                reading = Reading(value=celsius, origin="measured", source=zone.source)
                worst, least = (reading, zone.limit), room
        return worst

    def _scan(self, now_s: float) -> None:
        """Look for zones anew; throttle counters are kept, since only their growth speaks."""
        for zone in self._zones:
            zone.file.close()
        self._scanned_s = now_s
        if self._throttling is None:
            every_s = self._options.throttle_every_s
            self._throttling = Throttling(self._options.root, every_s=every_s)
        names = [name for name in self._folder.names() if name.startswith("thermal_zone")]
        zones = [self._zone(self._folder.sub(name)) for name in names]
        self._zones = tuple(zone for zone in zones if zone is not None)

    def _zone(self, folder: Folder) -> _Zone | None:
        """Return one zone; ``None`` for those that say nothing about throttling."""
        kind = folder.text("type")
        if kind is None or folder.text("mode") == "disabled":
            return None
        lowered = kind.lower()
        is_cpu = any(w in lowered for w in _CPU_WORDS) and not any(w in lowered for w in _NOT_CPU)
        limit = _limit(kind, folder)
        assumed = self._options.assumed_limit_c
        if limit is None and is_cpu and assumed is not None:
            limit = Reading(value=assumed, origin="modelled", source="assumed")
        if limit is None and not is_cpu:
            return None
        source = f"thermal:{kind}"
        return _Zone(source=source, file=folder.file("temp"), limit=limit, is_cpu=is_cpu)


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
