"""The probe: polling, ageing out, and what it costs."""

import threading
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from metabolic.core.errors import SensorError
from metabolic.core.hardware import HardwareState, Reading
from metabolic.core.ports import Sensor
from metabolic.sense import fake, probe
from metabolic.sense.merge import with_device
from metabolic.sense.probe import Options


class _Clock:
    def __init__(self) -> None:
        self.at_s = 1_000.0

    def __call__(self) -> float:
        return self.at_s


class _Raises:
    name = "raises"

    def read(self, state: HardwareState) -> HardwareState:
        message = "no"
        raise SensorError(message)

    def close(self) -> None:
        """Nothing to close."""


class _Derives:
    name = "derives"

    def __init__(self) -> None:
        self.on = True

    def read(self, state: HardwareState) -> HardwareState:
        reading = Reading(value=0.5, origin="derived", source="d")
        return replace(state, load_ratio=reading) if self.on else state

    def close(self) -> None:
        """Nothing to close."""


class _Hangs:
    name = "hangs"

    def __init__(self) -> None:
        self.hang = False
        self.hanging = threading.Event()
        self.go_on = threading.Event()

    def read(self, state: HardwareState) -> HardwareState:
        if self.hang:
            self.hanging.set()
            self.go_on.wait(10)
        return state

    def close(self) -> None:
        """Nothing to close."""


def _probe(*sensors: Sensor, clock: _Clock, stale_s: float = 1.0) -> probe.Probe:
    options = Options(period_s=0.1, stale_s=stale_s)
    return probe.create(options, sensors=sensors, clock=clock)


def _temperature(state: HardwareState) -> Reading | None:
    return state.devices[0].temperature_c if state.devices else None


def test_all_sensors_make_one_state() -> None:
    clock, first = _Clock(), fake.create(fake.Options(temperature_c=50.0))
    second = fake.create(fake.Options(temperature_c=None, limit_c=None, memory_total_bytes=8.0))
    state = _probe(first, second, clock=clock).poll()
    assert state.taken_at_s == 1_000.0
    assert _temperature(state) == Reading(value=50.0, origin="measured", source="fake")
    assert state.memory_total_bytes is not None
    assert state.failed == ()


def test_before_the_first_poll_nothing_is_known() -> None:
    clock = _Clock()
    assert _probe(clock=clock).latest() == HardwareState(taken_at_s=1_000.0)


def test_a_signal_that_is_gone_ages_then_fails_then_returns() -> None:
    clock, sensor = _Clock(), fake.create(fake.Options(temperature_c=50.0))
    polled = _probe(sensor, clock=clock)
    polled.poll()
    sensor.set(temperature_c=None)
    clock.at_s += 0.75
    carried = _temperature(polled.poll())
    assert carried == Reading(value=50.0, origin="measured", source="fake", age_s=0.75)
    clock.at_s += 0.5
    state = polled.poll()
    assert _temperature(state) is None
    assert state.failed == ("cpu.temperature_c",)
    clock.at_s += 5.0
    assert polled.poll().failed == ("cpu.temperature_c",)
    sensor.set(temperature_c=60.0)
    state = polled.poll()
    assert state.failed == ()
    assert _temperature(state) == Reading(value=60.0, origin="measured", source="fake")


def test_a_signal_that_never_was_does_not_fail() -> None:
    clock, sensor = _Clock(), fake.create(fake.Options(temperature_c=None, limit_c=None))
    polled = _probe(sensor, clock=clock)
    polled.poll()
    clock.at_s += 100.0
    assert polled.poll().failed == ()


def test_everything_that_goes_is_named() -> None:
    clock = _Clock()
    sensor = fake.create(
        fake.Options(throttled=False, charge_ratio=0.5, on_battery=True, memory_total_bytes=8.0)
    )
    polled = _probe(sensor, clock=clock)
    polled.poll()
    sensor.set(
        temperature_c=None,
        limit_c=None,
        throttled=None,
        charge_ratio=None,
        on_battery=None,
        memory_total_bytes=None,
    )
    clock.at_s += 0.5
    carried = polled.poll()
    assert carried.battery is not None
    assert carried.battery.on_battery is True
    assert carried.devices[0].throttled is False
    assert carried.memory_total_bytes is not None
    clock.at_s += 1.0
    assert polled.poll().failed == (
        "battery.charge_ratio",
        "battery.on_battery",
        "cpu.limit_c",
        "cpu.temperature_c",
        "cpu.throttled",
        "memory_total_bytes",
    )


def test_a_derived_figure_goes_without_failing() -> None:
    clock, sensor = _Clock(), _Derives()
    polled = _probe(sensor, clock=clock)
    polled.poll()
    sensor.on = False
    clock.at_s += 2.0
    state = polled.poll()
    assert (state.load_ratio, state.failed) == (None, ())


def test_a_sensor_that_raises_costs_its_own_readings_only() -> None:
    clock = _Clock()
    polled = _probe(_Raises(), fake.create(fake.Options()), clock=clock)
    assert _temperature(polled.poll()) is not None
    assert polled.stats().errors == 1


def test_a_clock_that_goes_back_does_no_harm() -> None:
    clock, sensor = _Clock(), fake.create(fake.Options())
    polled = _probe(sensor, clock=clock)
    polled.poll()
    clock.at_s -= 3_600.0
    assert polled.poll().failed == ()
    sensor.set(temperature_c=None)
    clock.at_s -= 1.0
    assert polled.poll().failed == ("cpu.temperature_c",)


