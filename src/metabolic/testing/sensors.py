"""Conformance of sensors and meters: what every adapter of these seams must keep.

>>> from metabolic.sense.fake import Options, create
>>> check_sensor(create(Options()))
"""

__all__ = ["check_meter", "check_sensor"]

from math import isfinite
from typing import get_args

from metabolic.core.hardware import Battery, DeviceState, HardwareState, Reading
from metabolic.core.ports import Domain, Meter, MeterReading, Sensor

_AT_S = 1_700_000_000.0
_RANGES = {
    "temperature_c": (-40.0, 150.0),
    "limit_c": (0.0, 150.0),
    "headroom_c": (-150.0, 190.0),
    "power_w": (0.0, 1e6),
    "power_limit_w": (0.0, 1e6),
    "energy_j": (0.0, float("inf")),
    "utilization_ratio": (0.0, 1.0),
    "memory_used_bytes": (0.0, 1e16),
    "memory_total_bytes": (0.0, 1e16),
    "memory_available_bytes": (0.0, 1e16),
    "cpu_pressure_ratio": (0.0, 1.0),
    "memory_pressure_ratio": (0.0, 1.0),
    "load_ratio": (0.0, 1e6),
    "charge_ratio": (0.0, 1.0),
    "discharge_w": (-1e6, 1e6),
    "intensity_g_per_kwh": (0.0, 1e5),
    "price_usd_per_kwh": (-100.0, 100.0),
}
_ORIGINS = ("measured", "derived", "modelled")


def check_sensor(sensor: Sensor, *, polls: int = 3, period_s: float = 0.1) -> None:
    """Read a sensor as the probe does, then close it.

    Raises:
        AssertionError: it breaks the seam; the message says how. What the sensor itself raises
            (it must not) comes through.
    """
    _must(bool(sensor.name), "a sensor has a name")
    for poll in range(polls):
        at_s = _AT_S + poll * period_s
        state = sensor.read(HardwareState(taken_at_s=at_s))
        _must(state.taken_at_s == at_s, "read leaves taken_at_s alone")
        _must(state.failed == (), "read leaves failed to the probe")
        _check_state(state)
    _check_keeps(sensor, at_s=_AT_S + polls * period_s)
    sensor.read(HardwareState(taken_at_s=_AT_S - 3600.0))
    sensor.close()


def check_meter(meter: Meter, *, pids: tuple[int, ...] = ()) -> None:
    """Read a meter twice, with processes and without, then close it.

    Raises:
        AssertionError: it breaks the seam; the message says how.
    """
    _must(bool(meter.name), "a meter has a name")
    _must(meter.domain in get_args(Domain), f"unknown domain {meter.domain!r}")
    first, second = meter.read(pids), meter.read(pids)
    for reading in (first, second):
        if reading is not None:
            _check_reading(reading, pids)
    if first is not None and second is not None and first.epoch_id == second.epoch_id:
        _must(second.energy_j >= first.energy_j, "the counter never goes back within an epoch")
        _must(second.at_s >= first.at_s, "readings follow each other")
    empty = meter.read(())
    _must(empty is None or empty.cpu_s == (), "no process asked for, none answered")
    meter.close()


def _check_reading(reading: MeterReading, pids: tuple[int, ...]) -> None:
    """Check one meter reading."""
    _must(isfinite(reading.energy_j) and reading.energy_j >= 0, "energy is a number of joules")
    _must(reading.origin in _ORIGINS, f"unknown origin {reading.origin!r}")
    bounded = 0 <= reading.low_ratio <= 1 <= reading.high_ratio
    _must(bounded, "the bounds hold the figure")
    _must({pid for pid, _ in reading.cpu_s} <= set(pids), "only processes that were asked for")
    _must(all(seconds >= 0 for _, seconds in reading.cpu_s), "CPU seconds are not negative")


def _check_state(state: HardwareState) -> None:
    """Check every reading of a state."""
    names = [device.name for device in state.devices]
    _must(len(names) == len(set(names)), "each device appears once")
    for part in (state, *state.devices, state.battery, state.grid):
        if part is None:
            continue
        for name in part.__struct_fields__:
            value: object = getattr(part, name)
            if isinstance(value, Reading):
                _check_figure(name, value)


def _check_figure(name: str, reading: Reading) -> None:
    """Check one figure: a number, in range, with origin, source and age."""
    low, high = _RANGES.get(name, (-float("inf"), float("inf")))
    _must(isfinite(reading.value), f"{name} is not a number; unknown is None")
    _must(low <= reading.value <= high, f"{name} = {reading.value} is outside {low} to {high}")
    _must(reading.origin in _ORIGINS, f"{name} has the unknown origin {reading.origin!r}")
    _must(bool(reading.source), f"{name} does not say its source")
    _must(reading.age_s >= 0, f"{name} has a negative age")


def _check_keeps(sensor: Sensor, *, at_s: float) -> None:
    """Check that a sensor leaves alone what another measured before it."""
    one = Reading(value=41.5, origin="measured", source="before")
    given = HardwareState(
        taken_at_s=at_s,
        devices=(
            DeviceState(name="before", kind="node", temperature_c=one),
            DeviceState(name="cpu", kind="cpu", temperature_c=one, limit_c=one),
        ),
        memory_total_bytes=one,
        battery=Battery(on_battery=True),
    )
    state = sensor.read(given)
    kept = {device.name: device for device in state.devices}
    _must("cpu" in kept, "devices that were there stay there, left alone")
    _must(kept.get("before") == given.devices[0], "another sensor's device is left alone")
    _must(kept["cpu"].temperature_c == one, "the first source of a figure wins")
    _must(state.memory_total_bytes == one, "the first source of a figure wins")
    _must(state.battery is not None and state.battery.on_battery is True, "and so of a flag")


def _must(holds: bool, message: str) -> None:  # noqa: FBT001 - it is the whole point
    """Raise unless it holds."""
    if not holds:
        raise AssertionError(message)
