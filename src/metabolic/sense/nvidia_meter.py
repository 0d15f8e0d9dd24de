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

from metabolic.core.obstacle import Obstacle
from metabolic.core.ports import Domain, MeterReading
from metabolic.sense.background import Background
from metabolic.sense.nvidia_gpu import Gpu
from metabolic.sense.nvidia_obstacles import recorded_root
from metabolic.sense.nvml import Nvml

_FIRST_WAIT_S = 1.0
_HEARTBEAT_S = 60.0
_STALE_S = 2.0
_IDLE_OVER_S = 0.5
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
            name=f"metabolic-{options.device}",
            every_s=_HEARTBEAT_S,
            stale_s=_STALE_S,
        )
        self._wait_s = options.wait_s
        self._clock = clock
        self._waited = False
        self._at_s = 0.0
        self._asleep: MeterReading | None = None
        self._learns = options.idle_w is None
        self._idle_w = options.idle_w
        self._idle_j = 0.0
        self._last: tuple[float, Gpu] | None = None

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
        if gpu.asleep or gpu.energy_j is None:
            return self._standing(at_s) if gpu.asleep else None
        self._idle(at_s, gpu, gpu.energy_j)
        known = self._idle_w is not None
        self._asleep = MeterReading(
            at_s=at_s,
            energy_j=gpu.energy_j,
            origin="measured",
            low_ratio=1.0 if known else _IDLE_UNKNOWN_LOW_RATIO,
            idle_j=self._idle_j if known else None,
            epoch_id=gpu.energy_epoch,
        )
        return self._asleep

    def obstacles(self) -> tuple[Obstacle, ...]:
        """Return why the counter is not read."""
        problem = self._background.problem()
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

    def _standing(self, at_s: float) -> MeterReading | None:
        """Return the counter of a sleeping GPU: as it was, later."""
        last = self._asleep
        if last is None:
            return None
        return MeterReading(
            at_s=at_s,
            energy_j=last.energy_j,
            origin=last.origin,
            low_ratio=last.low_ratio,
            idle_j=last.idle_j,
            epoch_id=last.epoch_id,
        )

    def _idle(self, at_s: float, gpu: Gpu, energy_j: float) -> None:
        """Add up the idle energy, and learn its power from windows in which nothing ran."""
        last = self._last
        same = last is not None and last[1].energy_epoch == gpu.energy_epoch
        if last is None or not same or at_s <= last[0]:
            self._last = (at_s, gpu)
            return
        seconds = at_s - last[0]
        step_j = energy_j - (last[1].energy_j or 0.0)
        quiet = gpu.utilization_ratio == 0 and last[1].utilization_ratio == 0
        if self._learns and quiet and seconds >= _IDLE_OVER_S:
            watts = step_j / seconds
            self._idle_w = watts if self._idle_w is None else min(self._idle_w, watts)
        if self._idle_w is not None:
            self._idle_j += min(self._idle_w * seconds, step_j)
        self._last = (at_s, gpu)


def create(options: Options) -> NvidiaMeter:
    """Return the meter."""
    return NvidiaMeter(options)
