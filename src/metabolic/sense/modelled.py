"""The processor's energy where nothing measures it: CPU seconds times watts per busy core.

The default of 4 W per busy hardware thread lies amid what sweeps of four processors give (slopes
of RAPL power over busy threads: 2.5 W EPYC 8024P, 5.0 W E5-2620v3, 5.5 W Threadripper 1950X,
6.8 W E3-1240v2). The figure may be wrong by a factor of two either way, and its bounds say so.
Source: own fit of CodeCarbon's published load profiles.
"""

__all__ = ["ModelledMeter", "Options", "create"]

import time
from collections.abc import Callable

from msgspec import Struct

from metabolic.account.work import MODEL_HIGH_RATIO, MODEL_LOW_RATIO
from metabolic.core.ports import Domain, MeterReading
from metabolic.sense.cputime import BusyCpu, ProcessCpu


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The model: watts per busy core, and of the idle package.

    ``cpu_idle_w`` ``None`` is unknown: the meter then counts active energy alone.
    """

    root: str = "/"
    cpu_w_per_core: float = 4.0
    cpu_idle_w: float | None = None


class ModelledMeter:
    """Counts the joules the processor would have drawn by the model."""

    name = "cpu"
    domain: Domain = "package"

    def __init__(self, options: Options, *, clock: Callable[[], float] = time.time) -> None:
        """Remember the model; ``clock`` returns seconds since the epoch."""
        self._options = options
        self._clock = clock
        self._busy = BusyCpu(options.root)
        self._processes = ProcessCpu(options.root)
        self._last: tuple[float, float] | None = None
        self._active_j = 0.0
        self._idle_j = 0.0

    def read(self, pids: tuple[int, ...]) -> MeterReading | None:
        """Return the modelled counter now; ``None`` when CPU time cannot be read."""
        now_s, busy_s = self._clock(), self._busy.read()
        if busy_s is None:
            return None
        last, self._last = self._last or (now_s, busy_s), (now_s, busy_s)
        self._active_j += max(0.0, busy_s - last[1]) * self._options.cpu_w_per_core
        idle_w = self._options.cpu_idle_w
        self._idle_j += max(0.0, now_s - last[0]) * (idle_w or 0.0)
        return MeterReading(
            at_s=now_s,
            energy_j=self._active_j + self._idle_j,
            origin="modelled",
            low_ratio=MODEL_LOW_RATIO,
            high_ratio=MODEL_HIGH_RATIO,
            busy_cpu_s=busy_s,
            idle_j=None if idle_w is None else self._idle_j,
            cpu_s=self._processes.read(pids),
        )

    def close(self) -> None:
        """Close all files."""
        self._busy.close()


def create(options: Options) -> ModelledMeter:
    """Return the meter."""
    return ModelledMeter(options)
