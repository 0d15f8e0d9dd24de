"""Which mode an answer is delivered by, and what its stages need for it."""

from math import log
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from metabolic.core.checkpoint import Checkpoint
from metabolic.core.decision import Belief
from metabolic.core.delivery import DeliveryRules
from metabolic.core.fleet import Price
from metabolic.core.metabolic import MetabolicState
from metabolic.core.request import Ask, Limits
from metabolic.core.signals import Signals
from metabolic.decide.decide import decide, why
from metabolic.decide.digest import sealed
from metabolic.testing.fleets import deployment, policy_of, situation_of

SMALL = deployment("small", parameters=500_000_000, decode_tokens_per_s=24)
LARGE = deployment("large", parameters=1_500_000_000, decode_tokens_per_s=12)
TWIN = replace(LARGE, name="twin")
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
    Belief(deployment="twin", lane="*", p_correct=0.92, evidence=600),
)
SIGNALS = Signals(task="open_qa", lane="open_qa", expected_output_tokens=40)


def decided(delivery: Any = "auto", *, rules=None, fleet=(SMALL, LARGE), checkpoints=(), **changes):
    policy = policy_of(*BELIEFS)
    policy = sealed(
        replace(policy, id="", delivery=rules or DeliveryRules(), checkpoints=checkpoints)
    )
    made: dict[str, Any] = {"stream": True, "may_hedge": True} | changes
    metabolic = made.pop("metabolic", None)
    ask = msgspec.structs.replace(Ask(id="r", at_s=1.0, input_tokens=50, delivery=delivery), **made)
    return decide(ask, SIGNALS, situation_of(*fleet, metabolic=metabolic), policy)


def names(decision):
    return [one.deployment for one in decision.stages]


@pytest.mark.parametrize("mode", ["window", "hedge", "replace"])
def test_a_mode_that_is_asked_for_keeps_the_cascade(mode):
    decision = decided(mode)
    assert names(decision) == ["small", "large"]
    assert decision.delivery == mode


def test_without_asking_everything_is_as_it_was():
    plain = decided("auto", may_hedge=False)
    assert plain.delivery == "hold"
    assert plain.stages[0].checkpoints == ()
    assert plain.stages[0].hedge is None
    assert decided("stream").delivery == "stream"
    assert decided("auto") == plain


@pytest.mark.parametrize("mode", ["window", "replace"])
@pytest.mark.parametrize(
    ("changes", "why_held"),
    [
        ({"stream": False}, "in one piece"),
        ({"n": 2}, "one choice"),
        ({"needs": ("json",)}, "whole"),
        ({"needs": ("tools",)}, "whole"),
    ],
)
def test_what_could_not_be_stood_behind_is_held_and_says_so(mode, changes, why_held):
    decision = decided(mode, **changes)
    assert decision.delivery == "hold"
    assert any(one.startswith(f"{mode}: held") and why_held in one for one in why(decision))


def test_a_pinned_stream_leaves_as_it_comes_whatever_is_asked():
    for mode in ("window", "hedge", "replace"):
        assert decided(mode, pin="small").delivery == "stream"


def test_a_window_opens_at_the_stages_own_threshold():
    first, last = decided("window").stages
    (end,) = first.checkpoints
    assert (end.tokens, end.min_logprob) == (16, -100.0)
    assert end.release_logprob == pytest.approx(log(0.82))
    assert last.checkpoints == ()


def test_a_window_may_have_a_length_and_a_threshold_of_its_own():
    rules = DeliveryRules(window_tokens=5, min_confidence=0.9)
    (end,) = decided("window", rules=rules).stages[0].checkpoints
    assert (end.tokens, end.release_logprob) == (5, pytest.approx(log(0.9)))


def test_learned_checkpoints_still_stop_a_draft_within_its_window():
    stop = Checkpoint(deployment="small", tokens=16, min_logprob=-1.0, rows=50)
    early = Checkpoint(deployment="small", tokens=8, min_logprob=-1.5, rows=50)
    at = decided("window", checkpoints=(stop, early)).stages[0].checkpoints
    assert [(one.tokens, one.min_logprob) for one in at] == [(8, -1.5), (16, -1.0)]
    assert [one.release_logprob is None for one in at] == [True, False]


