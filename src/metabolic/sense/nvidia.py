"""NVIDIA GPUs through nvidia-ml-py (extra ``nvidia``), else through nvidia-smi.

The driver is asked twice a second by one thread; ``read`` gives what it said last, with its age.
NVML takes the driver's lock and slows the GPU's work a little, so it is not asked at every poll,
and never for lists of processes (milliseconds). A driver that hangs costs the figures, which then
are unknown, and nothing else: no second thread is started, and no exit waits for it. (A thread
stuck inside the kernel keeps its process in the table until the kernel lets go; nothing can help
that.)
"""

__all__ = ["NvidiaSensor", "Options", "create"]

import importlib.util
import os
import shutil

from msgspec import Struct

from metabolic.core.hardware import HardwareState
from metabolic.core.obstacle import Obstacle
from metabolic.core.ports import Sensor
from metabolic.sense import nvidia_smi
from metabolic.sense.background import Background
from metabolic.sense.nvidia_gpu import with_gpus
from metabolic.sense.nvidia_obstacles import hung, recorded_root
from metabolic.sense.nvml import Nvml

_FIRST_WAIT_S = 1.0
"""How long the first read waits for the driver, so that the machine is known from the start."""


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often to ask, and how long an answer counts.

    ``deadline_s`` is how old a figure may be; a driver that takes longer hangs. ``fallback``
    takes nvidia-smi, more seldom, where nvidia-ml-py is not installed. Below another ``root`` no
    driver is asked, unless ``sysfs`` says where this machine's ``sys`` lies.
    """

    root: str = "/"
    sysfs: str | None = None
    period_s: float = 0.5
    deadline_s: float = 2.0
    fallback: bool = True


class NvidiaSensor:
    """Reads every NVIDIA GPU."""

    name = "nvidia"

    def __init__(self, options: Options) -> None:
        """Start nothing; the first read does."""
        here = options.sysfs is not None or os.path.normpath(options.root) == "/"
        self._refused = () if here else (recorded_root(options.root),)
        self._nvml = Nvml(root=options.sysfs or options.root)
        self._background = Background(
            self._nvml.fetch,
            name="NVIDIA's driver",
            every_s=options.period_s,
            stale_s=max(options.deadline_s, 2 * options.period_s),
        )
        self._waited = False

    def read(self, state: HardwareState) -> HardwareState:
        """Return the state with what the driver last said of each GPU."""
        if self._refused:
            return state
        if not self._waited:
            self._waited = True
            self._background.wait(_FIRST_WAIT_S)
        fetched = self._background.latest()
        if fetched is None:
            return state
        return with_gpus(state, fetched.value, source="nvml", age_s=fetched.age_s)

    def obstacles(self) -> tuple[Obstacle, ...]:
        """Return why GPUs, or some of them, are not read."""
        problem = hung(self._background.problem())
        notes = tuple(note for note in self._nvml.notes if problem is None or note != problem)
        return (*self._refused, *(() if problem is None else (problem,)), *notes)

    def close(self) -> None:
        """Have the thread shut the library and end; one that hangs is left behind."""
        self._refused = (*self._refused, Obstacle(kind="configuration", what="closed"))
        self._background.close(self._nvml.shut)


def create(options: Options) -> Sensor:
    """Return the sensor; without nvidia-ml-py that of nvidia-smi, if ``fallback`` allows it."""
    if (
        options.fallback
        and os.path.normpath(options.root) == "/"
        and importlib.util.find_spec("pynvml") is None
        and shutil.which(nvidia_smi.COMMAND[0]) is not None
    ):
        return nvidia_smi.create(nvidia_smi.Options(sysfs=options.sysfs))
    return NvidiaSensor(options)
