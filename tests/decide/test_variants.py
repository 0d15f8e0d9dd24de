"""Variants: candidates of their own, with estimates, evidence and exploration of their own."""

from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metabolic.core.decision import Belief
from metabolic.core.fleet import Price, Variant
from metabolic.core.lanes import Arm, LanePin, LaneTable, Tally
from metabolic.core.request import Ask, WarmPrefix
from metabolic.core.signals import Signals
from metabolic.decide.decide import decide, why
from metabolic.decide.digest import sealed
from metabolic.decide.variants import believed, foreseen, key_of, refusal
from metabolic.testing.fleets import deployment, policy_of, situation_of

replace = msgspec.structs.replace

LANE = "open_qa/plain/medium"
PRICE = Price(input_usd_per_token=1e-6, output_usd_per_token=4e-6, cached_usd_per_token=1e-7)
LOW = Variant(name="low", reasoning_effort="low")
HIGH = Variant(name="high", reasoning_effort="high")
SHORT = Variant(name="short", max_output_tokens=50)
MODEL = replace(deployment("m", parameters=6_000_000_000, price=PRICE), variants=(HIGH, LOW, SHORT))
SIGNALS = Signals(task="open_qa", lane="open_qa", expected_output_tokens=200)
ASK = Ask(id="r", at_s=1.0, input_tokens=100, preference=1.0)


def decided(*tallies: Tally, asked: Ask = ASK, fleet=(MODEL,), **changes: object):
    table = replace(LaneTable(tallies=tallies), **changes) if tallies or changes else None
    policy = sealed(replace(policy_of(), lanes=table))
    return decide(asked, SIGNALS, situation_of(*fleet), policy)


def tally(variant: str | None, share: float, *, labels: float = 300, **more: object) -> Tally:
    one = Tally(lane=LANE, deployment="m", variant=variant, labels=labels, correct=labels * share)
    return replace(one, **more)


def chosen(made) -> list[tuple[str, str | None]]:
    return [(one.deployment, one.variant) for one in made.stages]


def test_every_variant_is_a_candidate_with_its_own_tokens_cost_and_belief():
    by_name: dict[str | None, Any] = {one.variant: one.estimate for one in decided().candidates}
    assert by_name.keys() == {None, "high", "low", "short"}
    tokens = {name: one.output_tokens for name, one in by_name.items()}
    assert tokens == {None: 200, "high": 400, "low": 100, "short": 50}
    assert by_name["low"].cost_usd < by_name[None].cost_usd < by_name["high"].cost_usd
    assert by_name["short"].p_correct < by_name["low"].p_correct < by_name[None].p_correct
    assert by_name["high"].p_correct == pytest.approx(by_name[None].p_correct)


def test_without_evidence_the_deployment_answers_as_it_is():
    assert chosen(decided(asked=replace(ASK, preference=0.5))) == [("m", None)]


def test_a_variant_that_has_shown_to_be_as_good_and_cheaper_answers():
    made = decided(tally(None, 0.9), tally("low", 0.9), tally("high", 0.9))
    assert chosen(made) == [("m", "low")]
    assert made.fallbacks == ()  # what fails at one variant fails at all
    assert made.reference == "m"
    assert any("m:low" in line for line in why(made))


def test_a_variant_that_has_shown_to_be_better_answers_who_asks_for_quality():
    evidence = tally(None, 0.6), tally("high", 0.95), tally("low", 0.5)
    assert chosen(decided(*evidence, asked=replace(ASK, preference=0.0))) == [("m", "high")]


def test_what_a_variant_writes_is_learned_and_priced():
    long = {"counted": 50, "output_tokens": 50_000, "foreseen_tokens": 10_000}
    made = decided(tally(None, 0.9), tally("low", 0.9, **long))
    by_name = {one.variant: one.estimate for one in made.candidates}
    assert by_name["low"].output_tokens == 1000
    assert chosen(made) != [("m", "low")]


def test_evidence_of_a_variant_says_nothing_of_the_deployment():
    before = {one.variant: one.estimate for one in decided(tally(None, 0.9)).candidates}
    after = {
        one.variant: one.estimate for one in decided(tally(None, 0.9), tally("low", 0.2)).candidates
    }
    assert after[None].p_correct == before[None].p_correct
    assert after["low"].p_correct < 0.3 < before["low"].p_correct
    assert (before["low"].evidence, after["low"].evidence) == (0, 300)


def test_a_belief_may_name_a_variant():
    policy = sealed(
        replace(
            policy_of(),
            beliefs=(
                Belief(deployment="m", lane="*", p_correct=0.8, evidence=400),
                Belief(deployment="m:low", lane="*", p_correct=0.95, evidence=400),
            ),
        )
    )
    made = decide(ASK, SIGNALS, situation_of(MODEL), policy)
    found = {one.variant: one.estimate.p_correct for one in made.candidates}
    assert found["low"] > 0.9 > found[None]
    assert chosen(made) == [("m", "low")]


