"""The energy meter of one NVIDIA GPU: the driver's counter, read when it is asked for.

Reading waits a few milliseconds for the driver at most; one that hangs costs the reading, and
the window then grows. Where nothing else says what the GPU draws idle, it is learned: the least
power over a window at whose ends nothing ran. On a GPU that is never idle it stays unknown, and
the low bound says so. A sleeping GPU is not asked; its counter stands.
Source: NVML counts since Volta; the counter moves every 10 to 100 ms.
"""

__all__ = ["NvidiaMeter", "Options", "create"]

import os
import time
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from metabolic.core.obstacle import Obstacle
from metabolic.core.ports import Domain, MeterReading
from metabolic.sense.background import Background
from metabolic.sense.counter import IdleEnergy
from metabolic.sense.nvidia_gpu import Gpu
from metabolic.sense.nvidia_obstacles import hung, recorded_root
from metabolic.sense.nvml import Nvml

_FIRST_WAIT_S = 1.0
_HEARTBEAT_S = 60.0
_STALE_S = 2.0
_IDLE_UNKNOWN_LOW_RATIO = 0.5


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which GPU: ``nvidia0`` and so on, or its UUID.

    ``idle_w`` is what it draws with nothing running (``None``: learn it). Below another ``root``
    no driver is asked, unless ``sysfs`` says where this machine's ``sys`` lies. ``wait_s`` is how
    long a reading may wait for the driver; one that takes longer loses the reading.
    """

    device: str = "nvidia0"
    idle_w: float | None = None
    root: str = "/"
    sysfs: str | None = None
    wait_s: float = 0.005


class NvidiaMeter:
    """Counts the joules of one GPU."""

    domain: Domain = "gpu"

    def __init__(self, options: Options, *, clock: Callable[[], float] = time.time) -> None:
        """Start nothing; ``clock`` returns seconds since the epoch."""
        here = options.sysfs is not None or os.path.normpath(options.root) == "/"
        self.name = options.device
        self._refused = () if here else (recorded_root(options.root),)
        self._nvml = Nvml(root=options.sysfs or options.root, device=options.device)
        self._background = Background(
            self._nvml.fetch,
            name=f"NVIDIA's driver, asked for {options.device},",
            every_s=_HEARTBEAT_S,
            stale_s=_STALE_S,
        )
        self._wait_s = options.wait_s
        self._clock = clock
        self._waited = False
        self._at_s = 0.0
        self._last: MeterReading | None = None
        self._idle = IdleEnergy(options.idle_w)
        self._busy_ratio: float | None = None

    def read(self, pids: tuple[int, ...]) -> MeterReading | None:
        """Return the counter now; ``None`` while it cannot be read.

        Processes have no part in it: a GPU's joules do not follow CPU seconds.
        """
        del pids
        if self._refused:
            return None
        asked_s = time.monotonic()
        wait_s = self._wait_s if self._waited else _FIRST_WAIT_S
        self._waited = True
        fetched = self._background.renew(wait_s)
        gpu = fetched.value[0] if fetched is not None and fetched.value else None
        if fetched is None or gpu is None or fetched.age_s > time.monotonic() - asked_s:
            return None
        at_s = self._at_s = max(self._at_s, self._clock() - fetched.age_s)
        if gpu.asleep:
            self._last = None if self._last is None else replace(self._last, at_s=at_s)
        else:
            self._last = self._reading(at_s, gpu)
        return self._last

    def obstacles(self) -> tuple[Obstacle, ...]:
        """Return why the counter is not read."""
        problem = hung(self._background.problem())
        if problem is not None:
            return (*self._refused, problem)
        if self._last is None and self._background.latest() is not None:
            what = f"{self.name} has no energy counter (older than Volta)"
            return (*self._refused, Obstacle(kind="absent", what=what))
        return self._refused

    def close(self) -> None:
        """Have the thread shut the library and end; one that hangs is left behind."""
        self._refused = (*self._refused, Obstacle(kind="configuration", what="closed"))
        self._background.close(self._nvml.shut)

    def _reading(self, at_s: float, gpu: Gpu) -> MeterReading | None:
        """Return the counter of a GPU that is awake."""
        if gpu.energy_j is None:
            return None
        before, self._busy_ratio = self._busy_ratio, gpu.utilization_ratio
        known = before is not None and self._busy_ratio is not None
        busy_ratio = max(before or 0.0, self._busy_ratio or 0.0) if known else None
        idle, epoch = self._idle, gpu.energy_epoch
        idle.advance(at_s, gpu.energy_j, epoch=epoch, busy_ratio=busy_ratio)
        return MeterReading(
            at_s=at_s,
            energy_j=gpu.energy_j,
            origin="measured",
            low_ratio=_IDLE_UNKNOWN_LOW_RATIO if idle.watts is None else 1.0,
            idle_j=None if idle.watts is None else idle.total_j,
            epoch_id=epoch,
        )


def create(options: Options) -> NvidiaMeter:
    """Return the meter."""
    return NvidiaMeter(options)
