"""The processor's energy meter: RAPL where it can be read, else the CPU time model.

What the machine would draw idle is learned (``IdleEnergy``); until it is known the low bound says
so.
"""

__all__ = ["Options", "RaplMeter", "create"]

import time
from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from metabolic.core.ports import Domain, Meter, MeterReading
from metabolic.sense import modelled
from metabolic.sense.counter import IdleEnergy
from metabolic.sense.cputime import BusyCpu, ProcessCpu
from metabolic.sense.rapl import PACKAGE, PLATFORM, Packages

_IDLE_UNKNOWN_LOW_RATIO = 0.5


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to read, and what to do without RAPL.

    ``cpu_idle_w`` is what the packages draw idle (``None``: learn it). With ``fallback`` a
    machine without readable RAPL gets the CPU time model (``cpu_w_per_core``), flagged so.
    ``zone`` is ``package`` for the processor's packages, or ``psys`` for a laptop's whole
    platform, which holds them and has no model to fall back on.
    """

    root: str = "/"
    zone: Literal["package", "psys"] = "package"
    fallback: bool = True
    cpu_w_per_core: float = 4.0
    cpu_idle_w: float | None = None


class RaplMeter:
    """Counts the joules of all packages, or of the platform."""

    def __init__(self, options: Options, *, clock: Callable[[], float] = time.time) -> None:
        """Find the packages; ``clock`` returns seconds since the epoch."""
        whole = options.zone == "psys"
        self.name = "board" if whole else "cpu"
        self.domain: Domain = "board" if whole else "package"
        self._clock = clock
        self._packages = Packages(options.root, kind=PLATFORM if whole else PACKAGE)
        self._busy = BusyCpu(options.root)
        self._processes = ProcessCpu(options.root)
        self._idle = IdleEnergy(options.cpu_idle_w)
        self._busy_last: tuple[float, float] | None = None

    def __bool__(self) -> bool:
        """Say whether there is anything to read."""
        return bool(self._packages)

    def read(self, pids: tuple[int, ...]) -> MeterReading | None:
        """Return the counter now; ``None`` while a package cannot be read."""
        now_s = self._clock()
        total_j = self._packages.advance(now_s)
        if total_j is None:
            return None
        busy_s = self._busy.read()
        ratio = self._busy_ratio(now_s, busy_s)
        self._idle.advance(now_s, total_j, epoch=self._packages.epoch, busy_ratio=ratio)
        known = self._idle.watts is not None
        return MeterReading(
            at_s=now_s,
            energy_j=total_j,
            origin="measured",
            low_ratio=1.0 if known else _IDLE_UNKNOWN_LOW_RATIO,
            busy_cpu_s=busy_s,
            idle_j=self._idle.total_j if known else None,
            epoch_id=self._packages.epoch,
            cpu_s=self._processes.read(pids),
        )

    def close(self) -> None:
        """Close all files."""
        self._packages.close()
        self._busy.close()

    def _busy_ratio(self, now_s: float, busy_s: float | None) -> float | None:
        """Return the share of all cores that worked since the last reading."""
        last = self._busy_last
        self._busy_last = None if busy_s is None else (now_s, busy_s)
        cores = self._busy.cores
        if last is None or busy_s is None or not cores or now_s <= last[0]:
            return None
        return (busy_s - last[1]) / ((now_s - last[0]) * cores)


def create(options: Options) -> Meter:
    """Return the meter; without readable RAPL the model, if ``fallback`` allows it."""
    meter = RaplMeter(options)
    if meter or not options.fallback or options.zone == "psys":
        return meter
    return modelled.create(
        modelled.Options(
            root=options.root,
            cpu_w_per_core=options.cpu_w_per_core,
            cpu_idle_w=options.cpu_idle_w,
        )
    )