def test_a_client_who_chose_the_effort_is_not_overruled():
    made = decided(tally("low", 0.99), asked=replace(ASK, own_effort=True))
    rejected = {one.variant: one.rejected for one in made.candidates}
    assert rejected["low"] == rejected["high"] == "the client chose the effort itself"
    assert rejected["short"] is None


def test_a_variant_that_leaves_no_room_to_answer_is_rejected():
    thinks = Variant(name="deep", thinking_tokens=4000)
    assert refusal(thinks, replace(ASK, max_output_tokens=1000)) is not None
    assert refusal(thinks, replace(ASK, max_output_tokens=5000)) is None
    assert refusal(LOW, replace(ASK, dialect="completions")) == (
        "variants are for chat, not completions"
    )


def test_a_client_may_name_a_variant_and_naming_the_deployment_means_it_as_it_is():
    assert chosen(decided(asked=replace(ASK, pin="m:high"))) == [("m", "high")]
    assert chosen(decided(tally("low", 0.99), asked=replace(ASK, pin="m"))) == [("m", None)]
    assert chosen(decided(asked=replace(ASK, allowed=("m:short",)))) == [("m", "short")]


def test_a_pin_may_name_a_variant_and_one_that_is_gone_is_passed_over():
    pin = LanePin(lane="*", deployment="m", variant="high")
    assert chosen(decided(pins=(pin,))) == [("m", "high")]
    gone = replace(pin, variant="gone")
    assert chosen(decided(pins=(gone,), asked=replace(ASK, preference=0.0))) == [("m", None)]


def test_a_tool_result_goes_back_to_the_variant_that_called():
    asked = replace(ASK, conversation_pin="m:high")
    assert chosen(decided(tally("low", 0.99), asked=asked)) == [("m", "high")]


def test_variants_share_the_prompt_cache():
    asked = replace(ASK, warm=(WarmPrefix(deployment="m", prefix_tokens=90),), turns=3)
    made = decided(tally(None, 0.9), tally("low", 0.9), asked=asked)
    costs: dict[str | None, Any] = {one.variant: one.estimate for one in made.candidates}
    assert all(one.lost_cache_usd == 0 for one in costs.values())
    assert costs["low"].cost_usd < costs[None].cost_usd
    assert chosen(made) == [("m", "low")]


def test_variants_are_explored_with_their_propensity():
    evidence = tally(None, 0.9), tally("low", 0.9, labels=40)
    drawn: Counter[str | None] = Counter()
    arms: tuple[Arm, ...] = ()
    for number in range(400):
        made = decided(*evidence, asked=replace(ASK, id=f"r{number}"), explore_ratio=0.3)
        (stage,) = made.stages
        drawn[stage.variant] += 1
        arm = next(
            one
            for one in made.arms
            if (one.deployment, one.variant) == (stage.deployment, stage.variant)
        )
        assert arm.propensity == made.propensity
        arms = made.arms
    assert sum(one.propensity for one in arms) == pytest.approx(1)
    assert drawn["low"] > 240
    assert len(drawn) > 1


def test_the_decision_names_the_version_of_its_evidence():
    made = decided(tally(None, 0.9), version="abc")
    assert (made.evidence, made.lane) == ("abc", LANE)


def test_names():
    assert (key_of("a:b", "c"), key_of("a", None)) == ("a:b:c", "a")


@given(st.floats(0.01, 0.99), st.integers(1, 4000))
def test_an_untried_variant_is_never_believed_to_be_better(p, tokens):
    for variant in (LOW, HIGH, SHORT, Variant(name="off", thinking=False)):
        assert believed(variant, p, tokens=tokens) <= p + 1e-12
        assert foreseen(variant, tokens, None) >= 1


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([None, "high", "low", "short"]),
            st.floats(0.05, 0.99),
            st.integers(0, 500),
        ),
        max_size=5,
    ),
    st.floats(0, 1),
    st.permutations([0, 1]),
)
def test_whatever_is_known_a_stage_is_a_fit_candidate(rows, dial, order):
    other = deployment(
        "n", parameters=1_000_000_000, price=replace(PRICE, output_usd_per_token=1e-6)
    )
    fleet = [MODEL, other]
    evidence = [tally(variant, share, labels=float(n)) for variant, share, n in rows]
    made = decided(*evidence, asked=replace(ASK, preference=dial), fleet=fleet)
    again = decided(
        *evidence, asked=replace(ASK, preference=dial), fleet=[fleet[at] for at in order]
    )
    assert made == again
    fit = {(one.deployment, one.variant) for one in made.candidates if one.rejected is None}
    assert set(chosen(made)) <= fit
    hosts = [one.deployment for one in made.fallbacks]
    assert len(hosts) == len(set(hosts))
    assert not set(hosts) & {one.deployment for one in made.stages}
