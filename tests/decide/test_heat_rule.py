"""The rule under heat: what the limiting device is expected to draw does not rise with the risk."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from metabolic.account.work import remote_energy_j
from metabolic.core.certificate import Certificate, Certified
from metabolic.core.decision import Belief, Decision, Policy
from metabolic.core.fleet import Deployment, Price, Variant
from metabolic.core.lanes import LaneTable, Tally
from metabolic.core.metabolic import DeviceRisk, Level, MetabolicState
from metabolic.core.request import Ask, WarmPrefix
from metabolic.core.signals import Signals
from metabolic.decide.assurance import AGREEMENT
from metabolic.decide.decide import decide
from metabolic.decide.profiles import PROFILES
from metabolic.testing.fleets import deployment, fleet_of, policy_of, situation_of

RANKED: tuple[Level, ...] = ("nominal", "elevated", "critical")
DEVICES = ("cpu", "gpu0", "gpu1")
RISKS = st.just(0.0) | st.floats(0.0, 1.0)
SCORE = "shape@1+confidence@1"
LANE = "open_qa/plain/medium"


@st.composite
def fleets(draw: st.DrawFn) -> tuple[Deployment, ...]:
    """Local models on three devices, some of unknown power, and remote ones."""
    made: list[Deployment] = []
    for index in range(draw(st.integers(2, 6))):
        size = draw(st.sampled_from([1e8, 5e8, 1.5e9, 7e9, 1.3e10, 7e10]))
        price = draw(st.none() | st.floats(1e-8, 1e-5))
        one = deployment(
            f"d{index}",
            parameters=int(size),
            decode_tokens_per_s=draw(st.floats(1.0, 200.0)),
            price=None
            if price is None
            else Price(input_usd_per_token=price, output_usd_per_token=price * 3),
        )
        if price is None:
            watts = draw(st.none() | st.floats(1.0, 700.0))
            one = replace(one, device=draw(st.sampled_from(DEVICES)), active_w=watts)
        made.append(one)
    return tuple(made)


@st.composite
def policies(draw: st.DrawFn, names: tuple[str, ...]) -> Policy:
    """A shipped profile, with evidence for some deployments."""
    beliefs = [
        Belief(
            deployment=name,
            lane="*",
            p_correct=draw(st.floats(0.1, 1.0)),
            p_accept=draw(st.floats(0.0, 1.0)),
            p_correct_accepted=draw(st.none() | st.floats(0.1, 1.0)),
            evidence=draw(st.sampled_from([0, 30, 1000])),
        )
        for name in names
        if draw(st.booleans())
    ]
    profile = replace(draw(st.sampled_from(PROFILES)), tiers=(), defer_above_ratio=None)
    return policy_of(*beliefs, profile=profile)


def _expected_j(
    decision: Decision,
    on: dict[str, Deployment],
    limiting: str,
    certificates: dict[str, Certificate],
) -> float:
    """Return the joules on a device, by a formula of our own: stage by stage, drafts included."""
    estimates = {(one.deployment, one.variant): one.estimate for one in decision.candidates}
    joules, reached = 0.0, 1.0
    for stage in decision.stages:
        deployment = on[stage.deployment]
        estimate = estimates[stage.deployment, stage.variant]
        assert estimate is not None
        if deployment.device == limiting:
            drawn = estimate.energy_j
            if drawn is None:
                drawn = remote_energy_j(
                    deployment.model,
                    input_tokens=estimate.input_tokens,
                    output_tokens=estimate.output_tokens,
                )
            joules += reached * drawn
        if decision.certificate is not None:
            if stage.rule == "agreement" or stage.min_confidence is not None:
                reached *= 1 - _kept(stage.min_confidence, certificates[decision.certificate])
        elif stage.min_confidence is not None:
            reached *= 1 - (estimate.p_accept or 0.0)
    return joules


def _kept(min_confidence: float | None, certificate: Certificate) -> float:
    """Return the share of drafts that its certificate says are kept at this threshold."""
    if min_confidence is None:
        return certificate.thresholds[0].kept_ratio
    (found,) = [one for one in certificate.thresholds if one.min_confidence == min_confidence]
    return found.kept_ratio


@st.composite
def warm_of(draw: st.DrawFn, names: tuple[str, ...]) -> tuple[WarmPrefix, ...]:
    """What each has cached of a conversation."""
    return tuple(
        WarmPrefix(deployment=name, prefix_tokens=draw(st.integers(1, 1000)))
        for name in names
        if draw(st.booleans())
    )


@st.composite
def certificates_of(draw: st.DrawFn, names: tuple[str, ...]) -> tuple[Certificate, ...]:
    """Gates before one reference, some of them by agreement with a partner."""
    reference, *others = draw(st.permutations(names))
    made: list[Certificate] = []
    for index, name in enumerate(others[: draw(st.integers(1, 2))]):
        kept = sorted(draw(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=4)))
        rest = [one for one in others if one != name]
        partner = draw(st.none() | st.sampled_from(rest)) if rest else None
        steps = [(0.9 - 0.1 * i, one) for i, one in enumerate(kept)][: 1 if partner else 4]
        made.append(
            Certificate(
                id=f"c{index}",
                lane="open_qa",
                deployment=name,
                reference=reference,
                partner=partner,
                labeller="exact_match",
                score=SCORE if partner is None else AGREEMENT,
                max_loss_ratio=0.05,
                p_exceed=0.1,
                rows=900,
                labels_used=900,
                thresholds=tuple(
                    Certified(min_confidence=at, kept_ratio=one, loss_ratio=0.01)
                    for at, one in steps
                ),
            )
        )
    return tuple(made)


EFFORTS = (
    Variant(name="low", reasoning_effort="low"),
    Variant(name="high", reasoning_effort="high"),
    Variant(name="short", max_output_tokens=60),
)


@st.composite
def varied(draw: st.DrawFn, fleet: tuple[Deployment, ...]) -> tuple[Deployment, ...]:
    """The fleet with variants of some."""
    some = st.lists(st.sampled_from(EFFORTS), unique_by=lambda one: one.name, max_size=2)
    return tuple(replace(one, variants=tuple(draw(some))) for one in fleet)


@st.composite
def tables(draw: st.DrawFn, fleet: tuple[Deployment, ...]) -> LaneTable:
    """A lane that is known, often explored."""
    tallies = [
        Tally(
            lane=LANE,
            deployment=one.name,
            variant=variant,
            labels=200,
            correct=200 * draw(st.floats(0.3, 1.0)),
            counted=20,
            output_tokens=draw(st.integers(100, 100_000)),
            foreseen_tokens=5000,
        )
        for one in fleet
        for variant in (None, *(each.name for each in one.variants))
        if draw(st.booleans())
    ]
    return LaneTable(tallies=tuple(tallies), explore_ratio=draw(st.sampled_from([0.0, 0.5])))


@pytest.mark.parametrize("kind", ["plain", "certificates", "lanes", "session", "variants"])
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_expected_power_on_the_limiting_device_does_not_rise_with_the_risk(
    kind: str, data: st.DataObject
) -> None:
    fleet = data.draw(fleets())
    if kind == "variants":
        fleet = data.draw(varied(fleet))
    names = tuple(one.name for one in fleet)
    policy = data.draw(policies(names))
    if kind == "certificates":
        policy = replace(policy, score=SCORE, certificates=data.draw(certificates_of(names)))
    if kind == "lanes" or (kind == "variants" and data.draw(st.booleans())):
        policy = replace(policy, lanes=data.draw(tables(fleet)))
    certificates = {one.id: one for one in policy.certificates}
    limiting = data.draw(st.sampled_from(DEVICES))
    if not any(one.device == limiting for one in fleet):
        fleet = (replace(fleet[0], kind="local", device=limiting, price=None), *fleet[1:])
    hot_elsewhere = data.draw(st.booleans())
    others = tuple(
        DeviceRisk(device=name, risk_ratio=data.draw(st.floats(0.0, 1.0)))
        for name in DEVICES
        if name != limiting and hot_elsewhere
    )
    in_session = kind == "session" or (kind == "variants" and data.draw(st.booleans()))
    ask = Ask(
        id=data.draw(st.text(max_size=4)),
        at_s=1.0,
        input_tokens=data.draw(st.integers(1, 2000)),
        preference=data.draw(st.none() | st.floats(0.0, 1.0)),
        turns=data.draw(st.integers(0, 5)) if in_session else None,
        warm=data.draw(warm_of(names)) if in_session else (),
    )
    simple = data.draw(st.floats(0.0, 1.0))
    signals = Signals(task="open_qa", lane="open_qa")
    if policy.lanes is None:  # the lane's name depends on the complexity
        signals = replace(signals, p_simple=simple, p_medium=0.0, p_complex=1 - simple)
    steps = data.draw(st.lists(RISKS, min_size=2, max_size=4).map(sorted))
    ranks = data.draw(
        st.lists(st.integers(0, 2), min_size=len(steps), max_size=len(steps)).map(sorted)
    )
    on_battery = data.draw(st.booleans())
    drawn: list[float] = []
    for risk, rank in zip(steps, ranks, strict=True):
        state = MetabolicState(
            level=RANKED[rank],
            throttle_risk_ratio=max([risk, *(one.risk_ratio for one in others)]),
            risks=(*others, DeviceRisk(device=limiting, risk_ratio=risk)),
            limiting=limiting,
            on_battery=on_battery,
            battery_ratio=0.5 if on_battery else None,
        )
        decision = decide(ask, signals, situation_of(*fleet, metabolic=state), policy)
        drawn.append(
            _expected_j(decision, {one.name: one for one in fleet}, limiting, certificates)
        )
    for before, after in itertools.pairwise(drawn):
        assert after <= before * (1 + 1e-6) + 1e-12


def test_a_threshold_that_heat_moves_puts_no_gate_on_the_hot_device() -> None:
    small = replace(
        deployment("small", parameters=500_000_000, decode_tokens_per_s=4), active_w=60.0
    )
    price = Price(input_usd_per_token=1e-7, output_usd_per_token=1e-6)
    large = deployment("large", parameters=1_500_000_000, price=price)
    certificate = Certificate(
        id="c0",
        lane="open_qa",
        deployment="small",
        reference="large",
        labeller="exact_match",
        score=SCORE,
        max_loss_ratio=0.05,
        p_exceed=0.1,
        rows=900,
        labels_used=900,
        thresholds=(
            Certified(min_confidence=0.9, kept_ratio=0.2, loss_ratio=0.01),
            Certified(min_confidence=0.5, kept_ratio=1.0, loss_ratio=0.02),
        ),
    )
    policy = replace(policy_of(), score=SCORE, certificates=(certificate,))
    ask = Ask(id="a", at_s=1.0, input_tokens=50, preference=0.0)
    signals = Signals(task="open_qa", lane="open_qa", expected_output_tokens=40)
    states = (
        MetabolicState(level="nominal"),
        MetabolicState(level="critical", throttle_risk_ratio=0.01, limiting=small.device),
    )
    found = [decide(ask, signals, situation_of(small, large, metabolic=s), policy) for s in states]
    assert [[one.deployment for one in each.stages] for each in found] == [["large"], ["large"]]
    assert all(one.certified for one in found)


@pytest.mark.parametrize("risk", [0.0, 0.3, 1.0])
def test_a_machine_that_knows_no_heat_decides_as_a_cool_one(risk: float) -> None:
    one, two = deployment("one", parameters=100_000_000), deployment("two")
    calm = decide(Ask(id="a", at_s=1.0), Signals(), situation_of(one, two), policy_of())
    state = MetabolicState(throttle_risk_ratio=risk or None)
    found = decide(
        Ask(id="a", at_s=1.0), Signals(), situation_of(one, two, metabolic=state), policy_of()
    )
    assert (found.stages == calm.stages) or risk > 0


def test_the_fleet_s_order_does_not_matter_under_heat() -> None:
    fleet = tuple(
        deployment(f"d{size}", parameters=size * 100_000_000, decode_tokens_per_s=100 / size)
        for size in (1, 5, 15)
    )
    state = MetabolicState(level="critical", throttle_risk_ratio=0.9, limiting="cpu")
    ask, signals = Ask(id="a", at_s=1.0, input_tokens=100), Signals()
    found = [
        decide(ask, signals, situation_of(*order, metabolic=state), policy_of())
        for order in (fleet, fleet[::-1])
    ]
    assert found[0].stages == found[1].stages
    assert fleet_of(*fleet).deployments
