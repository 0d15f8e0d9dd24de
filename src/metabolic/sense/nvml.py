"""NVIDIA's management library as a source of ``Gpu``s: opened when needed, reopened when lost.

All of this runs in one thread of its own (``background``), since a sick driver may hang in any
call. A lost GPU costs its own figures only; a lost driver is opened again until it is back.

A GPU that would fall asleep if left alone is left alone once it has been idle: the library is
shut down for a while, and as long as the GPU sleeps nothing is asked. An engine that holds a
model on it (its memory is used) keeps it awake and read.
"""

__all__ = ["Nvml"]

import contextlib
import importlib
import sys
import time
from collections.abc import Callable
from types import ModuleType

from metabolic.core.errors import SensorError
from metabolic.core.obstacle import Obstacle
from metabolic.sense.cadence import due
from metabolic.sense.nvidia_counter import EnergyCounter
from metabolic.sense.nvidia_gpu import Gpu
from metabolic.sense.nvidia_obstacles import no_driver, no_library
from metabolic.sense.nvidia_pci import NvidiaPci, bus_of
from metabolic.sense.nvml_gpu import DriverLost, GpuLost, NvmlGpu, Untyped

_NO_PERMISSION = 4
_SCAN_EVERY_S = 30.0
_REOPEN_AFTER_S = 30.0
"""When a GPU was lost, the rest are read on; after this long the library is asked anew for it."""

_RETRY_S = 2.0
_RETRY_ABSENT_S = 30.0
_REST_AFTER_S = 10.0
_REST_S = 20.0
"""Kernels suspend a GPU about 6 s after the last handle is closed; after a rest one looks again."""

_IDLE_BYTES = 64 * 1024**2
"""What a display server may hold on a GPU that nobody computes on."""

_ODD = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, OSError)


