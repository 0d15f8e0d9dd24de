"""The decision: which deployments answer this request, in which order, and why.

``decide`` judges every deployment (fit, or rejected with a reason), estimates what each fit one
would take now, chooses the plan with the least expected net cost among those that give up no more
quality than the profile and the dial allow, and abstains (the best single deployment alone) where
nothing is gained. It sees no text. Equal inputs give equal decisions; fleet order does not matter.
"""

__all__ = ["DECISION_VERSION", "break_even", "decide", "why", "why_none"]

from msgspec.structs import replace

from metabolic.core.checkpoint import Checkpoint
from metabolic.core.decision import Candidate, Decision, Plan, Policy, Stage
from metabolic.core.fleet import Load, Situation
from metabolic.core.lanes import LanePin
from metabolic.core.metabolic import Profile
from metabolic.core.request import Ask
from metabolic.core.signals import Signals
from metabolic.decide.assurance import Held, assure
from metabolic.decide.candidates import judge
from metabolic.decide.cascade import Fit, choose
from metabolic.decide.checkpoints import watched
from metabolic.decide.delivering import delivered, streams
from metabolic.decide.dial import dial_of, nearly_spent
from metabolic.decide.estimate import Prepared, View, prepare, view, with_lane
from metabolic.decide.evidence_table import Lane, LaneIndex, on_lane, with_evidence
from metabolic.decide.explore import explored, lot_of
from metabolic.decide.impacts import Strain, speculation
from metabolic.decide.lanes import EVERY
from metabolic.decide.reasons import break_even, why, why_none
from metabolic.decide.replicas import at_replicas
from metabolic.decide.sessions import whole
from metabolic.decide.speculation import speculated
from metabolic.decide.staging import agreeing, ends_by, fallbacks_of, stages_of, threshold, timed
from metabolic.decide.strained import choose_for, heat_of, interchangeable
from metabolic.decide.variants import at_variants, key_of

DECISION_VERSION = 4
"""Raised whenever the same inputs may give another decision; replay compares equal versions."""

_MAX_FALLBACKS = 3


def decide(
    ask: Ask,
    signals: Signals,
    situation: Situation,
    policy: Policy,
    *,
    prepared: Prepared | None = None,
) -> Decision:
    """Return the decision for a request; one without stages and fallbacks: nobody may answer.

    ``prepared`` is ``prepare(situation.fleet, policy)`` if the caller kept it: it changes
    nothing but the time this takes.
    """
    if prepared is None:
        prepared = prepare(situation.fleet, policy)
    held = prepared.held.get(signals.lane) if prepared.held else None
    lane, pin = None, None
    if prepared.lanes is not None:
        lane, pin = on_lane(prepared.lanes, ask, signals, frozen=held is not None and held.in_force)
    seen = _seen(ask, signals, situation, prepared, lane)
    loads = {load.deployment: load for load in situation.load}
    candidates: list[Candidate] = []
    fit: list[Fit] = []
    for known in prepared.known:
        one = judge(seen, known, loads.get(known.deployment.name))
        candidates.append(one)
        if one.rejected is None and one.estimate is not None:
            fit.append((known.name, one.estimate, "logprobs" in known.capabilities))
    if not fit:
        return _unproven(seen, tuple(candidates), prepared, loads)
    forced = _forced(seen, fit)
    if forced is not None:
        stage = Stage(deployment=forced[0], timeout_s=policy.stage_timeout_s)
        return _alone(seen, tuple(candidates), fit, stage=stage, why=forced[1])
    if pin is not None and any(one[0] == key_of(pin.deployment, pin.variant) for one in fit):
        return _pinned(seen, tuple(candidates), fit, pin)
    if held is not None:
        return _assured(seen, tuple(candidates), fit, held)
    return _laned(seen, tuple(candidates), fit, lane, prepared.lanes)


def _seen(
    ask: Ask, signals: Signals, situation: Situation, prepared: Prepared, lane: Lane | None
) -> View:
    """Return what estimates start from, with the evidence of the lane."""
    if lane is None:
        return view(ask, signals, situation.metabolic, prepared, situation.load)
    signals = with_evidence(signals, lane)
    return with_lane(view(ask, signals, situation.metabolic, prepared, situation.load), lane)


def _unproven(
    seen: View, candidates: tuple[Candidate, ...], prepared: Prepared, loads: dict[str, Load]
) -> Decision:
    """Return a decision whose fallbacks are those that could answer but should not, best first.

    Their answers are marked degraded. Without any, nobody may answer.
    """
    plain = [one for one in prepared.known if one.variant is None]
    judged = [judge(seen, one, loads.get(one.name), strict=False) for one in plain]
    outside = _outside(seen.policy.profile, prepared)
    able = [
        (one.deployment in outside, -one.estimate.p_correct, one.deployment)
        for one in judged
        if one.rejected is None and one.estimate is not None
    ]
    timeout_s = seen.policy.stage_timeout_s
    return _decision(
        seen,
        candidates,
        fallbacks=tuple(
            Stage(deployment=name, timeout_s=timeout_s)
            for _, _, name in sorted(able)[:_MAX_FALLBACKS]
        ),
        reasons=("only deployments that are not proven for this can answer",)
        if able
        else ("no deployment may answer",),
    )


