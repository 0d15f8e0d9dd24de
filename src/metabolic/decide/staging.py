"""From a plan to stages: gates and their thresholds, who stands by, and the time each should take.

Until the end of a decision stages name what competes, ``deployment`` or ``deployment:variant``.
"""

__all__ = ["agreeing", "ends_by", "fallbacks_of", "stages_of", "threshold", "timed"]

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from metabolic.core.decision import Candidate, Plan, Policy, Stage
from metabolic.core.metabolic import MetabolicState, Profile
from metabolic.core.request import Ask
from metabolic.decide.cascade import Fit
from metabolic.decide.dues import seconds_of

_MAX_FALLBACKS = 3


def threshold(profile: Profile, metabolic: MetabolicState) -> float | None:
    """Return the lowest confidence at which a draft is kept at this level."""
    nominal = None
    for one in profile.thresholds:
        if one.level == metabolic.level:
            return one.min_confidence
        if one.level == "nominal":
            nominal = one.min_confidence
    return nominal


def stages_of(plan: Plan, policy: Policy, threshold: float | None) -> tuple[Stage, ...]:
    """Return the stages of a plan; all but the last are gated."""
    timeout_s = policy.stage_timeout_s
    last = Stage(deployment=plan.stages[-1], timeout_s=timeout_s)
    if len(plan.stages) == 1:
        return (last,)
    gates = [
        Stage(deployment=name, min_confidence=threshold, timeout_s=timeout_s)
        for name in plan.stages[:-1]
    ]
    return (*gates, last)


def agreeing(plan: Plan, policy: Policy) -> tuple[Stage, ...]:
    """Return the stages of a plan by agreement: the second draft is compared with the first."""
    partner, gate, last = stages_of(plan, policy, None)
    return replace(partner, rule="never"), replace(gate, rule="agreement"), last


def fallbacks_of(
    stages: Sequence[str],
    fit: Sequence[Fit],
    policy: Policy,
    variants: Mapping[str, tuple[str, str]],
) -> tuple[Stage, ...]:
    """Return who else may answer if every stage fails: nearest in quality first.

    Of the variants of one deployment the nearest: what fails at one fails at all. ``variants`` says
    which names are of variants.
    """
    if len(stages) == len(fit):
        return ()
    quality = {name: estimate.p_correct for name, estimate, _ in fit}
    target = quality[stages[-1]]
    others = sorted(
        (name for name in quality if name not in stages),
        key=lambda name: (abs(quality[name] - target), name),
    )
    if variants:
        used = {variants.get(name, (name,))[0] for name in stages}
        others = [
            name
            for name in others
            if (host := variants.get(name, (name,))[0]) not in used and not used.add(host)
        ]
    return tuple(
        Stage(deployment=name, timeout_s=policy.stage_timeout_s) for name in others[:_MAX_FALLBACKS]
    )


def ends_by(ask: Ask) -> float | None:
    """Return when stages that are walked one after the other must have ended; ``None``: no matter.

    A hedge asks the next stage beside the first, and sees to the deadline itself.
    """
    return None if ask.delivery == "hedge" else ask.limits.deadline_s


def timed(stages: tuple[Stage, ...], candidates: tuple[Candidate, ...]) -> tuple[Stage, ...]:
    """Return the stages with the time each should take: queue, waking, answer and its check."""
    known = {
        (one.deployment, one.variant): seconds_of(one.estimate)
        for one in candidates
        if one.estimate is not None
    }
    return tuple(
        replace(one, expected_s=known.get((one.deployment, one.variant))) for one in stages
    )
