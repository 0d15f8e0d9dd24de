"""Metrics are counted, bounded, and documented."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from metabolic.core.errors import Unreachable
from metabolic.core.metabolic import DeviceRisk, MetabolicState
from metabolic.core.thermal import Forecast
from metabolic.gateway.app import App
from metabolic.gateway.tally import Counter, Histogram
from metabolic.testing.asgi import Client
from metabolic.testing.runtime import FakeRuntime, failing

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"


def read(app: App) -> dict[tuple[str, ...], float]:
    """Return samples by name and label values (of those, in alphabetical order)."""
    text = app.inference.metrics.render().decode()
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.anyio
async def test_a_request_is_counted_with_its_attempts_tokens_and_bill() -> None:
    app = App(FakeRuntime())
    await Client(app).chat()
    await Client(app).chat(stream=True)
    samples = read(app)
    assert samples["metabolic_requests_total", "200", "auto", "chat"] == 2
    assert samples["metabolic_request_duration_seconds_count", "chat"] == 2
    assert samples["metabolic_time_to_first_event_seconds_count", "chat"] == 1
    assert samples["metabolic_answers_total", "false", "small"] == 2
    assert samples["metabolic_escalations_total", "small"] == 2
    assert samples["metabolic_attempts_total", "answer", "ok", "small"] == 2
    assert samples["metabolic_tokens_total", "input", "small"] == 14
    assert samples["metabolic_tokens_total", "cached", "small"] == 4
    assert samples["metabolic_tokens_total", "output", "small"] == 6
    assert samples["metabolic_tokens_total", "reasoning", "small"] == 2
    assert samples["metabolic_request_energy_joules_total", "modelled"] == 3.0
    assert samples["metabolic_request_cost_usd_total", "electricity"] == 5e-7
    assert samples["metabolic_request_carbon_grams_total", "derived"] == pytest.approx(0.0004)
    assert samples["metabolic_requests_in_flight",] == 0


@pytest.mark.anyio
async def test_failures_and_refusals_are_counted_by_kind() -> None:
    app = App(FakeRuntime(script=failing(Unreachable("x"))))
    await Client(app).chat()
    await Client(app).chat(model="no-such-model-sk-canary")
    samples = read(app)
    assert samples["metabolic_requests_total", "502", "auto", "chat"] == 1
    assert samples["metabolic_refused_requests_total", "model_not_found"] == 1
    assert "canary" not in app.inference.metrics.render().decode()


@pytest.mark.anyio
async def test_the_machine_and_the_fleet_are_shown() -> None:
    app = App(FakeRuntime())
    answered = await Client(app).get("/metrics")
    assert answered.headers["content-type"].startswith("text/plain")
    samples = read(app)
    assert samples["metabolic_level", "nominal"] == 1
    assert samples["metabolic_level", "unknown"] == 0
    assert samples["metabolic_headroom_celsius",] == 30
    assert samples["metabolic_device_temperature_celsius", "cpu", "measured"] == 40
    assert samples["metabolic_deployment_state", "small", "warm"] == 1
    assert samples["metabolic_ready",] == 1
    assert samples["process_resident_memory_bytes",] > 0
    assert samples["process_cpu_seconds_total",] > 0


class _Hot(FakeRuntime):
    """A machine of which everything is known."""

    def metabolic(self) -> MetabolicState:
        return MetabolicState(
            level="elevated",
            headroom_w=20.0,
            time_to_throttle_s=90.0,
            risks=(DeviceRisk(device="nvidia0", risk_ratio=0.25),),
            forecasts=(Forecast(horizon_s=30.0, headroom_c=-1.5, error_c=0.5),),
            power_w=180.0,
            budget_used_ratio=0.95,
            power_level="elevated",
            memory_level="critical",
            discharge_w=12.0,
            time_to_reserve_s=1800.0,
        )


def test_the_whole_metabolic_state_is_shown_with_forecasts_and_their_error() -> None:
    samples = read(App(_Hot()))
    assert samples["metabolic_device_throttle_risk_ratio", "nvidia0"] == 0.25
    assert samples["metabolic_forecast_headroom_celsius", "30s"] == -1.5
    assert samples["metabolic_forecast_error_celsius", "30s"] == 0.5
    assert samples["metabolic_headroom_watts",] == 20.0
    assert samples["metabolic_time_to_throttle_seconds",] == 90.0
    assert samples["metabolic_power_watts",] == 180.0
    assert samples["metabolic_power_budget_used_ratio",] == 0.95
    assert samples["metabolic_power_level", "elevated"] == 1
    assert samples["metabolic_memory_level", "critical"] == 1
    assert samples["metabolic_memory_level", "nominal"] == 0
    assert samples["metabolic_battery_discharge_watts",] == 12.0
    assert samples["metabolic_battery_time_to_reserve_seconds",] == 1800.0


def test_every_metric_is_documented_and_every_documented_metric_exists() -> None:
    text = App(FakeRuntime()).inference.metrics.render().decode()
    exported = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    documented = set(re.findall(r"^\| `([a-z0-9_]+)` ", DOCS.read_text(), re.MULTILINE))
    assert exported == documented


def test_names_carry_base_units() -> None:
    text = App(FakeRuntime()).inference.metrics.render().decode()
    for name, kind in re.findall(r"^# TYPE (metabolic_\S+) (\S+)", text, re.MULTILINE):
        assert not re.search(r"_(ms|kwh|mb|percent|millis)(_|$)", name)
        assert (kind == "counter") == name.endswith("_total")


@given(st.lists(st.floats(0, 100), max_size=50))
def test_a_histogram_counts_each_value_once_and_its_buckets_never_fall(values: list[float]) -> None:
    histogram = Histogram("h", "x", bounds=(0.5, 1.0, 10.0), labels=("l",))
    for value in values:
        histogram.observe(("a",), value)
    registry = CollectorRegistry()
    registry.register(histogram)
    (family,) = registry.collect()
    buckets = [s.value for s in family.samples if s.name == "h_bucket"]
    assert buckets == sorted(buckets)
    if values:
        assert buckets[-1] == len(values)
        assert buckets[0] == sum(value <= 0.5 for value in values)
        (total,) = [s.value for s in family.samples if s.name == "h_sum"]
        assert total == pytest.approx(sum(values))


def test_series_are_bounded() -> None:
    counter = Counter("c", "x", ("l",))
    for number in range(10_100):
        counter.add((str(number),))
    (family,) = counter.collect()
    assert len(family.samples) == 10_000
    assert counter.value(("10099",)) == 0


def test_a_series_is_shown_once_it_is_not_zero_and_its_cell_stays_the_same() -> None:
    counter = Counter("c", "x", ("l",))
    cell = counter.cell(("a",))
    (family,) = counter.collect()
    assert family.samples == []
    cell[0] += 2
    counter.add(("a",))
    (family,) = counter.collect()
    assert [sample.value for sample in family.samples] == [3.0]
