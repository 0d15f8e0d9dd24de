"""What windows teach: the price of tokens, power over batch, and how far estimates are off."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.account import calibration, curve
from metabolic.account.calibration import Calibration
from metabolic.account.curve import Curve
from metabolic.account.presence import Presence
from metabolic.account.weights import Weights, features, learned


def _part(prompt: float, decode: float, steps: float) -> Presence:
    return Presence(
        call="a", pid=1, engine="e", seconds=1.0, prompt_tokens=prompt, decode_tokens=decode,
        decode_steps=steps, alone_ratio=3.0,
    )  # fmt: skip


def test_the_price_of_tokens_is_found_from_whole_windows() -> None:
    draw, weights = Random(1), Weights()
    true = (0.05, 0.1, 0.5)
    for _ in range(400):
        part = _part(*(draw.uniform(0, 100) for _ in range(3)))
        energy = sum(a * b for a, b in zip(true, features(part), strict=True))
        weights = learned(weights, [part], energy)
    for found, expected in zip(weights.joules, true, strict=True):
        assert found == pytest.approx(expected, rel=0.25)


def test_a_window_without_work_or_joules_teaches_nothing() -> None:
    assert learned(Weights(), [], 5.0) == Weights()
    assert learned(Weights(), [_part(1, 1, 1)], 0.0) == Weights()
    assert learned(Weights(), [_part(0, 0, 0)], 5.0) == Weights()


amount = st.floats(0.0, 1e4)


@given(st.lists(st.tuples(amount, amount, amount, st.floats(0.0, 1e6)), max_size=20))
def test_whatever_windows_say_no_price_is_negative(
    rows: list[tuple[float, float, float, float]],
) -> None:
    weights = Weights()
    for *part, energy in rows:
        weights = learned(weights, [_part(*part)], energy)
    assert min(weights.joules) >= 0


def test_power_that_does_not_grow_makes_one_more_answer_free() -> None:
    flat = Curve(prior=1.0)
    for n in range(300):
        flat = curve.observed(flat, batch=1 + n % 32, active_w=300.0)
    assert curve.exponent(flat) < 0.15
    marginal, whole = curve.marginal_w(flat, 16), curve.power_w(flat, 16)
    assert marginal is not None
    assert whole is not None
    assert marginal < 0.03 * whole


def test_without_windows_the_prior_holds() -> None:
    assert curve.exponent(Curve(prior=0.3)) == 0.3
    assert curve.power_w(Curve(), 4) is None
    assert curve.marginal_w(Curve(), 4) is None
    assert curve.observed(Curve(), batch=0, active_w=1.0) == Curve()


@given(st.floats(0.05, 0.95), st.floats(1.0, 500.0))
def test_the_exponent_is_found_and_stays_in_range(true: float, watts: float) -> None:
    found = Curve(prior=0.5)
    for n in range(400):
        batch = 1 + n % 40
        found = curve.observed(found, batch=batch, active_w=watts * batch**true)
    assert curve.exponent(found) == pytest.approx(true, abs=0.06)
    assert 0 <= curve.exponent(found) <= 1


def test_estimates_that_are_half_of_what_is_metered_are_doubled() -> None:
    seen = Calibration()
    assert calibration.ratio(seen) == 1.0
    for _ in range(200):
        seen = calibration.learned(seen, modelled_j=3.0, metered_j=6.0)
    assert calibration.ratio(seen) == pytest.approx(2.0, rel=0.03)
    low, high = calibration.bounds(seen)
    assert 0.8 < low <= 1 <= high < 1.2


def test_bounds_are_those_of_a_model_until_enough_calls_were_settled() -> None:
    one = calibration.learned(Calibration(), modelled_j=1.0, metered_j=9.0)
    assert calibration.bounds(one) == (0.5, 2.0)
    assert 1 < calibration.ratio(one) < 9
    assert calibration.learned(one, modelled_j=0.0, metered_j=1.0) == one


@given(st.lists(st.tuples(st.floats(0.001, 1e4), st.floats(0.0, 1e4)), max_size=40))
def test_a_ratio_stays_sane(calls: list[tuple[float, float]]) -> None:
    seen = Calibration()
    for modelled_j, metered_j in calls:
        seen = calibration.learned(seen, modelled_j=modelled_j, metered_j=metered_j)
    assert 0.01 <= calibration.ratio(seen) <= 100
    low, high = calibration.bounds(seen)
    assert 0 <= low <= 1 <= high