def _outside(profile: Profile, prepared: Prepared) -> frozenset[str]:
    """Return the deployments of a size that the profile does not use."""
    if not profile.tiers:
        return frozenset()
    tiers = profile.tiers
    return frozenset([one.name for one in prepared.known if one.deployment.model.tier not in tiers])


def _forced(seen: View, fit: list[Fit]) -> tuple[str, str] | None:
    """Return the one deployment that must answer and why, if there is one."""
    ask = seen.ask
    if ask.pin is not None:
        return ask.pin, "pinned by the client"
    if ask.conversation_pin is not None and any(one[0] == ask.conversation_pin for one in fit):
        return ask.conversation_pin, "a tool result goes back to its model"
    if seen.policy.kind == "cheapest":
        name = min(fit, key=lambda one: (one[1].net_usd, one[0]))[0]
        return name, "the policy always takes the cheapest"
    if seen.policy.kind == "best":
        name = min(fit, key=lambda one: (-one[1].p_correct, one[1].net_usd, one[0]))[0]
        return name, "the policy always takes the best"
    return None


def _assured(seen: View, candidates: tuple[Candidate, ...], fit: list[Fit], held: Held) -> Decision:
    """Choose among the stages that the lane's certificate covers; without them, say why."""
    ask, policy = seen.ask, seen.policy
    found = assure(
        held,
        fit,
        level=seen.metabolic.level,
        preference=dial_of(seen),
        max_stages=1 if _single(ask) else policy.max_stages,
        min_gain_ratio=policy.profile.min_gain_ratio,
        comparable=ask.n == 1 and "tools" not in ask.needs,
        heat=heat_of(seen, fit),
        deadline_s=ends_by(ask),
    )
    if isinstance(found, str):
        return _plan(seen, candidates, fit, reasons=(f"uncertified: {found}",))
    return _decision(
        seen,
        candidates,
        stages=agreeing(found.plan, policy)
        if found.agreement
        else stages_of(found.plan, policy, found.min_confidence),
        fallbacks=fallbacks_of(found.plan.stages, fit, policy, seen.prepared.variants),
        plans=found.plans,
        reference=policy.reference or found.reference.stages[0],
        abstained=found.abstained,
        reasons=found.reasons,
        certificate=found.certificate,
        checkpoints=found.checkpoints,
    )


def _alone(
    seen: View, candidates: tuple[Candidate, ...], fit: list[Fit], *, stage: Stage, why: str
) -> Decision:
    """Return a decision for one deployment that was not chosen by its cost."""
    name, variants = stage.deployment, seen.prepared.variants
    named = seen.ask.pin is not None
    return _decision(
        seen,
        candidates,
        stages=(stage,),
        fallbacks=() if named else fallbacks_of((name,), fit, seen.policy, variants),
        reference=seen.policy.reference or name,
        abstained=why,
        reasons=(why,),
    )


def _pinned(
    seen: View, candidates: tuple[Candidate, ...], fit: list[Fit], pin: LanePin
) -> Decision:
    """Let the deployment answer that the operator wants on this lane."""
    name = key_of(pin.deployment, pin.variant)
    stage = Stage(deployment=name, timeout_s=seen.policy.stage_timeout_s)
    why = f"lane {pin.lane} is pinned by the operator"
    return replace(_alone(seen, candidates, fit, stage=stage, why=why), lane=pin.lane)


def _laned(
    seen: View,
    candidates: tuple[Candidate, ...],
    fit: list[Fit],
    lane: Lane | None,
    index: LaneIndex | None,
) -> Decision:
    """Choose by the table of lanes: the lane's evidence, else the best single.

    Without a table, or with pins alone, as always.
    """
    if index is None or not index.learned:
        return _plan(seen, candidates, fit)
    if lane is not None and lane.name != EVERY:
        return _on_known(seen, candidates, fit, lane, index)
    best = min(fit, key=lambda one: (-one[1].p_correct, one[1].net_usd, one[0]))[0]
    stage = Stage(deployment=best, timeout_s=seen.policy.stage_timeout_s)
    why = "the query fits no known lane: the best single answers"
    made = _alone(seen, candidates, fit, stage=stage, why=why)
    return replace(made, evidence=index.version)


def _on_known(
    seen: View,
    candidates: tuple[Candidate, ...],
    fit: list[Fit],
    lane: Lane,
    index: LaneIndex,
) -> Decision:
    """Choose by the evidence of a known lane, and explore now and then."""
    made = explored(
        _plan(seen, candidates, fit),
        fit,
        ratio=0.0 if seen.strain is not None else index.explore_ratio,
        floor=dial_of(seen) * seen.policy.profile.max_loss_ratio,
        lot=lot_of(seen.policy.id, seen.ask.id),
        bound=bool(seen.ask.turns),
        names=seen.prepared.variants,
        labels=lane.labels,
    )
    return replace(made, lane=lane.name, evidence=index.version)


