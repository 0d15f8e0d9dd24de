"""A meter over a sensor: counters are unwrapped by nobody's guess, power is integrated."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.sense import fake, macmon_meter
from metabolic.sense.fake import FakeSensor
from metabolic.sense.node_meter import SensedMeter
from metabolic.testing.sensors import check_meter


class _Clock:
    def __init__(self) -> None:
        self.at_s = 1_000.0

    def __call__(self) -> float:
        return self.at_s


def _meter(sensor: FakeSensor, clock: _Clock) -> SensedMeter:
    return SensedMeter(sensor, name="node", device="node", domain="node", gap_s=10.0, clock=clock)


def _node(**more: Any) -> FakeSensor:
    return fake.create(fake.Options(device="node", kind="node", temperature_c=None, **more))


def test_a_counter_is_followed_and_measured() -> None:
    sensor, clock = _node(energy_j=500.0), _Clock()
    meter = _meter(sensor, clock)
    first = meter.read(())
    sensor.set(energy_j=620.0)
    clock.at_s += 1.0
    second = meter.read(())
    assert first is not None
    assert second is not None
    assert (first.energy_j, second.energy_j) == (0.0, 120.0)
    assert (second.origin, second.epoch_id) == ("measured", 0)


def test_a_counter_that_went_back_begins_anew() -> None:
    sensor, clock = _node(energy_j=500.0), _Clock()
    meter = _meter(sensor, clock)
    meter.read(())
    sensor.set(energy_j=3.0)
    clock.at_s += 1.0
    reading = meter.read(())
    assert reading is not None
    assert (reading.energy_j, reading.epoch_id) == (0.0, 1)


def test_power_is_integrated_over_time_and_derived() -> None:
    sensor, clock = _node(power_w=100.0), _Clock()
    meter = _meter(sensor, clock)
    meter.read(())
    sensor.set(power_w=200.0)
    clock.at_s += 2.0
    reading = meter.read(())
    assert reading is not None
    assert (reading.energy_j, reading.origin) == (pytest.approx(300.0), "derived")
    clock.at_s += 11.0
    later = meter.read(())
    assert later is not None
    assert (later.energy_j, later.epoch_id) == (pytest.approx(300.0), 1)


def test_a_device_that_is_not_there_reads_none() -> None:
    sensor = fake.create(fake.Options())
    assert _meter(sensor, _Clock()).read(()) is None
    blind = _meter(_node(), _Clock())
    assert blind.read(()) is None
    assert blind.obstacles() == ()
    blind.close()


def test_it_keeps_the_contract() -> None:
    check_meter(_meter(_node(power_w=10.0), _Clock()))
    check_meter(macmon_meter.create(macmon_meter.Options(command=("/nonexistent",))))


@given(st.lists(st.tuples(st.floats(0.01, 9.0), st.floats(0.0, 5000.0)), max_size=20))
def test_integrated_power_lies_between_its_least_and_its_most(
    steps: list[tuple[float, float]],
) -> None:
    sensor, clock = _node(power_w=50.0), _Clock()
    meter = _meter(sensor, clock)
    meter.read(())
    watts, seconds, joules = [50.0], 0.0, 0.0
    for step_s, power_w in steps:
        sensor.set(power_w=power_w)
        clock.at_s += step_s
        reading = meter.read(())
        assert reading is not None
        assert reading.energy_j >= joules
        joules, seconds = reading.energy_j, seconds + step_s
        watts.append(power_w)
    assert min(watts) * seconds - 1e-6 <= joules <= max(watts) * seconds + 1e-3