def test_a_thread_stuck_in_a_sensor_leaves_no_old_figure_behind() -> None:
    monotonic, hangs = _Clock(), _Hangs()
    polled = probe.Probe(
        Options(period_s=0.01, stale_s=1.0),
        sensors=(fake.create(fake.Options()), hangs),
        clock=_Clock(),
        monotonic=monotonic,
    )
    polled.start()
    assert _temperature(polled.latest()) is not None
    hangs.hang = True
    assert hangs.hanging.wait(5)
    monotonic.at_s += 0.5
    assert _temperature(polled.latest()) is not None
    monotonic.at_s += 1.0
    blind = polled.latest()
    assert blind.devices == ()
    assert blind.failed == ("cpu.limit_c", "cpu.temperature_c")
    assert polled.latest() is blind
    hangs.hang = False
    hangs.go_on.set()
    polled.close()


def test_a_stuck_thread_does_not_hold_up_the_end() -> None:
    hangs = _Hangs()
    polled = probe.Probe(Options(period_s=0.01), sensors=(hangs,))
    polled.start()
    hangs.hang = True
    assert hangs.hanging.wait(5)
    polled.close(timeout_s=0.01)
    hangs.go_on.set()
    polled.close()


def test_the_thread_polls_and_measures_itself() -> None:
    polls = threading.Semaphore(0)

    class _Counts:
        name = "counts"

        def read(self, state: HardwareState) -> HardwareState:
            polls.release()
            return state

        def close(self) -> None:
            """Nothing to close."""

    sensor = fake.create(fake.Options())
    polled = probe.Probe(Options(period_s=0.01), sensors=(_Counts(), sensor))
    polled.start()
    polled.start()
    for _ in range(6):
        assert polls.acquire(timeout=5)
    polled.close()
    polled.close()
    stats = polled.stats()
    assert stats.polls >= 4
    assert stats.poll_cpu_s is not None
    assert 0 < stats.poll_cpu_s < 0.05
    assert stats.cpu_ratio is not None
    assert stats.period_s is not None
    assert stats.max_late_s is not None
    assert stats.last_poll_s is not None
    assert sensor.closed


def test_signals_are_given_flat() -> None:
    polled = _probe(fake.create(fake.Options(temperature_c=50.0)), clock=_Clock())
    polled.poll()
    assert [name for name, _ in polled.signals()] == ["cpu.temperature_c", "cpu.limit_c"]


@pytest.mark.parametrize("options", [Options(), Options(period_s=60.0, stale_s=0.0)])
def test_a_signal_counts_for_three_periods_at_least(options: Options) -> None:
    clock, sensor = _Clock(), fake.create(fake.Options())
    polled = probe.create(options, sensors=(sensor,), clock=clock)
    polled.poll()
    sensor.set(temperature_c=None)
    clock.at_s += 2.9 * options.period_s
    assert _temperature(polled.poll()) is not None


def test_a_probe_not_yet_run_has_no_figures_of_its_own(cpu: Callable[..., object]) -> None:
    stats = _probe(clock=_Clock()).stats()
    assert (stats.cpu_ratio, stats.poll_cpu_s) == (None, None)


class _Sleeps:
    """A GPU that reads, and can be put to sleep."""

    name = "sleeps"
    asleep = False

    def read(self, state: HardwareState) -> HardwareState:
        """Read a temperature, unless asleep."""
        warm = None if self.asleep else Reading(value=40.0, origin="measured", source="gpu")
        return with_device(state, "gpu0", kind="gpu", asleep=self.asleep, temperature_c=warm)

    def close(self) -> None:
        """Nothing to close."""


def test_what_a_sleeping_device_does_not_say_has_not_failed() -> None:
    clock, sensor = _Clock(), _Sleeps()
    polled = _probe(sensor, clock=clock)
    polled.poll()
    sensor.asleep = True
    clock.at_s += 0.1
    state = polled.poll()
    assert state.devices[0].asleep is True
    assert _temperature(state) is None
    clock.at_s += 9.0
    assert polled.poll().failed == ()
    sensor.asleep = False
    assert _temperature(polled.poll()) is not None


def test_apart_the_sources_that_lost_are_told() -> None:
    first = fake.create(fake.Options(temperature_c=50.0, load_ratio=0.5, charge_ratio=0.5))
    model = fake.create(fake.Options(origin="modelled", power_w=9.0, limit_c=None))
    third = fake.create(fake.Options(temperature_c=60.0, power_w=10.0, charge_ratio=0.6))
    sensors = (first, model, third)
    together = probe.create(Options(), sensors=sensors, clock=_Clock())
    apart = probe.create(Options(apart=True), sensors=sensors, clock=_Clock())
    assert apart.poll() == together.poll()
    assert together.losers() == ()
    lost = [(name, field.value) for name, field in apart.losers() if isinstance(field, Reading)]
    assert lost == [
        ("cpu.temperature_c", 50.0),
        ("cpu.power_w", 9.0),
        ("cpu.temperature_c", 60.0),
        ("cpu.limit_c", 95.0),
        ("battery.charge_ratio", 0.6),
    ]
