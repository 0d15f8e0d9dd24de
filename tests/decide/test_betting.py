"""The betting test: it refutes what is false, and rarely what is true."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.decide.betting import labels_needed, p_value, refutes, wealth

losses = st.lists(st.sampled_from([-1.0, 0.0, 0.0, 0.0, 1.0]), max_size=120)
levels = st.sampled_from([0.01, 0.05, 0.1, 0.3])


def test_rows_without_a_loss_refute_it_when_there_are_enough_of_them() -> None:
    assert not refutes([0.0] * 49, epsilon=0.05, delta=0.1)
    assert refutes([0.0] * 50, epsilon=0.05, delta=0.1)
    assert labels_needed((), epsilon=0.05, delta=0.1) == 50


def test_a_mean_above_the_bound_is_never_enough() -> None:
    rows = [1.0, 0.0, 0.0, 0.0] * 50
    assert not refutes(rows, epsilon=0.05, delta=0.1)
    assert labels_needed(rows, epsilon=0.05, delta=0.1) is None


def test_gains_pay_for_losses() -> None:
    lost = ([1.0] + [0.0] * 19) * 20
    paid = ([1.0] + [0.0] * 9 + [-1.0] + [0.0] * 9) * 20
    assert not refutes(lost, epsilon=0.05, delta=0.1)
    assert refutes(paid, epsilon=0.05, delta=0.1)


def test_a_p_value_is_one_over_the_wealth() -> None:
    rows = [0.0] * 30
    assert p_value(rows, epsilon=0.05, delta=0.1) == pytest.approx(
        1 / wealth(rows, epsilon=0.05, delta=0.1)
    )
    assert p_value([1.0] * 30, epsilon=0.05, delta=0.1) == 1.0


@pytest.mark.parametrize(("gain", "loss"), [(0.0, 0.1), (0.05, 0.15), (0.3, 0.4)])
def test_a_true_claim_is_refuted_in_at_most_delta_of_draws(gain: float, loss: float) -> None:
    draw = random.Random(1)
    weights = [gain, 1 - gain - loss, loss]
    refuted = sum(
        refutes(draw.choices([-1.0, 0.0, 1.0], weights, k=150), epsilon=0.1, delta=0.1)
        for _ in range(800)
    )
    assert refuted / 800 <= 0.1 + 3 * (0.09 / 800) ** 0.5


@given(losses, levels, levels)
def test_wealth_is_positive_and_starts_at_one(
    rows: list[float], epsilon: float, delta: float
) -> None:
    assert wealth(rows, epsilon=epsilon, delta=delta) >= 1.0
    assert 0.0 < p_value(rows, epsilon=epsilon, delta=delta) <= 1.0


@given(levels, levels)
def test_the_fewest_rows_are_those_that_suffice_without_a_loss(
    epsilon: float, delta: float
) -> None:
    fewest = labels_needed((), epsilon=epsilon, delta=delta)
    assert fewest is not None
    assert not refutes([0.0] * (fewest - 1), epsilon=epsilon, delta=delta)
    enough = [0.0] * (fewest + max(2, fewest // 2))
    assert refutes(enough, epsilon=epsilon, delta=delta)
