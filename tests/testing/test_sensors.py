"""The conformance suites find what is wrong."""

import math

import pytest
from msgspec.structs import replace

from metabolic.core.hardware import DeviceState, HardwareState, Origin, Reading
from metabolic.core.ports import Domain, MeterReading
from metabolic.sense import fake, fake_meter
from metabolic.testing.sensors import check_meter, check_sensor


class _Sensor:
    name = "strange"

    def __init__(self, change: object) -> None:
        self._change = change

    def read(self, state: HardwareState) -> HardwareState:
        return self._change(state)  # type: ignore[operator]

    def close(self) -> None:
        """Nothing to close."""


def _figure(
    value: float, *, origin: Origin = "measured", source: str = "s", age_s: float = 0.0
) -> object:
    reading = Reading(value=value, origin=origin, source=source, age_s=age_s)
    device = DeviceState(name="own", kind="cpu", temperature_c=reading)
    return lambda state: replace(state, devices=(*state.devices, device))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_figure(-256.0), "outside"),
        (_figure(math.nan), "not a number"),
        (_figure(50.0, age_s=-1.0), "negative age"),
        (_figure(50.0, source=""), "source"),
        (lambda state: replace(state, taken_at_s=0.0), "taken_at_s"),
        (lambda state: replace(state, failed=("x",)), "failed"),
        (lambda state: HardwareState(taken_at_s=state.taken_at_s), "left alone"),
    ],
)
def test_a_sensor_that_breaks_the_seam_is_found(change: object, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_sensor(_Sensor(change))


def test_a_sensor_that_keeps_it_passes_and_is_closed() -> None:
    sensor = fake.create(fake.Options(charge_ratio=0.5, load_ratio=3.0, throttled=True))
    check_sensor(sensor)
    assert sensor.closed


class _Meter:
    name = "strange"
    domain: Domain = "package"

    def __init__(self, *readings: MeterReading | None) -> None:
        self._readings = list(readings)

    def read(self, pids: tuple[int, ...]) -> MeterReading | None:
        return self._readings.pop(0) if len(self._readings) > 1 else self._readings[0]

    def close(self) -> None:
        """Nothing to close."""


def _reading(energy_j: float, **fields: object) -> MeterReading:
    return replace(MeterReading(at_s=1.0, energy_j=energy_j, origin="measured"), **fields)


@pytest.mark.parametrize(
    ("meter", "message"),
    [
        (_Meter(_reading(5.0), _reading(4.0)), "goes back"),
        (_Meter(_reading(math.inf)), "joules"),
        (_Meter(_reading(1.0, low_ratio=2.0)), "bounds"),
        (_Meter(_reading(1.0, cpu_s=((9, 1.0),))), "asked for"),
    ],
)
def test_a_meter_that_breaks_the_seam_is_found(meter: _Meter, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_meter(meter)


def test_a_meter_that_keeps_it_passes() -> None:
    check_meter(fake_meter.create(fake_meter.Options(step_j=1.0)))
    check_meter(_Meter(_reading(9.0), _reading(1.0, epoch_id=1)))
    check_meter(_Meter(None))
