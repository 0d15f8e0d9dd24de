"""CPU energy from RAPL: the packages' counters, made to never wrap.

Only packages are read: ``core`` and ``dram`` lie inside or beside them by model, ``psys`` holds
them, and ``intel-rapl-mmio`` repeats them. The files belong to root on most systems since 2020
(CVE-2020-8694) and are masked in containers; then there is nothing to read.
Source: the kernel's powercap documentation.
"""

__all__ = ["Options", "Packages", "RaplSensor", "create"]

from msgspec import Struct

from metabolic.account.energy import counter_delta
from metabolic.core.hardware import HardwareState, Reading
from metabolic.core.units import j_from_microjoules, w_from_microwatts
from metabolic.sense.cadence import due
from metabolic.sense.files import Folder, KernelFile
from metabolic.sense.merge import with_device

_SOURCE = "rapl:package"
_ANY_LIMIT_W = 1_000.0
"""Stands in for a package's power limit; no package draws more, and 4,090 W means "none"."""

_POWER_OVER_S = 0.5
"""Power is the mean over at least this long: the counter itself is updated about every 1 ms."""


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the machine's ``sys`` lies."""

    root: str = "/"
    rescan_s: float = 30.0


class _Package:
    """One package's counter, unwrapped."""

    __slots__ = ("_file", "_last", "_range_j", "epoch", "limit_w", "total_j")

    def __init__(self, folder: Folder) -> None:
        """Read the range and the limit once."""
        self._file: KernelFile = folder.file("energy_uj")
        span = folder.number("max_energy_range_uj")
        limit = folder.number("constraint_0_power_limit_uw")
        self._range_j = j_from_microjoules(span) if span and span > 0 else None
        watts = w_from_microwatts(limit or 0)
        self.limit_w = watts if 0 < watts <= _ANY_LIMIT_W else None
        self._last: tuple[float, float] | None = None
        self.total_j = 0.0
        self.epoch = 0

    def advance(self, now_s: float) -> bool:
        """Read the counter; false when it cannot be read.

        A step that is neither forward nor a wrap begins a new epoch: the energy in between is
        unknown. After an unreadable spell the next step is judged the same way.
        """
        microjoules = self._file.number()
        if microjoules is None or microjoules < 0:
            return False
        value = j_from_microjoules(microjoules)
        last, self._last = self._last, (now_s, value)
        if last is None:
            return True
        delta = counter_delta(
            last[1],
            value,
            range_j=self._range_j,
            seconds=now_s - last[0],
            limit_w=_ANY_LIMIT_W,
        )
        if delta is None:
            self.epoch += 1
        else:
            self.total_j += delta
        return True

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Packages:
    """All packages of the machine as one counter."""

    def __init__(self, root: str) -> None:
        """Find them; those whose counter cannot be read are left out."""
        folder = Folder(root, "sys/class/powercap")
        found: dict[str, _Package] = {}
        for entry in folder.names():
            if not entry.startswith("intel-rapl:") or entry.count(":") != 1:
                continue
            zone = folder.sub(entry)
            name = zone.text("name") or ""
            readable = zone.number("energy_uj") is not None
            if name.startswith("package") and name not in found and readable:
                found[name] = _Package(zone)
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
        read = [package.advance(now_s) for package in self._packages]
        if not read or not all(read):
            return None
        return sum(package.total_j for package in self._packages)

    def close(self) -> None:
        """Close all files."""
        for package in self._packages:
            package.close()


class RaplSensor:
    """Reads the processor's energy, power and power limit."""

    name = "rapl"

    def __init__(self, options: Options) -> None:
        """Remember the options; the first read looks for packages."""
        self._options = options
        self._packages: Packages | None = None
        self._scanned_s: float | None = None
        self._since: tuple[float, float, int] | None = None
        self._power: Reading | None = None

    def read(self, state: HardwareState) -> HardwareState:
        """Return the state with the processor's energy counter, power and power limit."""
        now_s = state.taken_at_s
        packages = self._find(now_s)
        if not packages:
            return state
        total_j = packages.advance(now_s)
        if total_j is None:
            self._since = self._power = None
            return state
        self._measure(now_s, total_j, epoch=packages.epoch)
        limit_w = packages.limit_w
        limit = None
        if limit_w is not None:
            limit = Reading(value=limit_w, origin="measured", source="rapl:constraint_0")
        energy = Reading(value=total_j, origin="measured", source=_SOURCE)
        return with_device(
            state, "cpu", kind="cpu", energy_j=energy, power_w=self._power, power_limit_w=limit
        )

    def close(self) -> None:
        """Close all files."""
        if self._packages is not None:
            self._packages.close()
        self._packages = None

    def _find(self, now_s: float) -> Packages | None:
        """Return the packages, looking again now and then while there are none."""
        if self._packages:
            return self._packages
        if due(self._scanned_s, now_s=now_s, every_s=self._options.rescan_s):
            self._scanned_s = now_s
            self._packages = Packages(self._options.root)
        return self._packages

    def _measure(self, now_s: float, total_j: float, *, epoch: int) -> None:
        """Work out the mean power since long enough ago."""
        since = self._since
        if since is None or since[2] != epoch or now_s < since[0]:
            self._since, self._power = (now_s, total_j, epoch), None
        elif now_s - since[0] >= _POWER_OVER_S:
            watts = (total_j - since[1]) / (now_s - since[0])
            self._power = Reading(value=watts, origin="derived", source=_SOURCE)
            self._since = (now_s, total_j, epoch)


def create(options: Options) -> RaplSensor:
    """Return the sensor."""
    return RaplSensor(options)
