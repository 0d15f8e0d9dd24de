"""What ``/metrics`` shows of machine and fleet: read when asked, at no cost to requests."""

__all__ = ["Gauges"]

from collections.abc import Callable, Iterator
from typing import get_args

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from metabolic import __version__
from metabolic.core.fleet import Load, State
from metabolic.core.hardware import DeviceState, HardwareState, Reading
from metabolic.core.metabolic import Level, MetabolicState
from metabolic.gateway.lane_gauges import lane_families, strong_family
from metabolic.gateway.seam import Serving

_LEVELS: tuple[str, ...] = get_args(Level)
_STATES: tuple[str, ...] = get_args(State)

_DEVICE: tuple[tuple[str, str, str], ...] = (
    ("temperature_c", "metabolic_device_temperature_celsius", "Temperature of a device."),
    ("limit_c", "metabolic_device_limit_celsius", "Temperature at which it throttles."),
    ("power_w", "metabolic_device_power_watts", "Power a device draws."),
    ("power_limit_w", "metabolic_device_power_limit_watts", "Power a device may draw."),
    ("utilization_ratio", "metabolic_device_utilization_ratio", "Share of the device in use."),
)
_MACHINE: tuple[tuple[str, str, str], ...] = (
    ("memory_total_bytes", "metabolic_memory_total_bytes", "Memory of the machine."),
    ("memory_available_bytes", "metabolic_memory_available_bytes", "Memory a new model could use."),
    ("cpu_pressure_ratio", "metabolic_cpu_pressure_ratio", "Share of time work waits for a CPU."),
    (
        "memory_pressure_ratio",
        "metabolic_memory_pressure_ratio",
        "Share of time it waits for memory.",
    ),
    ("load_ratio", "metabolic_load_ratio", "Load average over CPUs."),
)
_METABOLIC: tuple[tuple[str, str, str], ...] = (
    ("throttle_risk_ratio", "metabolic_throttle_risk_ratio", "Risk of throttling soon."),
    ("headroom_c", "metabolic_headroom_celsius", "Distance to the throttle temperature."),
    ("headroom_w", "metabolic_headroom_watts", "Power that could still be drawn."),
    (
        "time_to_throttle_s",
        "metabolic_time_to_throttle_seconds",
        "Until it throttles, if in sight.",
    ),
    ("battery_ratio", "metabolic_battery_charge_ratio", "Charge of the battery."),
    ("power_w", "metabolic_power_watts", "Mean power of ten seconds."),
    ("budget_used_ratio", "metabolic_power_budget_used_ratio", "Share of the power budget drawn."),
    ("discharge_w", "metabolic_battery_discharge_watts", "Power drawn from the battery."),
    (
        "time_to_reserve_s",
        "metabolic_battery_time_to_reserve_seconds",
        "Until the battery is at its reserve.",
    ),
)
_RAISED: tuple[tuple[str, str, str], ...] = (
    ("level", "metabolic_level", "1 for the machine's level."),
    ("memory_level", "metabolic_memory_level", "1 for the level of memory pressure."),
    ("power_level", "metabolic_power_level", "1 for the level of the power budget's use."),
)

_LOAD: tuple[tuple[str, str, str], ...] = (
    ("limit", "metabolic_deployment_concurrency_limit", "Answers it may work on at once."),
    ("kv_used_ratio", "metabolic_deployment_kv_used_ratio", "Share of its cache in use."),
    (
        "prefix_hit_ratio",
        "metabolic_deployment_prefix_hit_ratio",
        "Share of prompt tokens found in its cache.",
    ),
    (
        "acceptance_ratio",
        "metabolic_deployment_acceptance_ratio",
        "Share of drafted tokens it kept.",
    ),
    (
        "preemptions_per_s",
        "metabolic_deployment_preemptions_per_second",
        "Answers set aside for want of cache.",
    ),
    ("wake_s", "metabolic_deployment_wake_seconds", "Seconds of its last starts."),
    ("ttft_s", "metabolic_deployment_ttft_seconds", "First token of an empty prompt."),
    ("tpot_s", "metabolic_deployment_tpot_seconds", "Each further token of a lone answer."),
)


class Gauges:
    """A collector; every family is always given, without samples when nothing is known."""

    def __init__(self, runtime: Serving, in_flight: Callable[[], int]) -> None:
        """Keep who is asked."""
        self._runtime = runtime
        self._in_flight = in_flight

    def collect(self) -> Iterator[Metric]:
        """Give all families to the registry."""
        yield _one("metabolic_build_info", "Version that runs.", ("version",), (__version__,), 1)
        yield _one("metabolic_requests_in_flight", "Being answered now.", (), (), self._in_flight())
        yield _one(
            "metabolic_ready", "1 when a deployment can answer.", (), (), self._runtime.ready()
        )
        yield from _metabolic(self._runtime.metabolic())
        yield from _hardware(self._runtime.hardware())
        yield from _loads(self._runtime.loads())
        yield _counters(self._runtime)
        yield from lane_families(self._runtime.lanes())
        yield strong_family(self._runtime.strong_shares())


def _one(
    name: str, text: str, labels: tuple[str, ...], values: tuple[str, ...], value: float
) -> Metric:
    """Return a gauge with one sample."""
    family = GaugeMetricFamily(name, text, labels=labels)
    family.add_metric(values, float(value))
    return family


