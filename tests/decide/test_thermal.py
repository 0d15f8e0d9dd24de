"""A thermal model fitted while the device runs, and what it says of the future."""

from collections.abc import Callable
from math import exp

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metabolic.core.hardware import DeviceState, Reading
from metabolic.core.thermal import ThermalFit
from metabolic.decide.forecast import (
    HORIZONS_S,
    forecasts,
    headroom_w,
    moved,
    steady,
    time_to_throttle_s,
)
from metabolic.decide.thermal import GAP_S, follow

LIMIT_C = 83.0
ROOM_C, R, TAU_S = 28.0, 0.1, 45.0


def _reading(value: float | None) -> Reading | None:
    return None if value is None else Reading(value=value, origin="measured", source="s")


def _device(
    celsius: float | None, watts: float | None, *, margin_c: float | None = None
) -> DeviceState:
    return DeviceState(
        name="gpu0",
        kind="gpu",
        temperature_c=_reading(celsius),
        limit_c=_reading(LIMIT_C),
        headroom_c=_reading(margin_c),
        power_w=_reading(watts),
        power_limit_w=_reading(450.0),
    )


def _steps(at_s: float) -> float:
    return (100.0, 450.0, 250.0, 60.0, 380.0)[int(at_s / 70.0) % 5]


def _run(
    load: Callable[[float], float],
    *,
    seconds: float,
    start_c: float = 38.0,
    step_s: float = 0.5,
    whole: bool = True,
    margin: bool = False,
) -> tuple[ThermalFit, float]:
    """Follow a one-pole device; return the fit and the true temperature at the end."""
    fit, celsius = None, start_c
    for index in range(int(seconds / step_s)):
        watts = load(index * step_s)
        celsius += (ROOM_C + R * watts - celsius) * (1 - exp(-step_s / TAU_S))
        shown = float(round(celsius)) if whole else celsius
        device = _device(None, watts, margin_c=LIMIT_C - shown) if margin else _device(shown, watts)
        fit = follow(fit, device, 1e9 + index * step_s)
    assert fit is not None
    return fit, celsius


def test_a_one_pole_device_is_found_within_minutes_from_whole_degrees() -> None:
    fit, _ = _run(_steps, seconds=600.0)
    assert fit.tau_s == 47.0
    assert fit.r_c_per_w == pytest.approx(R, rel=0.1)
    assert fit.base_c + LIMIT_C == pytest.approx(ROOM_C, abs=3.0)
    assert fit.residual_c < 1.0


def test_a_margin_serves_as_well_as_a_thermometer() -> None:
    fit, _ = _run(_steps, seconds=600.0, margin=True)
    assert fit.tau_s == 47.0
    assert fit.r_c_per_w == pytest.approx(R, rel=0.15)


def test_a_device_that_starts_hot_is_not_taken_for_a_bad_cooler() -> None:
    fit, celsius = _run(lambda _: 100.0, seconds=40.0, start_c=70.0)
    ahead = forecasts(fit)[2]
    true_c = ROOM_C + R * 100 + (celsius - ROOM_C - R * 100) * exp(-60.0 / TAU_S)
    assert LIMIT_C - ahead.headroom_c == pytest.approx(true_c, abs=6.0)
    assert fit.r_c_per_w < 0.2


def test_forecasts_hold_where_the_load_holds() -> None:
    fit, celsius = _run(lambda at_s: _steps(at_s) if at_s < 300 else 200.0, seconds=500.0)
    end_c = ROOM_C + R * 200.0
    for one in forecasts(fit):
        true_c = end_c + (celsius - end_c) * exp(-one.horizon_s / TAU_S)
        assert LIMIT_C - one.headroom_c == pytest.approx(true_c, abs=1.5)
    assert [one.horizon_s for one in forecasts(fit)] == list(HORIZONS_S)


