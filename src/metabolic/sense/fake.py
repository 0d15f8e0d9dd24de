"""A sensor that reads what a test or a demonstration says."""

__all__ = ["FakeSensor", "Options", "create"]

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from metabolic.core.hardware import HardwareState, Origin, Reading
from metabolic.sense.merge import with_battery, with_device, with_signals

_OF_DEVICE = (
    "temperature_c",
    "limit_c",
    "headroom_c",
    "power_w",
    "power_limit_w",
    "energy_j",
    "utilization_ratio",
)
_OF_MACHINE = (
    "memory_total_bytes",
    "memory_available_bytes",
    "cpu_pressure_ratio",
    "memory_pressure_ratio",
    "load_ratio",
)


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the machine shall read; ``None`` is what it cannot read."""

    device: str = "cpu"
    kind: Literal["cpu", "gpu", "board", "node"] = "cpu"
    origin: Origin = "measured"
    temperature_c: float | None = 50.0
    limit_c: float | None = 95.0
    headroom_c: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    energy_j: float | None = None
    utilization_ratio: float | None = None
    throttled: bool | None = None
    memory_total_bytes: float | None = None
    memory_available_bytes: float | None = None
    cpu_pressure_ratio: float | None = None
    memory_pressure_ratio: float | None = None
    load_ratio: float | None = None
    charge_ratio: float | None = None
    on_battery: bool | None = None


class FakeSensor:
    """A machine that tests make hot, cold or blind with ``set``."""

    name = "fake"

    def __init__(self, options: Options) -> None:
        """Start with what ``options`` say."""
        self._options = options
        self.reads = 0
        self.closed = False

    def set(self, **changes: object) -> None:
        """Change what is read from now on, by the names of ``Options``."""
        self._options = replace(self._options, **changes)

    def read(self, state: HardwareState) -> HardwareState:
        """Return the state with what the options say."""
        self.reads += 1
        options = self._options
        state = with_device(
            state,
            options.device,
            kind=options.kind,
            throttled=options.throttled,
            **{name: self._reading(name) for name in _OF_DEVICE},
        )
        state = with_signals(state, **{name: self._reading(name) for name in _OF_MACHINE})
        return with_battery(
            state, charge_ratio=self._reading("charge_ratio"), on_battery=options.on_battery
        )

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True

    def _reading(self, name: str) -> Reading | None:
        """Return one figure as a reading."""
        value: float | None = getattr(self._options, name)
        if value is None:
            return None
        return Reading(value=value, origin=self._options.origin, source=self.name)


def create(options: Options) -> FakeSensor:
    """Return the sensor."""
    return FakeSensor(options)
