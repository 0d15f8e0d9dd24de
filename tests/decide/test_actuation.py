"""Limits fall at once, rise after calm, and never above what was there."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from metabolic.core.actuation import Knob
from metabolic.core.metabolic import Level, MetabolicState
from metabolic.decide.actuation import Governed, Limits, govern, setpoint, share

LIMITS = Limits(hold_s=60.0)
GPU = Knob(id="g", device="nvidia0", unit="W", now=400.0, full=400.0, least=200.0, most=500.0)


def at(level: Level = "nominal", **more: Any) -> MetabolicState:
    return MetabolicState(level=level, **more)


def test_a_calm_or_unknown_machine_is_not_limited():
    assert share(at(), LIMITS) == (1.0, "")
    assert share(at("unknown"), LIMITS) == (1.0, "")


def test_heat_a_spent_budget_and_a_battery_each_limit_and_the_least_wins():
    assert share(at("elevated"), LIMITS) == (0.85, "heat elevated")
    assert share(at("critical", on_battery=True), LIMITS) == (0.7, "heat critical")
    assert share(at(power_level="critical"), LIMITS) == (0.7, "power budget critical")
    assert share(at(on_battery=True), LIMITS) == (0.85, "on battery")
    assert share(at(), Limits(steady_ratio=0.7)) == (0.7, "as configured")
    assert share(at("critical"), Limits(critical_ratio=0.1)) == (0.4, "heat critical")


def test_a_limit_falls_at_once_and_rises_only_after_calm():
    hot = govern(Governed(), at("critical"), LIMITS, at_s=0.0)
    assert hot.ratio == 0.7
    cooling = govern(hot, at("nominal"), LIMITS, at_s=10.0)
    assert (cooling.ratio, cooling.calm_since_s) == (0.7, 10.0)
    again = govern(cooling, at("critical"), LIMITS, at_s=50.0)
    assert again.calm_since_s is None
    calm = govern(again, at("nominal"), LIMITS, at_s=60.0)
    assert govern(calm, at("nominal"), LIMITS, at_s=119.0).ratio == 0.7
    assert govern(calm, at("nominal"), LIMITS, at_s=120.0).ratio == 1.0


def test_a_share_is_of_what_was_in_force_and_within_what_the_device_allows():
    assert setpoint(GPU, 0.7, before=400.0) == 280.0
    assert setpoint(GPU, 0.4, before=400.0) == 200.0
    assert setpoint(GPU, 0.7, before=300.0) == 210.0
    assert setpoint(GPU, 1.0, before=400.0) is None


@given(st.floats(0.4, 1.0), st.one_of(st.none(), st.floats(200.0, 500.0)))
def test_no_limit_is_ever_raised(ratio, before):
    found = setpoint(GPU, ratio, before=before)
    assert found is None or GPU.least <= found < (before or GPU.full)
