"""Is the processor slowed down right now: kernel throttle counters and cooling devices."""

__all__ = ["Throttling", "coolers"]

from metabolic.sense.cadence import due
from metabolic.sense.files import Folder, KernelFile

_COOLERS = (
    "Processor",
    "cpufreq",
    "thermal-cpufreq",
    "thermal-cpuidle",
    "intel_powerclamp",
    "cpu-throttle-alert",
)
"""Types of cooling devices that slow a processor (the last is a Jetson's); fans and displays are
others."""

_HOLD_S = 2.0
"""How long one throttling event counts as throttled."""


class Throttling:
    """Watches counters that only grow, and the state of cooling devices.

    Counters: ``package_throttle_count`` and ``core_throttle_count`` of the first CPU of each
    package (x86). Cooling devices: any processor's ``cur_state`` above 0 (-1 is off).
    """

    def __init__(self, root: str, *, every_s: float) -> None:
        """Find the files once; they do not come and go."""
        self._every_s = every_s
        self._counters = _counters(Folder(root, "sys/devices/system/cpu"))
        self._coolers = coolers(root, _COOLERS)
        self._counts: dict[str, int] = {}
        self._event_s: float | None = None
        self._read_s: float | None = None
        self._now: bool | None = None

    def __bool__(self) -> bool:
        """Say whether anything here can tell."""
        return bool(self._counters or self._coolers)

    def read(self, now_s: float) -> bool | None:
        """Return whether the processor is slowed; ``None`` when nothing here can tell."""
        if due(self._read_s, now_s=now_s, every_s=self._every_s):
            self._read_s = now_s
            self._now = self._look(now_s)
        return self._now

    def close(self) -> None:
        """Close all files."""
        for file in (*self._counters, *self._coolers):
            file.close()

    def _look(self, now_s: float) -> bool | None:
        """Read all files."""
        known, slowed = False, False
        for file in self._counters:
            count = file.number()
            if count is None:
                continue
            known = True
            if count > self._counts.get(file.path, count):
                self._event_s = now_s
            self._counts[file.path] = count
        for file in self._coolers:
            state = file.number()
            known = known or state is not None
            slowed = slowed or (state is not None and state > 0)
        held = self._event_s is not None and 0 <= now_s - self._event_s < _HOLD_S
        return (slowed or held) if known else None


def _counters(cpus: Folder) -> tuple[KernelFile, ...]:
    """Return the throttle counters, those of a package only once."""
    files: list[KernelFile] = []
    packages: set[int | None] = set()
    for name in cpus.names():
        if not (name.startswith("cpu") and name[3:].isdigit()):
            continue
        cpu = cpus.sub(name)
        package = cpu.number("topology/physical_package_id")
        if package in packages:
            continue
        packages.add(package)
        counters = [f"thermal_throttle/{kind}_throttle_count" for kind in ("package", "core")]
        files += [cpu.file(counter) for counter in counters if cpu.exists(counter)]
    return tuple(files)


def coolers(root: str, kinds: tuple[str, ...]) -> tuple[KernelFile, ...]:
    """Return the states of the cooling devices whose type begins with one of ``kinds``."""
    thermal = Folder(root, "sys/class/thermal")
    devices = [thermal.sub(n) for n in thermal.names() if n.startswith("cooling_device")]
    return tuple(
        device.file("cur_state")
        for device in devices
        if (device.text("type") or "").startswith(kinds)
    )