def _single(ask: Ask) -> bool:
    """Say whether only one stage is possible: what has left cannot be taken back."""
    return streams(ask) or ask.dialect != "chat"


def _plan(
    seen: View,
    candidates: tuple[Candidate, ...],
    fit: list[Fit],
    *,
    reasons: tuple[str, ...] = (),
) -> Decision:
    """Choose the stages by expected net cost."""
    ask, policy = seen.ask, seen.policy
    if seen.strain is not None:
        return _strained(seen, seen.strain, candidates, fit, reasons=reasons)
    chosen, reference, plans, abstained = choose(
        fit,
        max_loss=dial_of(seen) * policy.profile.max_loss_ratio,
        min_gain_ratio=policy.profile.min_gain_ratio,
        max_stages=1 if _single(ask) else policy.max_stages,
        deadline_s=ends_by(ask),
    )
    if ask.turns is not None:
        chosen, abstained, reasons = whole(
            seen, fit, chosen, reference, max_loss=dial_of(seen) * policy.profile.max_loss_ratio
        ) or (chosen, abstained, reasons)
    return _decision(
        seen,
        candidates,
        stages=stages_of(chosen, policy, threshold(policy.profile, seen.metabolic)),
        fallbacks=fallbacks_of(chosen.stages, fit, policy, seen.prepared.variants),
        plans=plans,
        reference=policy.reference or reference.stages[0],
        abstained=abstained,
        reasons=reasons,
    )


def _strained(
    seen: View,
    strain: Strain,
    candidates: tuple[Candidate, ...],
    fit: list[Fit],
    *,
    reasons: tuple[str, ...],
) -> Decision:
    """Choose the stages on a machine that is not calm."""
    ask, policy = seen.ask, seen.policy
    found = choose_for(
        seen,
        strain,
        fit,
        dial=dial_of(seen),
        max_stages=1 if _single(ask) else policy.max_stages,
    )
    return _decision(
        seen,
        candidates,
        stages=stages_of(found.plan, policy, threshold(policy.profile, seen.metabolic)),
        fallbacks=fallbacks_of(found.plan.stages, fit, policy, seen.prepared.variants),
        plans=found.plans,
        reference=policy.reference or found.reference.stages[0],
        abstained=found.abstained,
        reasons=(*reasons, *strain.reasons),
    )


def _placed(
    seen: View,
    candidates: tuple[Candidate, ...],
    stages: tuple[Stage, ...],
    fallbacks: tuple[Stage, ...],
    *,
    certified: str | None,
) -> tuple[tuple[Stage, ...], tuple[Stage, ...]]:
    """Return stages and fallbacks at their variants, and at the replicas that should answer."""
    if variants := seen.prepared.variants:
        stages, fallbacks = at_variants(stages, variants), at_variants(fallbacks, variants)
    if not seen.prepared.replicas or certified is not None:
        return stages, fallbacks
    equal, leaving = interchangeable(seen), seen.leaving
    return at_replicas(stages, fallbacks, candidates, equal, seen.ask, leaving=leaving)


def _decision(  # noqa: PLR0913 - one keyword for each part of a decision
    seen: View,
    candidates: tuple[Candidate, ...],
    *,
    stages: tuple[Stage, ...] = (),
    fallbacks: tuple[Stage, ...] = (),
    plans: tuple[Plan, ...] = (),
    reference: str | None = None,
    abstained: str | None = None,
    reasons: tuple[str, ...] = (),
    certificate: str | None = None,
    checkpoints: tuple[Checkpoint, ...] = (),
) -> Decision:
    """Put the decision together; a certified one has its certificate's checkpoints only."""
    if variants := seen.prepared.variants:
        reference = None if reference is None else variants.get(reference, (reference,))[0]
    stages, fallbacks = _placed(seen, candidates, stages, fallbacks, certified=certificate)
    checkpoints = seen.policy.checkpoints if certificate is None else checkpoints
    if checkpoints and len(stages) > 1:
        stages = watched(stages, seen.ask, seen.signals.lane, checkpoints)
    if seen.ask.limits.deadline_s is not None and len(stages) > 1:
        stages = timed(stages, candidates)
    mode, stages, said = delivered(seen, stages, candidates)
    if mode == "window" and len(stages) > 1 and certificate is not None:
        certificate, said = None, (*said, "uncertified: what leaves early was not certified")
    made = Decision(
        stages=stages,
        fallbacks=fallbacks,
        delivery=mode,
        candidates=candidates,
        plans=plans,
        reference=reference,
        abstained=abstained,
        certified=certificate is not None,
        certificate=certificate,
        reasons=(*reasons, *said, *nearly_spent(seen.ask.agent_task)),
        policy_id=seen.policy.id,
        decision_version=DECISION_VERSION,
        speculation=speculation(seen.metabolic, seen.policy.profile),
    )
    return speculated(made, seen) if seen.prepared.drafters else made
