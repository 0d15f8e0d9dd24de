"""Energy from RAPL: the counters of packages and platform, made to never wrap.

Packages are added up and nothing else is: ``core`` and ``dram`` lie inside or beside them by
model, and ``intel-rapl-mmio`` repeats them. ``psys``, where a laptop has it, is the whole platform
with the packages in it, and so a device of its own (``board``). The files belong to root on most
systems since 2020 (CVE-2020-8694) and are masked in containers; then there is nothing to read.
Source: the kernel's powercap documentation.
"""

__all__ = ["PACKAGE", "PLATFORM", "Options", "Packages", "RaplSensor", "create"]

from msgspec import Struct

from metabolic.core.hardware import HardwareState, Reading
from metabolic.core.obstacle import Obstacle
from metabolic.core.units import j_from_microjoules, w_from_microwatts
from metabolic.sense.cadence import due
from metabolic.sense.counter import MeanPower, Unwrapped
from metabolic.sense.files import Folder, KernelFile
from metabolic.sense.merge import with_device

_SOURCE = "rapl:package"
_ANY_LIMIT_W = 1_000.0
"""Stands in for a package's power limit; no package draws more, and 4,090 W means "none"."""

PACKAGE, PLATFORM = "package", "psys"
"""What the names of the two kinds of zones begin with."""

_REMEDY = (
    "let the gateway's user read energy_uj: a udev rule, a systemd service with"
    " CAP_DAC_READ_SEARCH, or `chmod` at boot (other users can then guess at secrets from power:"
    " CVE-2020-8694)"
)
_ABSENT = Obstacle(
    kind="platform", what="no RAPL (powercap) here; usual in virtual machines and containers"
)


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the machine's ``sys`` lies."""

    root: str = "/"
    rescan_s: float = 30.0


class _Package(Unwrapped):
    """One package's counter."""

    __slots__ = ("_file", "limit_w")

    def __init__(self, folder: Folder) -> None:
        """Read the range and the limit once."""
        span = folder.number("max_energy_range_uj")
        range_j = j_from_microjoules(span) if span and span > 0 else None
        super().__init__(range_j=range_j, limit_w=_ANY_LIMIT_W)
        self._file: KernelFile = folder.file("energy_uj")
        watts = w_from_microwatts(folder.number("constraint_0_power_limit_uw") or 0)
        self.limit_w = watts if 0 < watts <= _ANY_LIMIT_W else None

    def look(self, now_s: float) -> bool:
        """Read the counter; false when it cannot be read."""
        microjoules = self._file.number()
        if microjoules is None or microjoules < 0:
            return False
        self.advance(j_from_microjoules(microjoules), now_s)
        return True

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Packages:
    """All packages of the machine as one counter; or the platform."""

    def __init__(self, root: str, *, kind: str = PACKAGE) -> None:
        """Find them; those whose counter cannot be read are left out, and ``denied`` says so."""
        folder = Folder(root, "sys/class/powercap")
        found: dict[str, _Package] = {}
        self.denied: str | None = None
        for entry in folder.names():
            if not entry.startswith("intel-rapl:") or entry.count(":") != 1:
                continue
            zone = folder.sub(entry)
            name = zone.text("name") or ""
            if not name.startswith(kind) or name in found:
                continue
            if zone.number("energy_uj") is not None:
                found[name] = _Package(zone)
            elif zone.denied("energy_uj"):
                self.denied = f"{entry}/energy_uj"
        self._packages = tuple(found.values())

    def __bool__(self) -> bool:
        """Say whether there is any."""
        return bool(self._packages)

    @property
    def limit_w(self) -> float | None:
        """The packages' long-term power limits together; ``None`` unless all are known."""
        limits = [package.limit_w for package in self._packages]
        known = [limit for limit in limits if limit is not None]
        return sum(known) if known and len(known) == len(limits) else None

    @property
    def epoch(self) -> int:
        """Grows whenever a counter was lost."""
        return sum(package.epoch for package in self._packages)

    def advance(self, now_s: float) -> float | None:
        """Return joules since the first reading; ``None`` unless every package can be read."""
        read = [package.look(now_s) for package in self._packages]
        if not read or not all(read):
            return None
        return sum(package.total_j for package in self._packages)

    def close(self) -> None:
        """Close all files."""
        for package in self._packages:
            package.close()


class _Device:
    """One kind of zones as a device."""

    def __init__(self, root: str, *, kind: str) -> None:
        """Find the zones."""
        self.packages = Packages(root, kind=kind)
        self._source = f"rapl:{kind}"
        self._power = MeanPower(self._source)

    def read(self, now_s: float) -> dict[str, Reading | None]:
        """Return energy, power and limit; empty while they cannot be read."""
        packages = self.packages
        total_j = packages.advance(now_s) if packages else None
        if total_j is None:
            self._power.forget()
            return {}
        watts = packages.limit_w
        limit = None
        if watts is not None:
            limit = Reading(value=watts, origin="measured", source="rapl:constraint_0")
        return {
            "energy_j": Reading(value=total_j, origin="measured", source=self._source),
            "power_w": self._power.advance(now_s, total_j, epoch=packages.epoch),
            "power_limit_w": limit,
        }


class RaplSensor:
    """Reads energy, power and power limit of the processor, and of the platform."""

    name = "rapl"

    def __init__(self, options: Options) -> None:
        """Remember the options; the first read looks for zones."""
        self._options = options
        self._cpu: _Device | None = None
        self._board: _Device | None = None
        self._scanned_s: float | None = None

    def read(self, state: HardwareState) -> HardwareState:
        """Return the state with the energy counters, powers and power limits."""
        now_s = state.taken_at_s
        self._find(now_s)
        if self._cpu is None or self._board is None:
            return state
        state = with_device(state, "cpu", kind="cpu", **self._cpu.read(now_s))
        return with_device(state, "board", kind="board", **self._board.read(now_s))

    def obstacles(self) -> tuple[Obstacle, ...]:
        """Return why there is no counter: not allowed, or not there."""
        if self._cpu is None or self._cpu.packages:
            return ()
        denied = self._cpu.packages.denied
        if denied is None:
            return (_ABSENT,)
        return (Obstacle(kind="permission", what=f"{denied} is root's alone", remedy=_REMEDY),)

    def close(self) -> None:
        """Close all files."""
        for device in (self._cpu, self._board):
            if device is not None:
                device.packages.close()
        self._cpu = self._board = None

    def _find(self, now_s: float) -> None:
        """Look for zones, and again now and then while there are none."""
        if self._cpu is not None and self._cpu.packages:
            return
        if due(self._scanned_s, now_s=now_s, every_s=self._options.rescan_s):
            self._scanned_s = now_s
            self._cpu = _Device(self._options.root, kind=PACKAGE)
            self._board = _Device(self._options.root, kind=PLATFORM)


def create(options: Options) -> RaplSensor:
    """Return the sensor."""
    return RaplSensor(options)