def test_the_stated_error_grows_with_errors_and_shrinks_without() -> None:
    calm, _ = _run(lambda _: 200.0, seconds=900.0)
    wild, _ = _run(lambda at_s: 450.0 if int(at_s / 23.0) % 2 else 20.0, seconds=900.0)
    for quiet, loud in zip(forecasts(calm), forecasts(wild), strict=True):
        assert quiet.error_c < loud.error_c
    assert forecasts(calm)[0].error_c < 1.0


def test_the_time_to_throttle_is_that_of_the_formula_and_of_the_trend_in_the_mean() -> None:
    fit, celsius = _run(
        lambda at_s: _steps(at_s) if at_s < 560 else 600.0, seconds=575.0, whole=False
    )
    end_c = ROOM_C + R * 600.0
    true_s = next(
        s / 10 for s in range(10_000) if end_c + (celsius - end_c) * exp(-s / 10 / TAU_S) >= LIMIT_C
    )
    assert time_to_throttle_s(fit, true_s) == pytest.approx(true_s, rel=0.35)
    assert time_to_throttle_s(fit, None) is None


def test_the_headroom_in_watts_is_what_it_would_take_to_throttle_in_the_end() -> None:
    fit, _ = _run(lambda at_s: _steps(at_s) if at_s < 560 else 300.0, seconds=640.0)
    bears_w = (LIMIT_C - ROOM_C) / R
    assert headroom_w(fit) == pytest.approx(bears_w - 300.0, abs=60.0)


def test_without_power_there_is_no_fit_and_a_gap_begins_it_anew() -> None:
    assert follow(None, _device(60.0, None), 1.0) is None
    assert follow(None, _device(None, 100.0), 1.0) is None
    first = follow(None, _device(60.0, 100.0), 1.0)
    assert first is not None
    assert follow(first, _device(60.0, None), 2.0) is first
    assert follow(first, _device(60.0, None), 2.0 + GAP_S) is None
    again = follow(first, _device(61.0, 100.0), 2.0 + GAP_S)
    assert again is not None
    assert again.points[0].n == 0.0
    assert follow(first, _device(61.0, 100.0), 0.5) is not first


def test_the_fit_is_a_small_value_that_survives_being_stored() -> None:
    fit, _ = _run(_steps, seconds=120.0)
    stored = msgspec.json.encode(fit)
    assert len(stored) < 6_000
    assert msgspec.json.decode(stored, type=ThermalFit) == fit


def test_where_no_power_is_known_the_rise_dies_away_and_the_error_is_wide() -> None:
    ahead = steady(20.0, 0.5)
    assert [one.headroom_c for one in ahead] == pytest.approx([16.35, 13.51, 12.64], abs=0.01)
    assert ahead[0].error_c < ahead[1].error_c < ahead[2].error_c
    assert {one.headroom_c for one in steady(20.0, None)} == {20.0}


def test_the_means_of_power_follow_it_at_their_own_pace() -> None:
    short, middle, long = moved(moved((), 100.0, 0.0), 200.0, 20.0)
    assert 200.0 > short > middle > long > 100.0


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(0.01, 40.0),
            st.floats(-20.0, 130.0),
            st.none() | st.floats(0.0, 2000.0),
        ),
        min_size=1,
        max_size=60,
    )
)
def test_whatever_is_read_the_figures_stay_numbers_within_bounds(
    readings: list[tuple[float, float, float | None]],
) -> None:
    fit, at_s = None, 1e9
    for seconds, celsius, watts in readings:
        at_s += seconds
        fit = follow(fit, _device(celsius, watts), at_s)
        if fit is None:
            continue
        prior = fit.prior_r_c_per_w
        assert prior / 8.01 <= fit.r_c_per_w <= prior * 8.01
        for one in forecasts(fit):
            assert -1e4 < one.headroom_c < 1e4
            assert 0.0 <= one.error_c < 1e4
        seconds_left = time_to_throttle_s(fit, 10.0)
        assert seconds_left is None or seconds_left >= 0.0
