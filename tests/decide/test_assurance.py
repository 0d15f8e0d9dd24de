"""What a certificate allows, and what becomes of a lane it does not cover."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.core.certificate import Certificate, Certified
from metabolic.core.decision import Belief, Policy
from metabolic.core.metabolic import Level, MetabolicState
from metabolic.core.request import Ask
from metabolic.core.signals import Signals
from metabolic.decide.assurance import AGREEMENT, hold
from metabolic.decide.decide import break_even, decide, why
from metabolic.decide.digest import sealed
from metabolic.testing.fleets import deployment, policy_of, situation_of

SMALL = deployment("small", parameters=500_000_000, decode_tokens_per_s=48)
LARGE = deployment("large", parameters=1_500_000_000, decode_tokens_per_s=12)
OTHER = deployment("other", parameters=1_500_000_000, decode_tokens_per_s=14)
SIGNALS = Signals(task="closed_qa", lane="closed_qa", expected_output_tokens=40)
SCORE = "shape@1+confidence@1"
CERTIFICATE = Certificate(
    id="0123456789abcdef",
    lane="closed_qa",
    deployment="small",
    reference="large",
    labeller="exact_match",
    score=SCORE,
    max_loss_ratio=0.05,
    p_exceed=0.1,
    rows=900,
    labels_used=900,
    models=("small", "large"),
    thresholds=tuple(
        Certified(min_confidence=at, kept_ratio=kept, loss_ratio=kept / 20)
        for at, kept in ((0.9, 0.4), (0.8, 0.6), (0.7, 0.8))
    ),
)


def policy(*certificates: Certificate, **changes: object) -> Policy:
    made = policy_of(Belief(deployment="large", lane="*", p_correct=0.9, evidence=500))
    changed = {"score": SCORE, "certificates": certificates, **changes}
    return sealed(msgspec.structs.replace(made, **changed))


def decided(made: Policy, *, level: Level = "nominal", fleet=(SMALL, LARGE), **changes: object):
    ask = msgspec.structs.replace(Ask(id="r", at_s=1.0, input_tokens=50), **changes)
    situation = situation_of(*fleet, metabolic=MetabolicState(level=level))
    return decide(ask, SIGNALS, situation, made)


def stages(decision):
    return [one.deployment for one in decision.stages]


def test_a_certified_lane_keeps_drafts_at_a_certified_threshold() -> None:
    decision = decided(policy(CERTIFICATE), preference=1.0)
    assert stages(decision) == ["small", "large"]
    assert decision.stages[0].min_confidence == 0.7
    assert decision.certified
    assert decision.certificate == "0123456789abcdef"
    assert "loses at most 5.0% against large by exact_match" in why(decision)[0]


def test_without_certificates_nothing_is_certified() -> None:
    decision = decided(policy())
    assert not decision.certified
    assert decision.certificate is None


def test_another_lane_is_decided_as_before() -> None:
    other = msgspec.structs.replace(CERTIFICATE, lane="rewrite")
    assert decided(policy(other)) == msgspec.structs.replace(
        decided(policy()), policy_id=policy(other).id
    )


@pytest.mark.parametrize(
    ("level", "threshold"), [("nominal", 0.9), ("elevated", 0.8), ("critical", 0.7)]
)
def test_heat_moves_the_threshold_inside_the_set(level: Level, threshold: float) -> None:
    decision = decided(policy(CERTIFICATE), level=level, preference=0.0)
    assert decision.stages[0].min_confidence == threshold
    assert decision.certified


@pytest.mark.parametrize(
    ("certificate", "made", "reason"),
    [
        (CERTIFICATE, {"score": "shape@2"}, "of scorer shape@1+confidence@1, in force is shape@2"),
        (
            msgspec.structs.replace(CERTIFICATE, models=("small-q4", "large")),
            {},
            "small was small-q4, now it is small",
        ),
        (
            msgspec.structs.replace(CERTIFICATE, thresholds=(), refused="30 labelled rows"),
            {},
            "refused: 30 labelled rows",
        ),
    ],
)
def test_a_certificate_not_in_force_is_named_with_the_reason(
    certificate: Certificate, made: dict[str, object], reason: str
) -> None:
    decision = decided(policy(certificate, **made))
    assert not decision.certified
    assert decision.reasons[0].startswith("uncertified: ")
    assert reason in decision.reasons[0]


def test_a_reference_that_may_not_answer_leaves_the_lane_uncertified() -> None:
    decision = decided(policy(CERTIFICATE), fleet=(SMALL, OTHER))
    assert not decision.certified
    assert decision.reasons == ("uncertified: the reference large may not answer",)


def test_a_drift_alarm_sends_the_lane_to_its_reference() -> None:
    decision = decided(policy(CERTIFICATE, alarms=("closed_qa",)))
    assert stages(decision) == ["large"]
    assert not decision.certified
    assert decision.reasons == ("drift alarm: the reference alone",)


def test_a_stream_is_answered_by_the_reference_alone() -> None:
    decision = decided(policy(CERTIFICATE), stream=True, delivery="stream")
    assert stages(decision) == ["large"]
    assert decision.certified


def test_a_gate_that_does_not_pay_is_not_asked() -> None:
    dear = deployment("small", parameters=500_000_000, decode_tokens_per_s=13)
    decision = decided(policy(CERTIFICATE), fleet=(dear, LARGE), preference=0.0)
    assert stages(decision) == ["large"]
    assert decision.certified
    assert decision.abstained == "a gate that keeps 40% does not pay here"


def test_what_a_gate_must_keep_to_pay_is_said() -> None:
    decision = decided(policy(CERTIFICATE), preference=1.0)
    gated = next(one for one in decision.plans if len(one.stages) == 2)
    share = break_even(decision, gated)
    assert share is not None
    assert 0 < share < 0.8
    said = f"small then large pays where more than {share:.0%}"
    assert any(said in one for one in why(decision))
    alone = next(one for one in decision.plans if len(one.stages) == 1)
    assert break_even(decision, alone) is None


AGREED = msgspec.structs.replace(
    CERTIFICATE,
    id="agreed",
    deployment="small",
    partner="tiny",
    score=AGREEMENT,
    models=("small", "large", "tiny"),
    thresholds=(Certified(min_confidence=0.5, kept_ratio=0.7, loss_ratio=0.01),),
)
TINY = deployment("tiny", parameters=135_000_000, decode_tokens_per_s=90)
THREE = (SMALL, LARGE, TINY)


def test_two_cheap_answers_that_agree_may_end_it() -> None:
    decision = decided(policy(AGREED), fleet=THREE)
    assert stages(decision) == ["tiny", "small", "large"]
    assert [one.rule for one in decision.stages] == ["never", "agreement", "confidence"]
    assert decision.certified
    assert "small kept where tiny agrees loses at most" in why(decision)[0]


@pytest.mark.parametrize(
    "changes", [{"n": 2}, {"needs": ("tools",)}, {"stream": True, "delivery": "stream"}]
)
def test_answers_that_cannot_be_compared_go_to_the_reference(changes: dict[str, Any]) -> None:
    assert stages(decided(policy(AGREED), fleet=THREE, **changes)) == ["large"]


def test_without_the_partner_there_is_no_agreement() -> None:
    assert stages(decided(policy(AGREED))) == ["large"]


def test_the_later_certificate_of_a_pair_counts() -> None:
    newer = msgspec.structs.replace(CERTIFICATE, id="feed", rows=2000)
    held = hold((CERTIFICATE, newer), score=SCORE, models={}, alarms=())
    assert held["closed_qa"].valid == (newer,)


@given(
    st.sampled_from(["unknown", "nominal", "elevated", "critical"]),
    st.floats(0, 1),
    st.sampled_from([None, "small"]),
)
def test_a_certified_decision_never_leaves_the_certified_set(
    level: Level, preference: float, pin: str | None
) -> None:
    decision = decided(policy(CERTIFICATE), level=level, preference=preference, pin=pin)
    certified = {one.min_confidence for one in CERTIFICATE.thresholds}
    gates = [one.min_confidence for one in decision.stages[:-1]]
    assert all(one in certified for one in gates)
    assert decision.certified == (pin is None)
    assert decision.certified == (decision.certificate is not None)