def _metabolic(state: MetabolicState) -> Iterator[Metric]:
    """Give the levels, one series each, the figures that are known, risks and forecasts."""
    for field, name, text in _RAISED:
        family = GaugeMetricFamily(name, text, labels=("level",))
        for each in _LEVELS:
            family.add_metric((each,), float(each == getattr(state, field)))
        yield family
    for field, name, text in _METABOLIC:
        family = GaugeMetricFamily(name, text)
        value: float | None = getattr(state, field)
        if value is not None:
            family.add_metric((), value)
        yield family
    yield from _ahead(state)


def _ahead(state: MetabolicState) -> Iterator[Metric]:
    """Give each device's risk, and the forecast headroom with its typical error."""
    risk = GaugeMetricFamily(
        "metabolic_device_throttle_risk_ratio", "Risk that it throttles soon.", labels=("device",)
    )
    for one in state.risks:
        risk.add_metric((one.device,), one.risk_ratio)
    ahead = GaugeMetricFamily(
        "metabolic_forecast_headroom_celsius", "Headroom so many seconds ahead.", labels=("ahead",)
    )
    error = GaugeMetricFamily(
        "metabolic_forecast_error_celsius", "Typical error of such forecasts.", labels=("ahead",)
    )
    for each in state.forecasts:
        horizon = f"{each.horizon_s:g}s"
        ahead.add_metric((horizon,), each.headroom_c)
        error.add_metric((horizon,), each.error_c)
    yield from (risk, ahead, error)


def _hardware(state: HardwareState) -> Iterator[Metric]:
    """Give the readings of devices and machine, with their origin."""
    for field, name, text in _DEVICE:
        family = GaugeMetricFamily(name, text, labels=("device", "origin"))
        for device in state.devices:
            _reading(family, (device.name,), getattr(device, field))
        yield family
    throttled = GaugeMetricFamily(
        "metabolic_device_throttled", "1 while a device throttles.", labels=("device",)
    )
    for device in state.devices:
        _flag(throttled, device)
    yield throttled
    for field, name, text in _MACHINE:
        family = GaugeMetricFamily(name, text, labels=("origin",))
        _reading(family, (), getattr(state, field))
        yield family


def _reading(family: GaugeMetricFamily, labels: tuple[str, ...], reading: Reading | None) -> None:
    """Add a reading, if there is one."""
    if reading is not None:
        family.add_metric((*labels, reading.origin), reading.value)


def _flag(family: GaugeMetricFamily, device: DeviceState) -> None:
    """Add whether a device throttles, if it is known."""
    if device.throttled is not None:
        family.add_metric((device.name,), float(device.throttled))


def _loads(loads: tuple[Load, ...]) -> Iterator[Metric]:
    """Give each deployment's state and queue."""
    label = ("deployment",)
    state = GaugeMetricFamily(
        "metabolic_deployment_state", "1 for the state it is in.", labels=(*label, "state")
    )
    running = GaugeMetricFamily(
        "metabolic_deployment_running", "Calls being answered.", labels=label
    )
    waiting = GaugeMetricFamily("metabolic_deployment_waiting", "Calls waiting.", labels=label)
    healthy = GaugeMetricFamily("metabolic_deployment_healthy", "1 when healthy.", labels=label)
    ratio = GaugeMetricFamily(
        "metabolic_deployment_energy_ratio", "Joules metered over joules foreseen.", labels=label
    )
    for load in loads:
        name = (load.deployment,)
        for each in _STATES:
            state.add_metric((*name, each), float(each == load.state))
        running.add_metric(name, load.running)
        waiting.add_metric(name, load.waiting)
        if load.healthy is not None:
            healthy.add_metric(name, float(load.healthy))
        if load.energy_ratio is not None:
            ratio.add_metric(name, load.energy_ratio)
    yield from (state, running, waiting, healthy, ratio, *_sleep(loads))
    for field, name, text in _LOAD:
        yield _known(loads, field, name, text)


def _sleep(loads: tuple[Load, ...]) -> tuple[Metric, ...]:
    """Give what waking takes, where it was measured, and who is to sleep soon."""
    joules = GaugeMetricFamily(
        "metabolic_deployment_wake_joules",
        "Joules of its last starts, above sleep.",
        labels=("deployment", "origin"),
    )
    leaving = GaugeMetricFamily(
        "metabolic_deployment_leaving", "1 while it is to sleep soon.", labels=("deployment",)
    )
    for load in loads:
        if load.wake_j is not None:
            joules.add_metric((load.deployment, load.wake_j_origin or "derived"), load.wake_j)
        leaving.add_metric((load.deployment,), float(load.leaving))
    return joules, leaving


def _known(loads: tuple[Load, ...], field: str, name: str, text: str) -> Metric:
    """Give one figure of every deployment of which it is known."""
    family = GaugeMetricFamily(name, text, labels=("deployment",))
    for load in loads:
        value: float | None = getattr(load, field)
        if value is not None:
            family.add_metric((load.deployment,), value)
    return family


def _counters(runtime: Serving) -> Metric:
    """Give the counters that the parts beneath keep themselves."""
    family = CounterMetricFamily(
        "metabolic_internal_events", "Counters of ledger, meters and engines.", labels=("counter",)
    )
    for name, value in runtime.snapshot_counters():
        family.add_metric((name,), value)
    return family
