"""The client's time and the check of a draft are part of what an answer costs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from metabolic.core.checking import CheckCost, Checking
from metabolic.core.decision import Belief, Decision, Estimate, Policy
from metabolic.core.fleet import Load
from metabolic.core.request import Ask, Limits
from metabolic.core.signals import Signals
from metabolic.decide.cascade import is_late
from metabolic.decide.decide import decide
from metabolic.decide.dues import SLOW_TPOT_S, SLOW_TTFT_S, seconds_of, with_dues
from metabolic.decide.prices import prices
from metabolic.testing.fleets import deployment, policy_of, situation_of

ESTIMATE = Estimate(input_tokens=10, output_tokens=100, ttft_s=0.5, tpot_s=0.02, net_usd=0.001)
CHECKING = Checking(
    cpu_s=0.1, wait_s=0.4, usd=0.002, parts=(CheckCost(name="judge", cpu_s=0.1, wait_s=0.4),)
)


def policy(**changes: object) -> Policy:
    return replace(policy_of(), **changes)


def test_a_check_costs_its_joules_and_what_is_paid_for_it() -> None:
    found = with_dues(ESTIMATE, policy(checking=CHECKING, cpu_w_per_core=5.0), usd_per_j=0.01)
    assert found.check_usd == pytest.approx(0.002 + 0.1 * 5.0 * 0.01)
    assert found.check_s == pytest.approx(0.5)
    assert found.net_usd == pytest.approx(0.001 + found.check_usd)
    assert found.wait_usd == 0.0


def test_waiting_costs_by_the_hour_to_the_end_of_the_check() -> None:
    found = with_dues(ESTIMATE, policy(checking=CHECKING, wait_usd_per_h=3600.0), usd_per_j=0.0)
    assert found.wait_usd == pytest.approx(0.5 + 2.0 + 0.5)
    assert seconds_of(found) == pytest.approx(3.0)


def test_a_wait_that_is_not_known_is_taken_to_be_long() -> None:
    unknown = Estimate(input_tokens=10, output_tokens=100)
    found = with_dues(unknown, policy(wait_usd_per_h=3600.0), usd_per_j=0.0)
    assert found.wait_usd == pytest.approx(SLOW_TTFT_S + 100 * SLOW_TPOT_S)
    assert seconds_of(found) is None


@given(st.floats(0, 100), st.floats(0, 100))
def test_a_longer_queue_never_makes_an_answer_cheaper(one: float, other: float) -> None:
    priced = policy(wait_usd_per_h=7.0)
    short, long = sorted((one, other))
    near, far = (
        with_dues(
            Estimate(input_tokens=1, output_tokens=1, ttft_s=ttft_s, tpot_s=0.1),
            priced,
            usd_per_j=0.0,
        )
        for ttft_s in (short, long)
    )
    assert near.net_usd <= far.net_usd


def decided(
    *, deadline_s: float | None = None, load: tuple[Load, ...] = (), **changes: object
) -> Decision:
    """Return a decision between a small and a large local model, the gate of which pays."""
    small = deployment("small", parameters=500_000_000, decode_tokens_per_s=100.0)
    large = deployment("large", parameters=8_000_000_000, decode_tokens_per_s=20.0)
    beliefs = (
        Belief(
            deployment="small",
            lane="*",
            p_correct=0.8,
            p_accept=0.8,
            p_correct_accepted=0.97,
            evidence=9_000,
        ),
        Belief(deployment="large", lane="*", p_correct=0.9, evidence=9_000),
    )
    return decide(
        Ask(id="a", at_s=0.0, input_tokens=20, limits=Limits(deadline_s=deadline_s)),
        Signals(task="open_qa", lane="open_qa", expected_output_tokens=100),
        situation_of(small, large, load=load),
        replace(policy_of(*beliefs), preference=1.0, **changes),
    )


def names(decision: Decision) -> list[str]:
    return [one.deployment for one in decision.stages]


def test_dear_checks_make_a_gate_that_pays_lose() -> None:
    assert names(decided()) == ["small", "large"]
    dear = Checking(cpu_s=0.0, usd=1.0)
    assert names(decided(checking=dear)) != ["small", "large"]


def test_a_queue_before_the_small_model_moves_traffic_when_time_has_a_price() -> None:
    queue = (
        Load(deployment="small", waiting=60, running=1),
        Load(deployment="large", waiting=0, running=0),
    )
    assert "small" in names(decided(load=queue))
    assert names(decided(load=queue, wait_usd_per_h=50.0)) == ["large"]


def test_a_cascade_that_cannot_be_walked_in_time_is_none() -> None:
    relaxed = decided(deadline_s=60.0)
    assert names(relaxed) == ["small", "large"]
    seconds = [
        found
        for one in relaxed.candidates
        if one.estimate is not None and (found := seconds_of(one.estimate)) is not None
    ]
    between = (max(seconds) + sum(seconds)) / 2
    assert names(decided(deadline_s=between)) == ["large"]


def test_one_alone_is_never_late_and_unknown_times_count_as_none() -> None:
    known = ("a", ESTIMATE, True)
    unknown = ("b", Estimate(input_tokens=1, output_tokens=1), True)
    assert not is_late((known,), 0.1)
    assert is_late((known, known), 4.9)
    assert not is_late((unknown, known), 2.6)
    assert not is_late((known, known), None)


def test_prices_add_up_and_name_the_break_even() -> None:
    found = prices(decided(checking=CHECKING, wait_usd_per_h=1.0))
    small = next(one for one in found if one.startswith("small: net "))
    assert "waiting" in small
    assert "checks" in small
    gate = next(one for one in found if one.startswith("small then large: escalating takes"))
    assert "breaks even where" in gate
    assert gate.endswith(("pays by cost", "does not pay"))


def test_a_gate_that_no_plan_has_is_explained_all_the_same() -> None:
    found = prices(decided(checking=Checking(cpu_s=0.0, usd=1.0)))
    assert any("breaks even where" in one and "does not pay" in one for one in found)
