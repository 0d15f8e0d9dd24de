"""NVIDIA GPUs through ``nvidia-smi -q -x``, or from a file it was written to.

The tool opens the driver each time (14 ms to 0.6 s, and more without persistence mode), so it is
run seldom; nvidia-ml-py is better wherever it can be installed. It has no energy counter.
"""

__all__ = ["COMMAND", "NvidiaSmiSensor", "Options", "create"]

import importlib.util
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from metabolic.core.errors import SensorError
from metabolic.core.hardware import HardwareState
from metabolic.core.obstacle import Obstacle
from metabolic.sense.background import Background
from metabolic.sense.nvidia_gpu import Gpu, with_gpus
from metabolic.sense.nvidia_obstacles import no_driver, no_library, recorded_root
from metabolic.sense.nvidia_pci import NvidiaPci
from metabolic.sense.nvidia_smi_text import parse

COMMAND = ("nvidia-smi", "-q", "-x")
_FIRST_WAIT_S = 1.0
_LIBRARY = 12
_MOST_BYTES = 16 * 1024**2


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to run, how often, and how long its answer counts.

    ``file`` is one with the tool's output (XML or text), read instead of running anything; it
    counts while it was written less than ``file_age_s`` ago (0: always, as for a recording).
    ``deadline_s`` is when a run is killed. Below another ``root`` nothing is run, unless
    ``sysfs`` says where this machine's ``sys`` lies.
    """

    root: str = "/"
    sysfs: str | None = None
    command: tuple[str, ...] = COMMAND
    file: str | None = None
    file_age_s: float = 60.0
    period_s: float = 5.0
    deadline_s: float = 10.0


class NvidiaSmiSensor:
    """Reads every GPU the tool shows."""

    name = "nvidia_smi"

    def __init__(self, options: Options) -> None:
        """Run nothing; the first read does."""
        here = options.sysfs is not None or os.path.normpath(options.root) == "/"
        self._refused = () if here or options.file else (recorded_root(options.root),)
        self._root = options.sysfs or options.root
        self._options = options
        self._pci = NvidiaPci(self._root)
        self._scanned = False
        fetch: Callable[[], tuple[Gpu, ...]] = self._run if options.file is None else self._look
        self._background = Background(
            fetch,
            name="nvidia-smi",
            every_s=options.period_s,
            stale_s=options.period_s + options.deadline_s,
        )
        self._waited = False

    def read(self, state: HardwareState) -> HardwareState:
        """Return the state with what the tool last said of each GPU."""
        if self._refused:
            return state
        if not self._waited:
            self._waited = True
            self._background.wait(_FIRST_WAIT_S)
        fetched = self._background.latest()
        if fetched is None:
            return state
        return with_gpus(state, fetched.value, source="nvidia-smi", age_s=fetched.age_s)

    def obstacles(self) -> tuple[Obstacle, ...]:
        """Return why GPUs are not read, and that the library would read them better."""
        problem = self._background.problem()
        found = [*self._refused] if problem is None else [*self._refused, problem]
        if not found and importlib.util.find_spec("pynvml") is None:
            found.append(no_library(self._root, gpus=len(self._pci.read())))
        return tuple(one for one in found if one.kind != "absent" or problem is not None)

    def close(self) -> None:
        """Run it no more."""
        self._refused = (*self._refused, Obstacle(kind="configuration", what="closed"))
        self._background.close(self._pci.close)

    def _run(self) -> tuple[Gpu, ...]:
        """Run the tool, unless every GPU is asleep: it would wake them."""
        if not self._scanned:
            self._scanned = True
            self._pci.scan()
        slots = self._pci.read()
        if slots and all(slot.asleep for slot in slots):
            return tuple(Gpu(name=f"nvidia{i}", asleep=True) for i in range(len(slots)))
        try:
            done = subprocess.run(
                self._options.command,
                capture_output=True,
                check=False,
                stdin=subprocess.DEVNULL,
                timeout=self._options.deadline_s,
            )
        except subprocess.TimeoutExpired as exc:
            what = f"{self._options.command[0]} took longer than {self._options.deadline_s:g} s"
            raise SensorError(what, Obstacle(kind="driver", what=what)) from exc
        except OSError as exc:
            what = f"{self._options.command[0]}: {exc.strerror or exc}"
            obstacle = no_driver(self._root, code=_LIBRARY, what=what, gpus=len(slots))
            raise SensorError(what, obstacle) from exc
        text = done.stdout.decode("utf-8", "replace")
        if done.returncode:
            said = (text + done.stderr.decode("utf-8", "replace")).strip().split("\n", 1)[0]
            what = f"{self._options.command[0]} failed ({done.returncode}): {said[:200]}"
            raise SensorError(what, Obstacle(kind="driver", what=what))
        return parse(text)

    def _look(self) -> tuple[Gpu, ...]:
        """Read the file."""
        path, most_s = Path(self._options.file or ""), self._options.file_age_s
        try:
            with path.open("rb") as file:
                age_s = time.time() - os.fstat(file.fileno()).st_mtime
                text = file.read(_MOST_BYTES).decode("utf-8", "replace")
        except OSError as exc:
            what = f"{path}: {exc.strerror or exc}"
            raise SensorError(what, Obstacle(kind="unreachable", what=what)) from exc
        if 0 < most_s < age_s:
            what = f"{path} was written {age_s:.0f} s ago"
            raise SensorError(what, Obstacle(kind="stale", what=what))
        return parse(text)


def create(options: Options) -> NvidiaSmiSensor:
    """Return the sensor."""
    return NvidiaSmiSensor(options)
