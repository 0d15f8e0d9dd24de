"""Counters that wrap, answers foreseen, and what one more of them adds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.account.energy import (
    BATCHED_EXPONENT,
    answer_energy,
    bounds_of,
    counter_delta,
    marginal_energy_j,
)
from metabolic.core.fleet import Deployment, Model
from metabolic.core.hardware import Origin


@pytest.mark.parametrize(
    ("before", "after", "range_j", "delta"),
    [
        (1.0, 5.0, None, 4.0),
        (9.0, 2.0, 10.0, 3.0),
        (9.0, 2.0, None, None),
        (9.0, 2.0, 10_000.0, None),
        (0.0, 10_000.0, None, None),
        (9.0, 2.0, 3.0, None),
    ],
)
def test_a_counter_wraps_only_where_that_is_plausible(
    before: float, after: float, range_j: float | None, delta: float | None
) -> None:
    found = counter_delta(before, after, range_j=range_j, seconds=1.0, limit_w=100.0)
    assert found == delta


def test_without_time_a_counter_says_nothing() -> None:
    assert counter_delta(1.0, 2.0, range_j=None, seconds=0.0, limit_w=100.0) is None


@given(st.floats(1.0, 1e6), st.data())
def test_a_wrapped_counter_gives_the_true_step(range_j: float, data: st.DataObject) -> None:
    before = data.draw(st.floats(0.0, range_j, exclude_max=True))
    step = data.draw(st.floats(0.0, range_j / 2))
    after = (before + step) % range_j
    found = counter_delta(before, after, range_j=range_j, seconds=1.0, limit_w=range_j)
    assert found == pytest.approx(step, abs=range_j * 1e-9)


def _deployment(**fields: object) -> Deployment:
    known: dict[str, object] = {
        "prefill_tokens_per_s": 100.0,
        "decode_tokens_per_s": 25.0,
        "active_w": 4.0,
        "speed_origin": "measured",
        "active_w_origin": "measured",
    }
    return Deployment(name="d", model=Model(id="m", tier="tiny"), **{**known, **fields})  # type: ignore[arg-type]


def test_an_answer_s_energy_is_seconds_times_active_power() -> None:
    energy = answer_energy(_deployment(), input_tokens=100, output_tokens=50)
    assert energy is not None
    assert (energy.energy_j, energy.origin, energy.status) == (12.0, "derived", "provisional")
    assert (energy.low_j, energy.high_j) == pytest.approx((8.4, 15.6))
    cached = answer_energy(_deployment(), input_tokens=100, output_tokens=50, cached_tokens=100)
    assert cached is not None
    assert cached.energy_j == 8.0


def test_a_guessed_power_makes_the_energy_modelled_with_wide_bounds() -> None:
    guessed = _deployment(active_w_origin="modelled")
    energy = answer_energy(guessed, input_tokens=100, output_tokens=50)
    assert energy is not None
    assert (energy.origin, energy.low_j, energy.high_j) == ("modelled", 6.0, 24.0)
    unsaid = answer_energy(_deployment(speed_origin=None), input_tokens=1, output_tokens=1)
    assert unsaid is not None
    assert unsaid.origin == "modelled"


@pytest.mark.parametrize("missing", ["prefill_tokens_per_s", "decode_tokens_per_s", "active_w"])
def test_an_energy_with_a_missing_figure_is_unknown(missing: str) -> None:
    assert answer_energy(_deployment(**{missing: None}), input_tokens=1, output_tokens=1) is None


@pytest.mark.parametrize("origin", ["measured", "derived", "modelled"])
def test_bounds_hold_the_figure(origin: Origin) -> None:
    low, high = bounds_of(origin)
    assert 0 < low <= 1 <= high


def test_on_a_cpu_one_more_answer_costs_all_of_its_joules() -> None:
    assert marginal_energy_j(10.0) == 10.0
    assert marginal_energy_j(10.0, running=7) == pytest.approx(10.0)


def test_on_a_batching_accelerator_one_more_answer_costs_little() -> None:
    first = marginal_energy_j(10.0, batch_exponent=BATCHED_EXPONENT)
    eighth = marginal_energy_j(10.0, running=7, batch_exponent=BATCHED_EXPONENT)
    assert first == 10.0
    assert 0 < eighth < 0.3
