"""The processor's energy meter: RAPL where it can be read, else the CPU time model.

What the machine would draw idle is learned: the least power seen in a window in which the
processor was almost idle. A minimum over all windows would be wrong on a machine that is busy
from the start, so until an idle window has been seen it is unknown, and the low bound says so.
"""

__all__ = ["Options", "RaplMeter", "create"]

import time
from collections.abc import Callable

from msgspec import Struct

from metabolic.core.ports import Domain, Meter, MeterReading
from metabolic.sense import modelled
from metabolic.sense.cputime import BusyCpu, ProcessCpu
from metabolic.sense.rapl import Packages

_IDLE_BUSY_RATIO = 0.05
_IDLE_OVER_S = 0.5
_IDLE_UNKNOWN_LOW_RATIO = 0.5


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to read, and what to do without RAPL.

    ``cpu_idle_w`` is what the packages draw idle (``None``: learn it). With ``fallback`` a
    machine without readable RAPL gets the CPU time model (``cpu_w_per_core``), flagged so.
    """

    root: str = "/"
    fallback: bool = True
    cpu_w_per_core: float = 4.0
    cpu_idle_w: float | None = None


class RaplMeter:
    """Counts the joules of all packages."""

    name = "cpu"
    domain: Domain = "package"

    def __init__(self, options: Options, *, clock: Callable[[], float] = time.time) -> None:
        """Find the packages; ``clock`` returns seconds since the epoch."""
        self._clock = clock
        self._packages = Packages(options.root)
        self._busy = BusyCpu(options.root)
        self._processes = ProcessCpu(options.root)
        self._idle_w = options.cpu_idle_w
        self._learns = options.cpu_idle_w is None
        self._idle_j = 0.0
        self._last: tuple[float, float, float, int] | None = None

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
        self._idle(now_s, total_j, busy_s)
        known = self._idle_w is not None
        return MeterReading(
            at_s=now_s,
            energy_j=total_j,
            origin="measured",
            low_ratio=1.0 if known else _IDLE_UNKNOWN_LOW_RATIO,
            busy_cpu_s=busy_s,
            idle_j=self._idle_j if known else None,
            epoch_id=self._packages.epoch,
            cpu_s=self._processes.read(pids),
        )

    def close(self) -> None:
        """Close all files."""
        self._packages.close()
        self._busy.close()

    def _idle(self, now_s: float, total_j: float, busy_s: float | None) -> None:
        """Add up the idle energy, and learn its power from windows that were almost idle."""
        epoch = self._packages.epoch
        last, now = self._last, (now_s, total_j, busy_s or 0.0, epoch)
        if last is None or last[3] != epoch or now_s <= last[0]:
            self._last = now
            return
        seconds, watts = now_s - last[0], (total_j - last[1]) / (now_s - last[0])
        cores = self._busy.cores
        if self._learns and busy_s is not None and cores and seconds >= _IDLE_OVER_S:
            was_idle = (busy_s - last[2]) / (seconds * cores) < _IDLE_BUSY_RATIO
            if was_idle:
                self._idle_w = watts if self._idle_w is None else min(self._idle_w, watts)
        if self._idle_w is not None:
            self._idle_j += min(self._idle_w * seconds, total_j - last[1])
        self._last = now


def create(options: Options) -> Meter:
    """Return the meter; without readable RAPL the model, if ``fallback`` allows it."""
    meter = RaplMeter(options)
    if meter or not options.fallback:
        return meter
    return modelled.create(
        modelled.Options(
            root=options.root,
            cpu_w_per_core=options.cpu_w_per_core,
            cpu_idle_w=options.cpu_idle_w,
        )
    )
