"""What is chosen, and why."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.core.decision import Belief
from metabolic.core.fleet import Load, Price
from metabolic.core.metabolic import MetabolicState
from metabolic.core.request import Ask, Limits, WarmPrefix
from metabolic.core.signals import PCorrect, Signals
from metabolic.decide.decide import decide, why, why_none
from metabolic.decide.estimate import prepare
from metabolic.testing.fleets import deployment, edge, policy_of, situation_of

SMALL = deployment("small", parameters=500_000_000, decode_tokens_per_s=24)
LARGE = deployment("large", parameters=1_500_000_000, decode_tokens_per_s=12)
TINY = deployment("tiny", parameters=135_000_000, decode_tokens_per_s=70, tasks=("extraction",))
BELIEFS = (
    Belief(
        deployment="small",
        lane="*",
        p_correct=0.73,
        p_accept=0.65,
        p_correct_accepted=0.97,
        evidence=600,
    ),
    Belief(deployment="large", lane="*", p_correct=0.92, evidence=600),
)
POLICY = policy_of(*BELIEFS)
SIGNALS = Signals(task="open_qa", lane="open_qa", expected_output_tokens=40)


def ask(**changes: object) -> Ask:
    return msgspec.structs.replace(Ask(id="r", at_s=1.0, input_tokens=50), **changes)


def stages(decision):
    return [one.deployment for one in decision.stages]


def test_a_gate_that_keeps_most_drafts_makes_a_cascade():
    decision = decide(ask(), SIGNALS, situation_of(SMALL, LARGE), POLICY)
    assert stages(decision) == ["small", "large"]
    assert decision.stages[0].min_confidence == 0.82
    assert decision.stages[1].min_confidence is None
    assert decision.abstained is None
    assert decision.certified is False


def test_a_gate_that_escalates_more_than_half_at_half_the_cost_is_not_built():
    weak = msgspec.structs.replace(BELIEFS[0], p_accept=0.4)
    decision = decide(ask(), SIGNALS, situation_of(SMALL, LARGE), policy_of(weak, BELIEFS[1]))
    assert stages(decision) == ["large"]
    assert decision.abstained is not None


def test_a_small_model_that_is_as_good_answers_alone():
    good = msgspec.structs.replace(BELIEFS[0], p_correct=0.92)
    decision = decide(ask(), SIGNALS, situation_of(SMALL, LARGE), policy_of(good, BELIEFS[1]))
    assert stages(decision) == ["small"]


def test_quality_first_gives_nothing_up():
    decision = decide(
        ask(preference=0.0),
        SIGNALS,
        situation_of(SMALL, LARGE),
        policy_of(msgspec.structs.replace(BELIEFS[0], p_correct_accepted=0.80), BELIEFS[1]),
    )
    assert stages(decision) == ["large"]


def test_a_pin_answers_alone_and_streams_as_it_comes():
    decision = decide(ask(pin="small", stream=True), SIGNALS, situation_of(SMALL, LARGE), POLICY)
    assert stages(decision) == ["small"]
    assert decision.delivery == "stream"
    assert decision.fallbacks == ()


def test_a_routed_stream_is_held_by_default_and_one_stage_when_it_must_flow():
    held = decide(ask(stream=True), SIGNALS, situation_of(SMALL, LARGE), POLICY)
    flowing = decide(
        ask(stream=True, delivery="stream"), SIGNALS, situation_of(SMALL, LARGE), POLICY
    )
    assert (held.delivery, len(held.stages)) == ("hold", 2)
    assert (flowing.delivery, len(flowing.stages)) == ("stream", 1)
    assert flowing.stages[0].min_confidence is None


def test_an_unproven_model_is_rejected_with_the_reason():
    decision = decide(ask(), SIGNALS, situation_of(TINY, LARGE), POLICY)
    reasons = {one.deployment: one.rejected for one in decision.candidates}
    assert reasons == {"tiny": "not proven for open_qa", "large": None}


def test_an_unproven_model_that_is_alone_answers_degraded():
    situation = situation_of(TINY, LARGE, load=(Load(deployment="large", state="absent"),))
    decision = decide(ask(), SIGNALS, situation, POLICY)
    assert decision.stages == ()
    assert [one.deployment for one in decision.fallbacks] == ["tiny"]
    assert {one.deployment: one.rejected for one in decision.candidates} == {
        "tiny": "not proven for open_qa",
        "large": "model not fetched yet",
    }


def test_a_tool_result_goes_back_to_the_model_that_asked():
    decision = decide(ask(conversation_pin="small"), SIGNALS, situation_of(SMALL, LARGE), POLICY)
    assert stages(decision) == ["small"]


@pytest.mark.parametrize(("kind", "first"), [("best", "large"), ("cheapest", "small")])
def test_a_policy_of_one_still_has_somebody_to_fall_back_on(kind, first):
    policy = msgspec.structs.replace(POLICY, kind=kind)
    decision = decide(ask(), SIGNALS, situation_of(SMALL, LARGE), policy)
    assert stages(decision) == [first]
    assert {one.deployment for one in decision.fallbacks} == {"small", "large"} - {first}


def test_a_pinned_deployment_has_nobody_to_fall_back_on():
    decision = decide(ask(pin="small"), SIGNALS, situation_of(SMALL, LARGE), POLICY)
    assert decision.fallbacks == ()


def test_a_conversation_pin_that_is_down_does_not_bind():
    situation = situation_of(SMALL, LARGE, load=(Load(deployment="small", state="failed"),))
    assert stages(decide(ask(conversation_pin="small"), SIGNALS, situation, POLICY)) == ["large"]


def test_nobody_fit_is_a_decision_without_stages_that_says_why():
    situation = situation_of(SMALL, load=(Load(deployment="small", state="failed"),))
    decision = decide(ask(needs=("vision",)), SIGNALS, situation, POLICY)
    assert decision.stages == ()
    assert why_none(decision) == "small: engine failed"


def test_needs_context_and_limits_reject():
    situation = situation_of(SMALL)
    cases = {
        "no vision": ask(needs=("vision",)),
        "needs 5000 tokens of context, has 4096": ask(input_tokens=5000),
        "does not serve embeddings": ask(dialect="embeddings"),
        "would take 9.4 J, limit 1.0": ask(limits=Limits(max_energy_j=1.0)),
        "would take 2.4 s, deadline 0.5": ask(limits=Limits(deadline_s=0.5)),
        "not in the virtual model": ask(allowed=("large",)),
    }
    for reason, one in cases.items():
        assert why_none(decide(one, SIGNALS, situation, POLICY)) == f"small: {reason}"


def test_a_profile_without_that_tier_rejects_it():
    policy = policy_of(*BELIEFS, profile=edge(tiers=("tiny",)))
    decision = decide(ask(), SIGNALS, situation_of(SMALL, LARGE), policy)
    assert stages(decision) == ["small"]
    assert "profile edge does not use small models" in why_none(decision)


def test_a_cold_model_that_does_not_fit_memory_is_rejected():
    situation = situation_of(
        SMALL,
        load=(Load(deployment="small", state="asleep"),),
        metabolic=MetabolicState(memory_available_bytes=100e6),
    )
    assert "needs 500 MB to wake, 100 MB free" in why_none(
        decide(ask(), SIGNALS, situation, POLICY)
    )


def test_waking_counts_in_the_time_to_first_token():
    cold = situation_of(SMALL, load=(Load(deployment="small", state="asleep"),))
    warm = situation_of(SMALL, load=(Load(deployment="small"),))
    ttft = [
        decide(ask(), SIGNALS, one, POLICY).candidates[0].estimate.ttft_s for one in (cold, warm)
    ]
    assert ttft[0] == ttft[1] + 2.0


def test_a_lost_prompt_cache_is_charged():
    price = Price(input_usd_per_token=3e-6, output_usd_per_token=15e-6, cached_usd_per_token=0.3e-6)
    cheaper = Price(
        input_usd_per_token=1e-6, output_usd_per_token=5e-6, cached_usd_per_token=0.1e-6
    )
    dear, cheap = deployment("dear", price=price), deployment("cheap", price=cheaper)
    policy = policy_of(Belief(deployment="*", lane="*", p_correct=0.9))
    cold = decide(ask(input_tokens=4000), SIGNALS, situation_of(dear, cheap), policy)
    warm = ask(input_tokens=4000, warm=(WarmPrefix(deployment="dear", prefix_tokens=3900),))
    sticky = decide(warm, SIGNALS, situation_of(dear, cheap), policy)
    assert stages(cold) == ["cheap"]
    assert stages(sticky) == ["dear"]
    lost = {one.deployment: one.estimate.lost_cache_usd for one in sticky.candidates}
    assert lost["dear"] == 0.0
    assert lost["cheap"] > 0.0


def test_a_learned_head_outweighs_the_size_prior():
    signals = msgspec.structs.replace(
        SIGNALS, p_correct=(PCorrect(deployment="small", p_correct=0.99, evidence=5000),)
    )
    decision = decide(ask(), signals, situation_of(SMALL, LARGE), policy_of())
    estimates = {one.deployment: one.estimate for one in decision.candidates}
    assert estimates["small"].p_correct > 0.98


def test_heat_makes_local_energy_dearer_and_unknown_heat_moves_nothing():
    def net(risk):
        state = MetabolicState(throttle_risk_ratio=risk)
        decision = decide(ask(), SIGNALS, situation_of(SMALL, metabolic=state), POLICY)
        return decision.candidates[0].estimate.net_usd

    assert net(None) == net(0.0)
    assert net(1.0) == 2 * net(0.0)


prices = st.floats(min_value=1e-8, max_value=1e-3)
deployments = st.lists(
    st.builds(
        lambda number, parameters, speed, cost: deployment(
            f"d{number}",
            parameters=parameters,
            decode_tokens_per_s=speed,
            price=None
            if cost is None
            else Price(input_usd_per_token=cost, output_usd_per_token=cost),
        ),
        st.integers(0, 50),
        st.integers(10**8, 10**11),
        st.floats(1, 500),
        st.none() | prices,
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda one: one.name,
)


@given(deployments, st.randoms(use_true_random=False))
def test_fleet_order_does_not_matter(fleet, random):
    shuffled = list(fleet)
    random.shuffle(shuffled)
    one = decide(ask(), SIGNALS, situation_of(*fleet), POLICY)
    other = decide(ask(), SIGNALS, situation_of(*shuffled), POLICY)
    assert one == other


@given(deployments)
def test_equal_inputs_give_equal_decisions_prepared_or_not(fleet):
    situation = situation_of(*fleet)
    prepared = prepare(situation.fleet, POLICY)
    assert decide(ask(), SIGNALS, situation, POLICY) == decide(
        ask(), SIGNALS, situation, POLICY, prepared=prepared
    )


@given(deployments, st.floats(0, 1), st.floats(0, 1))
def test_expected_cost_never_rises_with_the_dial(fleet, one, other):
    low, high = sorted((one, other))
    situation = situation_of(*fleet)

    def expected(preference):
        decision = decide(ask(preference=preference), SIGNALS, situation, POLICY)
        names = tuple(stages(decision))
        return next(plan.expected_net_usd for plan in decision.plans if plan.stages == names)

    # Abstaining for a gain under 2 % may cost that much more than the plan it turned down.
    assert expected(high) <= expected(low) * (1 + 0.02 / 0.98) + 1e-15


@given(deployments)
def test_every_deployment_comes_out_a_candidate_or_rejected_with_a_reason(fleet):
    decision = decide(ask(), SIGNALS, situation_of(*fleet), POLICY)
    assert [one.deployment for one in decision.candidates] == sorted(one.name for one in fleet)
    assert all(
        (one.estimate is not None) != (one.rejected is not None) for one in decision.candidates
    )


@given(deployments)
def test_no_rejected_deployment_is_ever_a_stage(fleet):
    down = fleet[0].name
    situation = situation_of(*fleet, load=(Load(deployment=down, state="failed"),))
    decision = decide(ask(), SIGNALS, situation, POLICY)
    chosen = {one.deployment for one in (*decision.stages, *decision.fallbacks)}
    assert down not in chosen


def test_a_deployment_that_is_left_alone_may_still_be_pinned():
    situation = situation_of(SMALL, LARGE, load=(Load(deployment="small", healthy=False),))
    assert stages(decide(ask(pin="small"), SIGNALS, situation, POLICY)) == ["small"]
    assert stages(decide(ask(), SIGNALS, situation, POLICY)) == ["large"]


def test_the_reasons_of_a_plan_are_told_in_words():
    decision = decide(ask(), SIGNALS, situation_of(SMALL, LARGE), POLICY)
    best, chosen, pays = why(decision)
    assert pays.startswith("small then large pays where more than ")
    assert best.startswith("best single: large")
    assert chosen.startswith("small then large: expected net cost -")


def test_unknown_is_never_free():
    unknown = msgspec.structs.replace(SMALL, prefill_tokens_per_s=None, decode_tokens_per_s=None)
    estimate = decide(ask(), SIGNALS, situation_of(unknown), POLICY).candidates[0].estimate
    assert estimate.energy_j is None
    assert estimate.net_usd > 0


def joules(**load: Any) -> tuple[float, float]:
    found = situation_of(LARGE, load=(Load(deployment="large", **load),))
    one = decide(ask(), SIGNALS, found, POLICY).candidates[0].estimate
    assert one is not None
    assert one.energy_j is not None
    assert one.marginal_energy_j is not None
    return one.energy_j, one.marginal_energy_j


def test_joules_are_those_the_meter_has_read_of_late():
    energy_j, marginal_j = joules()
    assert energy_j == marginal_j
    assert joules(energy_ratio=2.0) == (2 * energy_j, 2 * energy_j)


def test_one_more_in_a_batch_costs_less_than_its_share_where_power_hardly_grows():
    alone_j, _ = joules()
    share_j, marginal_j = joules(running=3, batch_exponent=0.5)
    assert share_j == pytest.approx(alone_j / 2)
    assert marginal_j == pytest.approx(alone_j * (2 - 3**0.5))
    assert marginal_j < share_j < alone_j


def test_on_a_cpu_one_more_costs_what_it_costs_alone():
    assert joules(running=3, batch_exponent=1.0) == joules()
