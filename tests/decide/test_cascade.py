"""What a chain is expected to cost and to give."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.core.decision import Estimate
from metabolic.decide.cascade import Fit, choose, evaluate, frontier, lifted


def fit(name, *, net, p, accept=None, kept=None, gateable=True):
    estimate = Estimate(
        input_tokens=1,
        output_tokens=1,
        p_correct=p,
        p_accept=accept,
        p_correct_accepted=kept,
        marginal_energy_j=net,
        net_usd=net,
    )
    return name, estimate, gateable


SMALL = fit("small", net=1.0, p=0.7, accept=0.65, kept=0.97)
LARGE = fit("large", net=2.0, p=0.9)


def test_discarded_drafts_are_charged():
    plan = evaluate((SMALL, LARGE))
    assert plan.expected_net_usd == pytest.approx(1.0 + 0.35 * 2.0)
    assert plan.expected_energy_j == pytest.approx(1.0 + 0.35 * 2.0)
    assert plan.p_escalate == pytest.approx(0.35)


def test_what_the_gate_keeps_is_easier_for_the_rest_too():
    rest = lifted(0.9, before=0.7, after=0.97)
    assert rest > 0.97
    assert evaluate((SMALL, LARGE)).p_correct == pytest.approx(0.9 - 0.65 * (rest - 0.97))


def test_a_gate_that_tells_nothing_gives_up_the_difference():
    blind = fit("blind", net=1.0, p=0.7, accept=0.5, kept=0.7)
    assert evaluate((blind, LARGE)).p_correct == pytest.approx(0.9 - 0.5 * 0.2)


def test_a_dominated_deployment_is_in_no_plan():
    dear_and_bad = fit("bad", net=3.0, p=0.5)
    assert [one[0] for one in frontier([dear_and_bad, LARGE, SMALL])] == ["small", "large"]


def test_a_deployment_without_log_probabilities_is_no_gate():
    mute = fit("mute", net=1.0, p=0.7, accept=0.65, kept=0.97, gateable=False)
    chosen, *_ = choose([mute, LARGE], max_loss=0.2, min_gain_ratio=0.0, max_stages=3)
    assert len(chosen.stages) == 1


def test_a_small_gain_is_not_worth_a_second_model():
    _, reference, _, why = choose([SMALL, LARGE], max_loss=0.05, min_gain_ratio=0.5, max_stages=3)
    assert reference.stages == ("large",)
    assert why == "the predicted gain is too small"


shares = st.floats(0.0, 1.0)


@given(shares, shares, shares)
def test_lifting_is_monotone_and_stays_a_probability(p, before, after):
    value = lifted(p, before=before, after=after)
    assert 0.0 <= value <= 1.0
    assert lifted(p, before=before, after=before) == pytest.approx(min(max(p, 1e-6), 1 - 1e-6))


@given(st.lists(st.tuples(shares, shares, shares, st.floats(0.01, 10)), min_size=1, max_size=6))
def test_the_chosen_plan_is_never_dearer_than_the_reference_nor_worse_than_allowed(rows):
    options: list[Fit] = [
        fit(f"d{i}", net=net, p=p, accept=accept, kept=kept)
        for i, (p, accept, kept, net) in enumerate(rows)
    ]
    chosen, reference, plans, _ = choose(options, max_loss=0.1, min_gain_ratio=0.0, max_stages=3)
    assert chosen.expected_net_usd <= reference.expected_net_usd
    assert chosen.p_correct >= reference.p_correct - 0.1 - 1e-9
    assert chosen in plans