def test_learned_ends_of_a_window_take_the_place_of_the_plain_one():
    learned = Checkpoint(deployment="small", tokens=8, min_logprob=-1.5, release_logprob=-0.05)
    assert decided("window", checkpoints=(learned,)).stages[0].checkpoints == (learned,)


def test_a_hedge_comes_after_a_share_of_the_drafts_time_and_in_doubt():
    hedge = decided("hedge").stages[0].hedge
    # 50 tokens in at 72/s and 40 out at 24/s are 2.4 s; half of it.
    assert hedge.after_s == pytest.approx(0.5 * (50 / 72 + 40 / 24), rel=0.05)
    assert hedge.deployment is None
    assert (hedge.doubt.tokens, hedge.doubt.min_logprob) == (8, pytest.approx(log(0.82)))
    fixed = decided("hedge", rules=DeliveryRules(hedge_after_s=0.2, hedge_doubt_tokens=0))
    assert (fixed.stages[0].hedge.after_s, fixed.stages[0].hedge.doubt) == (0.2, None)


def test_a_close_deadline_brings_the_hedge_forward():
    relaxed = decided("hedge", limits=Limits(deadline_s=60.0)).stages[0].hedge.after_s
    close = decided("hedge", limits=Limits(deadline_s=5.5)).stages[0].hedge.after_s
    assert relaxed == decided("hedge").stages[0].hedge.after_s
    assert 0 <= close < relaxed


@pytest.mark.parametrize(
    ("changes", "why_held"),
    [
        ({"may_hedge": False}, "budget of hedges is used up"),
        ({"metabolic": MetabolicState(level="critical")}, "heat or power"),
        ({"fleet": (LARGE,)}, "no gated draft"),
    ],
)
def test_a_hedge_that_may_not_be_is_a_held_cascade_and_says_so(changes, why_held):
    decision = decided("hedge", **changes)
    assert decision.delivery == "hold"
    assert all(one.hedge is None for one in decision.stages)
    assert any("hedge: held" in one and why_held in one for one in decision.reasons)


def test_a_client_whose_dollars_do_not_pay_for_both_gets_no_hedge():
    price = Price(input_usd_per_token=1e-6, output_usd_per_token=1e-6)
    priced = (
        deployment("small", parameters=500_000_000, decode_tokens_per_s=24, price=price),
        deployment(
            "large",
            parameters=1_500_000_000,
            decode_tokens_per_s=12,
            price=Price(input_usd_per_token=3e-6, output_usd_per_token=3e-6),
        ),
    )
    rich = decided("hedge", fleet=priced, limits=Limits(max_cost_usd=1.0))
    poor = decided("hedge", fleet=priced, limits=Limits(max_cost_usd=0.0003))
    assert rich.delivery == "hedge"
    assert names(poor) == names(rich)
    assert poor.delivery == "hold"
    assert any("client allows" in one for one in poor.reasons)


LATE = DeliveryRules(late_ratio=3.0)


def test_a_replica_is_asked_too_when_first_bytes_are_late():
    decision = decided("stream", rules=LATE, fleet=(LARGE, TWIN))
    hedge = decision.stages[0].hedge
    assert {decision.stages[0].deployment, hedge.deployment} == {"large", "twin"}
    assert hedge.late
    assert hedge.after_s == pytest.approx(3 * 50 / 36, rel=0.05)
    whole = decided("auto", rules=LATE, fleet=(LARGE, TWIN), stream=False).stages[0].hedge
    assert whole.after_s == pytest.approx(3 * (50 / 36 + 40 / 12), rel=0.05)


@pytest.mark.parametrize(
    "changes",
    [
        {"rules": DeliveryRules()},
        {"fleet": (LARGE,)},
        {"may_hedge": False},
        {"pin": "large"},
        {"conversation_pin": "large"},
    ],
    ids=["off", "no replica", "no budget", "pinned", "a tool's result"],
)
def test_no_replica_is_asked(changes):
    made = {"rules": LATE, "fleet": (LARGE, TWIN)} | changes
    assert decided("stream", **made).stages[0].hedge is None


def test_late_hedges_wait_at_least_what_was_set():
    rules = DeliveryRules(late_ratio=1.0, late_least_s=30.0)
    assert decided("stream", rules=rules, fleet=(LARGE, TWIN)).stages[0].hedge.after_s == 30.0
