"""What a certificate allows here and now, and what becomes of a lane that it does not cover.

A lane with a certificate in force is answered by what the certificate covers and by nothing else:
its small deployment before its reference at a certified threshold, or the reference alone,
whichever is expected to cost less. Heat and the dial move the threshold inside the certified set.
Where no certificate can be in force (another scorer, another model, a reference that may not
answer) the lane is decided as if there were none, and the decision says so and is not certified.
A lane whose drift alarm is up goes to the reference alone.
"""

__all__ = ["Assured", "Held", "assure", "hold"]

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from metabolic.core.certificate import Certificate, Certified
from metabolic.core.decision import Plan
from metabolic.core.metabolic import Level
from metabolic.decide.cascade import Fit
from metabolic.decide.certificate import place


class Held(Struct, frozen=True, kw_only=True):
    """One lane's certificates, those that cannot be in force with the reason.

    ``alarm``: the lane has drifted, and none of them holds any more.
    """

    valid: tuple[Certificate, ...]
    void: tuple[str, ...]
    reference: str
    alarm: bool = False


class Assured(Struct, frozen=True, kw_only=True):
    """The plan, the threshold of its gate, and the plans it was chosen from.

    ``certificate`` is the id of the one in force; ``None``: the plan is not certified.
    """

    plan: Plan
    reference: Plan
    plans: tuple[Plan, ...]
    reasons: tuple[str, ...]
    min_confidence: float | None = None
    certificate: str | None = None
    abstained: str | None = None


def hold(
    certificates: Iterable[Certificate],
    *,
    score: str,
    models: Mapping[str, str],
    alarms: Sequence[str],
) -> dict[str, Held]:
    """Return certificates by lane; ``models`` are model ids by deployment, ``score`` the scorer's.

    Of two certificates of one lane and deployment the later one counts.
    """
    latest: dict[tuple[str, str], Certificate] = {}
    for one in certificates:
        latest[one.lane, one.deployment] = one
    lanes: dict[str, list[Certificate]] = {}
    for one in latest.values():
        lanes.setdefault(one.lane, []).append(one)
    held: dict[str, Held] = {}
    for lane, found in lanes.items():
        reasons = [(one, _void(one, score=score, models=models)) for one in found]
        held[lane] = Held(
            valid=tuple(one for one, why in reasons if why is None),
            void=tuple(why for _, why in reasons if why is not None),
            reference=found[0].reference,
            alarm=lane in alarms,
        )
    return held


def _void(one: Certificate, *, score: str, models: Mapping[str, str]) -> str | None:
    """Return why a certificate cannot be in force; ``None``: it is."""
    if one.refused is not None or not one.thresholds:
        return f"{one.deployment}: refused: {one.refused or 'no threshold'}"
    if one.score != score:
        return f"{one.deployment}: it is of scorer {one.score}, in force is {score or 'none'}"
    for name, model in zip((one.deployment, one.reference), one.models, strict=False):
        if models.get(name, model) != model:
            return f"{one.deployment}: {name} was {model}, now it is {models[name]}"
    return None


def assure(
    held: Held,
    fit: Sequence[Fit],
    *,
    level: Level,
    preference: float,
    max_stages: int,
    min_gain_ratio: float,
) -> Assured | str:
    """Return what is certified for this request, or why nothing is.

    ``min_gain_ratio`` is the least gain for which a gate is put before the reference.
    """
    able = {one[0]: one for one in fit}
    last = able.get(held.reference)
    if held.alarm:
        return "drift alarm, no reference" if last is None else _alone(last, certificate=None)
    if not held.valid:
        return "; ".join(held.void)
    if last is None:
        return f"the reference {held.reference} may not answer"
    alone = _alone(last, certificate=held.valid[0].id)
    if max_stages < 2:  # noqa: PLR2004 - a gate and the reference
        return alone
    gated = [
        (_gated(able[one.deployment], last, at), one, at)
        for one in held.valid
        if one.deployment in able and one.reference == held.reference
        for at in (place(one, level=level, preference=preference),)
    ]
    return _cheapest(alone, gated, level=level, min_gain_ratio=min_gain_ratio)


def _alone(last: Fit, *, certificate: str | None) -> Assured:
    """Return the reference alone, which loses nothing against itself."""
    name, estimate, _ = last
    plan = Plan(
        stages=(name,),
        expected_net_usd=estimate.net_usd,
        expected_energy_j=estimate.marginal_energy_j,
        p_correct=estimate.p_correct,
    )
    why = "the reference of its certificate" if certificate else "drift alarm: the reference alone"
    return Assured(
        plan=plan,
        reference=plan,
        plans=(plan,),
        certificate=certificate,
        reasons=(why,),
    )


def _gated(gate: Fit, last: Fit, at: Certified) -> Plan:
    """Return the certified pair as a plan, by what the certificate measured of it."""
    rest, first = last[1], gate[1]
    escalates = 1 - at.kept_ratio
    energy = None
    if first.marginal_energy_j is not None and rest.marginal_energy_j is not None:
        energy = first.marginal_energy_j + escalates * rest.marginal_energy_j
    return Plan(
        stages=(gate[0], last[0]),
        expected_net_usd=first.net_usd + escalates * rest.net_usd,
        expected_energy_j=energy,
        p_correct=min(1.0, max(0.0, rest.p_correct - at.loss_ratio)),
        p_escalate=escalates,
    )


def _cheapest(
    alone: Assured,
    gated: Sequence[tuple[Plan, Certificate, Certified]],
    *,
    level: Level,
    min_gain_ratio: float,
) -> Assured:
    """Return the cheapest certified plan, if what it saves is worth a gate."""
    plans = sorted(
        (alone.plan, *(plan for plan, _, _ in gated)),
        key=lambda one: (one.expected_net_usd, len(one.stages), one.stages),
    )
    alone = replace(alone, plans=tuple(plans[:3]))
    if not gated:
        return alone
    plan, one, at = min(gated, key=lambda each: (each[0].expected_net_usd, each[0].stages))
    full = alone.plan.expected_net_usd
    if full - plan.expected_net_usd < min_gain_ratio * full or plan.expected_net_usd >= full:
        why = f"a gate that keeps {at.kept_ratio:.0%} does not pay here"
        return replace(alone, abstained=why)
    return Assured(
        plan=plan,
        reference=alone.plan,
        plans=alone.plans,
        min_confidence=at.min_confidence,
        certificate=one.id,
        reasons=(_words(one, at, level=level),),
    )


def _words(one: Certificate, at: Certified, *, level: Level) -> str:
    """Say what is certified, for people."""
    return (
        f"certified ({level}): {one.deployment} kept at {at.min_confidence:g} loses at most"
        f" {one.max_loss_ratio:.1%} against {one.reference} by {one.labeller}, with probability"
        f" {1 - one.p_exceed:.1%}; {one.rows} rows, certificate {one.id[:8]}"
    )
