"""What drafting is worth, learned from what engines report."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.core.speculation import Drafts
from metabolic.decide.acceptance import (
    Acceptance,
    StepCost,
    alpha_of,
    bounds,
    lent,
    observe,
    observe_cost,
    prior,
    tau,
    token_cost,
)

ratios = st.floats(0.0, 0.99)


def _drawn(alpha: float, tokens: int, steps: int, seed: int) -> tuple[int, int]:
    """Return accepted and written tokens of steps that draft ``tokens`` each."""
    draw = random.Random(seed)
    accepted = 0
    for _ in range(steps):
        for _ in range(tokens):
            if draw.random() >= alpha:
                break
            accepted += 1
    return accepted, accepted + steps


@given(ratios, st.integers(1, 8))
def test_tokens_of_a_step_are_the_geometric_sum(alpha: float, tokens: int) -> None:
    assert tau(alpha, tokens) == pytest.approx((1 - alpha ** (tokens + 1)) / (1 - alpha))


@given(ratios, st.integers(1, 8))
def test_the_chance_of_a_token_is_found_from_the_accepted_ones(alpha: float, tokens: int) -> None:
    assert alpha_of(tau(alpha, tokens) - 1, tokens) == pytest.approx(alpha, abs=1e-6)


@pytest.mark.parametrize("alpha", [0.3, 0.6, 0.9])
def test_acceptance_is_not_biased_by_the_length_of_drafts(alpha: float) -> None:
    known = Acceptance()
    for seed in range(200):
        accepted, written = _drawn(alpha, 4, 40, seed)
        drafts = Drafts(drafted_tokens=160, accepted_tokens=accepted)
        known = observe(known, drafts, output_tokens=written, method="draft", tokens=4)
    low, mean, high = bounds(known)
    truth = tau(alpha, 4) - 1
    assert mean == pytest.approx(truth, rel=0.05)
    assert low <= mean <= high
    assert known.accepted_tokens / known.drafted_tokens < alpha  # what the naive share says


def test_the_lower_bound_is_below_the_truth_nine_times_in_ten() -> None:
    below = 0
    for seed in range(300):
        accepted, written = _drawn(0.6, 4, 15, seed)
        drafts = Drafts(drafted_tokens=60, accepted_tokens=accepted)
        known = observe(Acceptance(), drafts, output_tokens=written, method="draft", tokens=4)
        below += bounds(known)[0] <= tau(0.6, 4) - 1
    assert 0.85 <= below / 300 <= 0.99


def test_an_answer_without_drafts_lowers_what_a_look_up_is_worth() -> None:
    hit = Drafts(drafted_tokens=48, accepted_tokens=48)
    known = observe(Acceptance(), hit, output_tokens=60, method="ngram", tokens=48)
    nothing = Drafts(drafted_tokens=0, accepted_tokens=0)
    after = observe(known, nothing, output_tokens=60, method="ngram", tokens=48)
    assert bounds(after)[1] < bounds(known)[1] / 3


def test_drafts_that_were_kept_whole_leave_little_doubt() -> None:
    all_kept = Drafts(drafted_tokens=480, accepted_tokens=480)
    known = observe(Acceptance(), all_kept, output_tokens=600, method="ngram", tokens=48)
    low, mean, high = bounds(known)
    assert mean == pytest.approx(4.0)
    assert low > 0.75 * mean
    assert high <= mean


def test_old_answers_are_forgotten() -> None:
    known = Acceptance()
    for accepted in [90] * 50 + [0] * 300:
        drafts = Drafts(drafted_tokens=100, accepted_tokens=accepted)
        known = observe(known, drafts, output_tokens=100, method="draft", tokens=4)
    assert bounds(known)[1] < 0.01


def test_a_kind_without_evidence_lives_on_what_its_parents_lend() -> None:
    first = prior("code_generation", method="draft", tokens=4)
    assert bounds(lent([], first))[1] == pytest.approx(tau(0.8, 4) - 1)
    wide = Acceptance(1000.0, 4000.0, 500.0, 1000.0, 50.0)
    narrow = Acceptance(1000.0, 4000.0, 3000.0, 1000.0, 600.0)
    assert bounds(lent([wide], first))[1] == pytest.approx(0.5, rel=0.15)
    assert bounds(lent([wide, narrow], first))[1] == pytest.approx(3.0, rel=0.05)


@given(st.sampled_from(["ngram", "draft"]), st.integers(1, 48), st.text(max_size=12))
def test_a_prior_is_in_order_for_every_task(method: str, tokens: int, task: str) -> None:
    low, mean, high = bounds(prior(task, method=method, tokens=tokens))
    assert 0.0 <= low <= mean <= high + 1e-9


@given(st.floats(0.001, 2.0), st.floats(0.0, 3.0), st.floats(0.0, 2.0))
def test_the_cost_of_a_drafted_token_is_found_from_mixed_answers(
    step_s: float, cost: float, believed: float
) -> None:
    known = StepCost()
    for steps, drafted in ((60.0, 0.0), (20.0, 60.0), (40.0, 10.0), (10.0, 100.0)) * 5:
        seconds = step_s * (steps + cost * drafted)
        known = observe_cost(known, seconds=seconds, steps=steps, drafted_tokens=drafted)
    assert token_cost(known, believed) == pytest.approx(cost, abs=0.15 * (1 + abs(cost - believed)))


def test_answers_that_all_draft_alike_leave_the_belief_as_it_was() -> None:
    known = StepCost()
    for _ in range(20):
        known = observe_cost(known, seconds=0.1 * (20 + 0.5 * 60), steps=20, drafted_tokens=60)
    assert token_cost(known, 0.5) == pytest.approx(0.5, abs=0.01)
    assert token_cost(StepCost(), 0.5) is None


def test_an_answer_of_nothing_teaches_nothing() -> None:
    assert observe_cost(StepCost(), seconds=0.0, steps=5, drafted_tokens=1) == StepCost()
