"""Bounds on the quality a lane loses: what they hold, and how they move with labels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("duckdb", reason="needs the extra audit")

from metabolic.audit.evidence import NO_LABELS, labels_needed, loss_of
from metabolic.audit.prices import Entry, read_prices
from metabolic.core.errors import ConfigError


def found(losses, weights=None):
    values = np.array(losses, float)
    weight = np.ones_like(values) if weights is None else np.array(weights, float)
    return {
        "weight": weight,
        "loss": weight * values,
        "loss2": weight * values**2,
        "count": np.ones_like(values),
        "shadow_out": weight,
        "served_out": weight,
    }


def test_no_labels_and_few_labels_say_nothing():
    assert loss_of(None, alpha=0.05) == NO_LABELS
    assert loss_of(found([0.0] * 9), alpha=0.05) == NO_LABELS


def test_without_a_loss_seen_the_upper_bound_is_that_of_none_in_n():
    made = loss_of(found([0.0] * 300), alpha=0.05)
    assert made.mean == 0
    assert 3.68 / 302 <= made.high < 0.014


@given(st.lists(st.sampled_from([-1.0, 0.0, 0.0, 0.0, 1.0]), min_size=10, max_size=200))
def test_the_mean_lies_within_bounds_that_lie_within_minus_one_and_one(losses):
    made = loss_of(found(losses), alpha=0.05)
    assert made.mean is not None
    assert made.mean == pytest.approx(np.mean(losses))
    assert -1 <= made.low <= made.mean <= made.high <= 1


@settings(max_examples=30)
@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=10, max_size=60))
def test_equal_weights_of_any_size_change_nothing(losses):
    one = loss_of(found(losses), alpha=0.05)
    other = loss_of(found(losses, [7.0] * len(losses)), alpha=0.05)
    assert (other.low, other.high) == pytest.approx((one.low, one.high))


def test_bounds_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(400):
        losses = rng.choice([-1.0, 0.0, 1.0], p=[0.02, 0.93, 0.05], size=150)
        made = loss_of(found(losses), alpha=0.1)
        held += made.low <= 0.03 <= made.high
    assert held >= 0.86 * 400  # nominally 0.9, by an approximation; 400 draws tell it to 0.03


def test_more_labels_are_needed_the_nearer_the_loss_is_to_the_limit():
    near = loss_of(found([0.0] * 95 + [1.0] * 3), alpha=0.05)
    far = loss_of(found([0.0] * 60 + [1.0] * 40), alpha=0.05)
    needed = [labels_needed(one, epsilon=0.02, alpha=0.05) for one in (near, far)]
    assert needed[0] is not None
    assert needed[1] is not None
    assert needed[0] > needed[1]


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("openai/gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("mistral/mistral-small", "mistral-small-latest"),
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b-instruct"),
    ],
)
def test_models_are_known_by_the_names_logs_use(name, entry):
    made = read_prices().find(name)
    assert made is not None
    assert made.model == entry


def test_a_model_nobody_knows_has_no_price():
    assert read_prices().find("gpt-4o-but-not-really") is None


def test_own_prices_go_before_those_that_come_along(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text(
        'as_of = "2026-11-01"\n[[price]]\nmodel = "gpt-4o"\ninput = 1.0\noutput = 2.0\n'
    )
    made = read_prices(path)
    own = Entry(model="gpt-4o", input=1.0, output=2.0, cheaper="gpt-4o-mini")
    assert made.find("gpt-4o") == own  # no discount of its own: the older one does not hold
    assert "2026-11-01" in made.as_of
    path.write_text("as_of = 3\n")
    with pytest.raises(ConfigError, match=r"prices\.toml"):
        read_prices(path)


def test_every_model_tried_instead_has_a_price_and_asks_less():
    table = read_prices()
    for name in table.named():
        one = table.find(name)
        assert one is not None
        if one.cheaper is not None:
            other = table.find(one.cheaper)
            assert other is not None
            assert other.input + other.output < one.input + one.output
