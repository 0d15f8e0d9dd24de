"""What is asked of one GPU through nvidia-ml-py, and what its answers mean.

Every call may be missing (an older driver, an older binding), unsupported (the GPU, a MIG mode)
or fail once. The first two are asked again only after a while, so that a poll costs no more than
the answers it gets. Fields carry their own return code, each.
Source: NVML API reference; nvidia-ml-py 13.
"""

__all__ = ["DriverLost", "GpuLost", "NvmlGpu", "Untyped"]

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from metabolic.core.errors import SensorError
from metabolic.core.units import j_from_millijoules, ratio_from_percent, w_from_milliwatts
from metabolic.sense.cadence import due
from metabolic.sense.nvidia_counter import EnergyCounter
from metabolic.sense.nvidia_gpu import Gpu, held_by

Untyped = Any
"""What nvidia-ml-py and its handles are: it has no types."""

_ASK_AGAIN_S = 60.0
"""How long a figure the GPU does not have is left alone."""

_NOT_HERE = frozenset({2, 3, 4, 13, 25, 26})
"""Invalid argument, not supported, no permission, function not found, version, deprecated."""

_GPU_GONE = frozenset({6, 15, 16, 28})
"""Not found, GPU is lost, reset required, GPU not found."""

_DRIVER_GONE = frozenset({1, 9, 12, 18})
"""Uninitialised, driver not loaded, library not found, library and driver differ."""

_GPU_SENSOR = 0
_SHUTDOWN_AT, _SLOWDOWN_AT, _MEMORY_HIGHEST_AT, _HIGHEST_AT = 0, 1, 2, 3

_MEMORY_TEMPERATURE = 82
_TOTAL_ENERGY = 83
_AVERAGE_POWER = 185
_INSTANT_POWER = 186
_CURRENT_LIMIT = 190
_SLOWDOWN_MARGIN = 194
_SCOPE_GPU, _SCOPE_MODULE = 0, 1
_FIELDS = (
    (_MEMORY_TEMPERATURE, _SCOPE_GPU),
    (_INSTANT_POWER, _SCOPE_GPU),
    (_AVERAGE_POWER, _SCOPE_GPU),
    (_SLOWDOWN_MARGIN, _SCOPE_GPU),
)
_MODULE_FIELDS = (
    (_INSTANT_POWER, _SCOPE_MODULE),
    (_AVERAGE_POWER, _SCOPE_MODULE),
    (_CURRENT_LIMIT, _SCOPE_MODULE),
)
_VALUES = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
"""Where a field's value lies in its union, by its type."""


class GpuLost(SensorError):
    """One GPU answers no more: unplugged, fallen off the bus, or in need of a reset."""


class DriverLost(SensorError):
    """The driver answers no more; ``nvml_code`` is NVML's."""

    def __init__(self, code: int, what: str) -> None:
        """Remember why."""
        super().__init__(what)
        self.nvml_code = code


class _Limits(Struct, frozen=True):
    """What does not change while a GPU runs, but for MIG."""

    slowdown_c: float | None
    highest_c: float | None
    memory_highest_c: float | None
    is_shared: bool | None