class Nvml:
    """Reads all GPUs, or only ``device`` (a name as ``nvidia0``, or a UUID)."""

    def __init__(
        self,
        *,
        root: str = "/",
        device: str | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open nothing yet; ``root`` is where ``sys`` lies."""
        self._root = root
        self._device = device
        self._monotonic = monotonic
        self._pci = NvidiaPci(root)
        self._scanned_s: float | None = None
        self._nvml: Untyped = None
        self._gpus: list[NvmlGpu] = []
        self._names: dict[str, str] = {}
        self._uuids: dict[str, str] = {}
        self._counters: dict[str, EnergyCounter] = {}
        self._retry: tuple[float, SensorError] | None = None
        self._reopen_s: float | None = None
        self._idle_since_s: float | None = None
        self._rests_until_s: float | None = None
        self.notes: tuple[Obstacle, ...] = ()

    def fetch(self) -> tuple[Gpu, ...]:
        """Return every GPU as it is now.

        Raises:
            SensorError: none can be read; it carries an ``Obstacle``.
        """
        now_s = self._monotonic()
        try:
            return self._fetch(now_s)
        except DriverLost as exc:
            raise self._lost(now_s, exc.nvml_code, str(exc)) from exc
        except _ODD as exc:
            raise self._lost(now_s, 0, f"{type(exc).__name__}: {exc}") from exc

    def shut(self) -> None:
        """Close the library, so that a GPU may sleep; the next fetch opens it again."""
        nvml, self._nvml, self._gpus = self._nvml, None, []
        if nvml is not None:
            with contextlib.suppress(nvml.NVMLError):  # a driver that is lost is shut already
                nvml.nvmlShutdown()

    def _fetch(self, now_s: float) -> tuple[Gpu, ...]:
        """Ask the kernel who sleeps, and the library about the others."""
        if due(self._scanned_s, now_s=now_s, every_s=_SCAN_EVERY_S):
            self._scanned_s = now_s
            self._pci.scan()
        slots = self._pci.read()
        sleeping = frozenset(slot.bus for slot in slots if slot.asleep)
        resting = self._rests_until_s is not None and now_s < self._rests_until_s
        if slots and (resting or len(sleeping) == len(slots)):
            self.shut()
            return self._asleep([slot.bus for slot in slots], resting=resting)
        self._rests_until_s = None
        self._open(now_s)
        gpus = self._read(now_s, sleeping)
        may_sleep = bool(slots) and all(slot.may_sleep for slot in slots)
        self._tire(now_s, gpus, may_sleep=may_sleep)
        return gpus

    def _asleep(self, buses: list[str], *, resting: bool) -> tuple[Gpu, ...]:
        """Return GPUs that are left alone."""
        what = "idle, and left alone so that it may sleep" if resting else "asleep, and left so"
        names = [self._name(bus) for bus in buses]
        gpus = tuple(
            Gpu(name=name, uuid=self._uuids.get(name, ""), asleep=True)
            for name in names
            if self._device in {None, name, self._uuids.get(name)}
        )
        self.notes = tuple(Obstacle(kind="asleep", what=f"{gpu.name} is {what}") for gpu in gpus)
        return gpus

    def _open(self, now_s: float) -> None:
        """Open the library if it is not, at most every few seconds."""
        if self._reopen_s is not None and now_s >= self._reopen_s:
            self._reopen_s = None
            self.shut()
        if self._nvml is not None:
            return
        if self._retry is not None and now_s < self._retry[0]:
            raise self._retry[1]
        nvml: Untyped = self._library(now_s)
        try:
            nvml.nvmlInit()
        except nvml.NVMLError as exc:
            raise DriverLost(exc.value, f"nvmlInit: {exc}") from exc
        self._nvml, self._retry, self.notes = nvml, None, ()
        self._gpus = self._list(nvml)

    def _library(self, now_s: float) -> ModuleType:
        """Import the binding, which is large: not where nothing speaks of a GPU."""
        unseen = int(sys.platform == "win32")  # Windows has no such files: it may have one
        obstacle = no_library(self._root, gpus=len(self._pci.read()) + unseen)
        if obstacle.kind != "absent":
            with contextlib.suppress(ImportError):
                return importlib.import_module("pynvml")
        error = SensorError(obstacle.what, obstacle)
        self._retry = now_s + _RETRY_ABSENT_S, error
        raise error

    def _list(self, nvml: Untyped) -> list[NvmlGpu]:
        """Return a handle of every GPU that answers."""
        found: list[NvmlGpu] = []
        try:
            count: int = nvml.nvmlDeviceGetCount()
        except nvml.NVMLError as exc:
            raise DriverLost(exc.value, f"nvmlDeviceGetCount: {exc}") from exc
        for index in range(count):
            try:
                handle: Untyped = nvml.nvmlDeviceGetHandleByIndex(index)
                key = _key(nvml, handle)
            except nvml.NVMLError as exc:
                self._note(f"GPU {index}: {exc}", denied=exc.value == _NO_PERMISSION)
                continue
            name = self._name(key, index)
            counter = self._counters.setdefault(key, EnergyCounter())
            gpu = NvmlGpu(nvml, handle, name=name, bus=key, counter=counter)
            self._uuids[gpu.name] = gpu.uuid
            if self._device in {None, gpu.name, gpu.uuid}:
                found.append(gpu)
        return found

    def _read(self, now_s: float, sleeping: frozenset[str]) -> tuple[Gpu, ...]:
        """Return every GPU; one that is lost is left out, and looked for later."""
        found: list[Gpu] = []
        for gpu in tuple(self._gpus):
            if gpu.bus in sleeping:
                found.append(Gpu(name=gpu.name, uuid=gpu.uuid, model=gpu.model, asleep=True))
                continue
            try:
                found.append(gpu.read(now_s))
            except GpuLost as exc:
                self._gpus.remove(gpu)
                self._note(str(exc))
                self._reopen_s = now_s + _REOPEN_AFTER_S
        if not found:
            self._reopen_s = self._reopen_s or now_s + _REOPEN_AFTER_S
            what = "; ".join(note.what for note in self.notes)
            if not what and self._device is not None:
                what = f"the driver shows no GPU {self._device}"
            nothing = Obstacle(kind="absent", what="the driver shows no GPU")
            raise SensorError(what, Obstacle(kind="driver", what=what) if what else nothing)
        return tuple(found)

    def _tire(self, now_s: float, gpus: tuple[Gpu, ...], *, may_sleep: bool) -> None:
        """Let go of GPUs that would sleep, once all have been idle for a while."""
        if not (may_sleep and all(_is_idle(gpu) for gpu in gpus)):
            self._idle_since_s = None
        elif self._idle_since_s is None:
            self._idle_since_s = now_s
        elif now_s - self._idle_since_s >= _REST_AFTER_S:
            self.shut()
            self._idle_since_s, self._rests_until_s = None, now_s + _REST_S

    def _lost(self, now_s: float, code: int, what: str) -> SensorError:
        """Close the library, and return what says why; it is tried again later."""
        self.shut()
        for counter in self._counters.values():
            counter.lose()
        obstacle = no_driver(self._root, code=code, what=what, gpus=len(self._pci.read()))
        error = SensorError(obstacle.what, obstacle)
        wait_s = _RETRY_ABSENT_S if obstacle.kind == "absent" else _RETRY_S
        self._retry = now_s + wait_s, error
        return error

    def _name(self, key: str, index: int | None = None) -> str:
        """Return the one name a GPU keeps: by its index, unless another has had that."""
        if key not in self._names:
            taken = set(self._names.values())
            wanted = len(taken) if index is None else index
            while f"nvidia{wanted}" in taken:
                wanted += 1
            self._names[key] = f"nvidia{wanted}"
        return self._names[key]

    def _note(self, what: str, *, denied: bool = False) -> None:
        """Keep what went wrong with one GPU."""
        kind = "permission" if denied else "driver"
        self.notes = (*self.notes, Obstacle(kind=kind, what=what))


def _key(nvml: Untyped, handle: Untyped) -> str:
    """Return what tells a GPU from the others: its place on the bus, else its UUID."""
    try:
        bus: str | bytes = nvml.nvmlDeviceGetPciInfo(handle).busId
    except nvml.NVMLError as exc:
        if exc.value not in {nvml.NVML_ERROR_FUNCTION_NOT_FOUND, nvml.NVML_ERROR_NOT_SUPPORTED}:
            raise
        return str(nvml.nvmlDeviceGetUUID(handle))
    return bus_of(bus.decode("ascii", "replace") if isinstance(bus, bytes) else bus)


def _is_idle(gpu: Gpu) -> bool:
    """Say whether nobody computes on a GPU or keeps anything there."""
    if gpu.asleep:
        return True
    used = gpu.memory_used_bytes
    return gpu.utilization_ratio == 0 and used is not None and used <= _IDLE_BYTES