class NvmlGpu:
    """One GPU under one handle."""

    def __init__(
        self, nvml: Untyped, handle: Untyped, *, name: str, bus: str, counter: EnergyCounter
    ) -> None:
        """Take the handle; ``counter`` outlives it, so that reopening loses no joules."""
        self._nvml = nvml
        self._handle = handle
        self.name = name
        self.bus = bus
        self.uuid = self._text("nvmlDeviceGetUUID")
        self.model = self._text("nvmlDeviceGetName")
        self._counter = counter
        self._absent: set[tuple[object, ...]] = set()
        self._asked_s: float | None = None
        self._limits = _Limits(None, None, None, None)

    def read(self, at_s: float) -> Gpu:
        """Return what it says now; ``at_s`` is monotonic.

        Raises:
            GpuLost: it answers no more.
            DriverLost: nothing does.
        """
        if due(self._asked_s, now_s=at_s, every_s=_ASK_AGAIN_S):
            self._asked_s = at_s
            self._absent.clear()
            self._limits = self._read_limits()
        fields = self._fields(_FIELDS)
        watts, kind, limit_w = self._power(fields)
        used, total = self._memory()
        limits = self._limits
        return Gpu(
            name=self.name,
            uuid=self.uuid,
            model=self.model,
            shared=limits.is_shared,
            temperature_c=self._temperature(),
            memory_c=_positive(fields.get((_MEMORY_TEMPERATURE, _SCOPE_GPU))),
            slowdown_c=limits.slowdown_c,
            highest_c=limits.highest_c,
            memory_highest_c=limits.memory_highest_c,
            margin_c=self._number("nvmlDeviceGetMarginTemperature"),
            slowdown_margin_c=fields.get((_SLOWDOWN_MARGIN, _SCOPE_GPU)),
            held=self._held(),
            power_w=watts,
            power_kind=kind,
            power_limit_w=limit_w,
            energy_j=self._energy(at_s, limit_w),
            energy_epoch=self._counter.epoch,
            utilization_ratio=None if limits.is_shared else self._utilization(),
            memory_used_bytes=used,
            memory_total_bytes=total,
        )

    def _read_limits(self) -> _Limits:
        """Ask what does not change: absolute thresholds exist beside T.Limit or instead of it."""
        mig = self._ask("nvmlDeviceGetMigMode")
        return _Limits(
            slowdown_c=self._threshold(_SLOWDOWN_AT),
            highest_c=self._threshold(_HIGHEST_AT),
            memory_highest_c=self._threshold(_MEMORY_HIGHEST_AT),
            is_shared=None if mig is None else mig[0] == 1,
        )

    def _threshold(self, which: int) -> float | None:
        """Return an absolute threshold; 0 is how some drivers say that there is none."""
        return _positive(self._number("nvmlDeviceGetTemperatureThreshold", which))

    def _temperature(self) -> float | None:
        """Return the core's temperature, by the newer call or the older."""
        newer = self._number("nvmlDeviceGetTemperatureV", _GPU_SENSOR)
        return newer if newer is not None else self._number("nvmlDeviceGetTemperature", _GPU_SENSOR)

    def _held(self) -> tuple[str, ...] | None:
        """Return what holds its clocks."""
        bits = self._ask("nvmlDeviceGetCurrentClocksEventReasons")
        if bits is None:
            bits = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        return None if bits is None else held_by(int(bits))

    def _power(
        self, fields: dict[tuple[int, int], float]
    ) -> tuple[float | None, str, float | None]:
        """Return its power, of which kind that is, and its limit.

        Instant before average, the GPU's own before the driver's choice before the module's: a
        module's power holds its processor too (Grace Hopper), so its limit then does as well.
        """
        limit = self._number("nvmlDeviceGetEnforcedPowerLimit")
        for field, kind in ((_INSTANT_POWER, "instant"), (_AVERAGE_POWER, "average")):
            milliwatts = fields.get((field, _SCOPE_GPU))
            if milliwatts is not None:
                return w_from_milliwatts(milliwatts), kind, _watts(limit)
        usage = self._number("nvmlDeviceGetPowerUsage")
        if usage is not None:
            return w_from_milliwatts(usage), "usage", _watts(limit)
        module = self._fields(_MODULE_FIELDS)
        for field, kind in ((_INSTANT_POWER, "instant"), (_AVERAGE_POWER, "average")):
            milliwatts = module.get((field, _SCOPE_MODULE))
            if milliwatts is not None:
                own = module.get((_CURRENT_LIMIT, _SCOPE_MODULE))
                return w_from_milliwatts(milliwatts), f"{kind}:module", _watts(own)
        return None, "usage", _watts(limit)

    def _energy(self, at_s: float, limit_w: float | None) -> float | None:
        """Return the joules so far."""
        millijoules = self._number("nvmlDeviceGetTotalEnergyConsumption")
        if millijoules is None:
            millijoules = self._fields(((_TOTAL_ENERGY, _SCOPE_GPU),)).get((_TOTAL_ENERGY, 0))
        if millijoules is None:
            return None
        return self._counter.advance(at_s, j_from_millijoules(millijoules), limit_w=limit_w)

    def _memory(self) -> tuple[float | None, float | None]:
        """Return used and total bytes; version 2 leaves the driver's reserve out of the used."""
        version = getattr(self._nvml, "nvmlMemory_v2", None)
        memory = None if version is None else self._ask("nvmlDeviceGetMemoryInfo", version)
        if memory is None:
            memory = self._ask("nvmlDeviceGetMemoryInfo")
        return (None, None) if memory is None else (float(memory.used), float(memory.total))

    def _utilization(self) -> float | None:
        """Return the share of time in which any kernel ran."""
        rates = self._ask("nvmlDeviceGetUtilizationRates")
        return None if rates is None else ratio_from_percent(rates.gpu)

    def _number(self, call: str, *args: object) -> float | None:
        """Return a call's answer as a number."""
        answer = self._ask(call, *args)
        return None if answer is None else float(answer)

    def _text(self, call: str) -> str:
        """Return a call's answer as text; empty if it has none."""
        try:
            return str(getattr(self._nvml, call)(self._handle))
        except (self._nvml.NVMLError, UnicodeDecodeError):
            return ""

    def _fields(self, wanted: tuple[tuple[int, int], ...]) -> dict[tuple[int, int], float]:
        """Return those fields that have a value, by field and scope."""
        key = ("nvmlDeviceGetFieldValues",)
        left = tuple(field for field in wanted if (*key, *field) not in self._absent)
        answers = self._ask(key[0], left) if left else None
        found: dict[tuple[int, int], float] = {}
        for field, answer in zip(left, answers or (), strict=False):
            if answer.nvmlReturn == 0 and 0 <= answer.valueType < len(_VALUES):
                found[field] = float(getattr(answer.value, _VALUES[answer.valueType]))
            elif answer.nvmlReturn in _NOT_HERE:
                self._absent.add((*key, *field))
        return found

    def _ask(self, call: str, *args: object) -> Untyped:
        """Return a call's answer; ``None`` if there is none, now or at all."""
        key = (call, *args)
        if key in self._absent:
            return None
        function: Callable[..., Any] | None = getattr(self._nvml, call, None)
        if function is None:
            self._absent.add(key)
            return None
        try:
            return function(self._handle, *args)
        except self._nvml.NVMLError as exc:
            code: int = exc.value
            if code in _DRIVER_GONE:
                raise DriverLost(code, f"{call}: {exc}") from exc
            if code in _GPU_GONE:
                message = f"{self.name} ({self.model or self.uuid}): {exc}"
                raise GpuLost(message) from exc
            if code in _NOT_HERE:
                self._absent.add(key)
            return None


def _positive(value: float | None) -> float | None:
    """Return a temperature that is one; 0 stands for none."""
    return value if value is not None and value > 0 else None


def _watts(milliwatts: float | None) -> float | None:
    """Return a limit in watts; 0 stands for none."""
    return w_from_milliwatts(milliwatts) if milliwatts else None
