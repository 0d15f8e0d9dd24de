"""What a certificate allows here and now, and what becomes of a lane that it does not cover.

A lane with a certificate in force is answered by what the certificate covers and by nothing else:
its small deployment before its reference at a certified threshold, or the reference alone,
whichever is expected to cost less. Heat and the dial move the threshold inside the certified set.
Where no certificate can be in force (another scorer, another model, a reference that may not
answer) the lane is decided as if there were none, and the decision says so and is not certified.
A lane whose drift alarm is up goes to the reference alone.
"""

__all__ = ["AGREEMENT", "Assured", "Heat", "Held", "assure", "hold"]

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from metabolic.core.certificate import Certificate, Certified
from metabolic.core.checkpoint import Checkpoint
from metabolic.core.decision import Plan
from metabolic.core.metabolic import Level
from metabolic.decide.cascade import Fit, is_late
from metabolic.decide.certificate import place

AGREEMENT = "agreement@1"
"""The score of certificates with a partner: whether ``decide.agreement`` finds both to agree."""

_SLACK = 1e-9

_WITH_PARTNER = 3
"""Stages of a plan by agreement: the partner, the deployment, the reference."""


class Held(Struct, frozen=True, kw_only=True):
    """One lane's certificates, those that cannot be in force with the reason.

    ``alarm``: the lane has drifted, and none of them holds any more.
    """

    valid: tuple[Certificate, ...]
    void: tuple[str, ...]
    reference: str
    alarm: bool = False

    @property
    def in_force(self) -> bool:
        """Say whether certificates (or their alarm) decide here."""
        return self.alarm or bool(self.valid)


class Heat(Struct, frozen=True, kw_only=True):
    """Fit deployments without the price of heat, their joules on the limiting device, the price."""

    fit: tuple[Fit, ...]
    hot_j: dict[str, float]
    usd_per_hot_j: float


class Assured(Struct, frozen=True, kw_only=True):
    """The plan, the threshold of its gate, and the plans it was chosen from.

    ``certificate`` is the id of the one in force; ``None``: the plan is not certified. With
    ``agreement`` its first two drafts are compared, and the threshold is nobody's.
    """

    plan: Plan
    reference: Plan
    plans: tuple[Plan, ...]
    reasons: tuple[str, ...]
    min_confidence: float | None = None
    certificate: str | None = None
    agreement: bool = False
    abstained: str | None = None
    checkpoints: tuple[Checkpoint, ...] = ()


def hold(
    certificates: Iterable[Certificate],
    *,
    score: str,
    models: Mapping[str, str],
    alarms: Sequence[str],
) -> dict[str, Held]:
    """Return certificates by lane; ``models`` are model ids by deployment, ``score`` the scorer's.

    Of two certificates of one lane, deployment and partner the later one counts.
    """
    latest: dict[tuple[str, str, str | None], Certificate] = {}
    for one in certificates:
        latest[one.lane, one.deployment, one.partner] = one
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
    if one.partner is not None:
        score = AGREEMENT
    if one.score != score:
        return f"{one.deployment}: it is of scorer {one.score}, in force is {score or 'none'}"
    names = (one.deployment, one.reference, one.partner or "")
    for name, model in zip(names, one.models, strict=False):
        if models.get(name, model) != model:
            return f"{one.deployment}: {name} was {model}, now it is {models[name]}"
    return None


def assure(  # noqa: PLR0913 - what a request and a profile say of the choice
    held: Held,
    fit: Sequence[Fit],
    *,
    level: Level,
    preference: float,
    max_stages: int,
    min_gain_ratio: float,
    comparable: bool = True,
    heat: Heat | None = None,
    deadline_s: float | None = None,
) -> Assured | str:
    """Return what is certified for this request, or why nothing is.

    ``min_gain_ratio`` is the least gain for which a gate is put before the reference.
    ``comparable``: its answer is one text, so that two of them can be compared.
    ``heat``: no level and no price of it may raise what the limiting device is expected to draw.
    No gate is put before a reference that would then miss the deadline.
    """
    fit = fit if heat is None else heat.fit
    able = {one[0]: one for one in fit}
    last = able.get(held.reference)
    if held.alarm:
        return "drift alarm, no reference" if last is None else _alone(last, certificate=None)
    if not held.valid:
        return "; ".join(held.void)
    if last is None:
        return f"the reference {held.reference} may not answer"
    alone = _alone(last, certificate=held.valid[0].id)
    longest = max_stages if comparable else min(max_stages, _WITH_PARTNER - 1)
    bands = [
        [
            (_gated(gates, last, at), one, at)
            for one in held.valid
            if one.reference == held.reference
            and (gates := _gates(one, able, longest))
            and not is_late((*gates, last), deadline_s)
            for at in (place(one, level=each, preference=preference),)
        ]
        for each in ((level,) if heat is None else _below(level))
    ]
    found = _cheapest(alone, bands[0], level=level, min_gain_ratio=min_gain_ratio)
    if heat is None:
        return found
    return _coolest(alone, found, bands, heat, level=level, min_gain_ratio=min_gain_ratio)


def _below(level: Level) -> tuple[Level, ...]:
    """Return the levels from nominal to this one."""
    levels: tuple[Level, ...] = ("nominal", "elevated", "critical")
    return levels[: levels.index(level) + 1] if level in levels else levels[:1]


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


def _gates(one: Certificate, able: Mapping[str, Fit], longest: int) -> tuple[Fit, ...]:
    """Return who is asked before the reference; nobody, if one of them may not answer."""
    names = (one.deployment,) if one.partner is None else (one.partner, one.deployment)
    if len(names) >= longest or any(name not in able for name in names):
        return ()
    return tuple(able[name] for name in names)


def _gated(gates: Sequence[Fit], last: Fit, at: Certified) -> Plan:
    """Return the certified chain as a plan, by what the certificate measured of it."""
    rest = last[1]
    escalates = 1 - at.kept_ratio
    joules = [one.marginal_energy_j for _, one, _ in gates]
    known = [one for one in joules if one is not None]
    energy = None
    if rest.marginal_energy_j is not None and len(known) == len(joules):
        energy = sum(known) + escalates * rest.marginal_energy_j
    return Plan(
        stages=(*(name for name, _, _ in gates), last[0]),
        expected_net_usd=sum(one.net_usd for _, one, _ in gates)
        + (gates[0][1].gate_usd if len(gates) == 1 else 0.0)
        + escalates * rest.net_usd,
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
    return _gate(alone, plan, one, at, level=level)


def _gate(alone: Assured, plan: Plan, one: Certificate, at: Certified, *, level: Level) -> Assured:
    """Return a gate before the reference, with its certificate."""
    return Assured(
        plan=plan,
        reference=alone.plan,
        plans=alone.plans,
        min_confidence=at.min_confidence,
        certificate=one.id,
        agreement=one.partner is not None,
        checkpoints=one.checkpoints,
        reasons=(_words(one, at, level=level),),
    )


def _coolest(
    alone: Assured,
    calm: Assured,
    bands: Sequence[Sequence[tuple[Plan, Certificate, Certified]]],
    heat: Heat,
    *,
    level: Level,
    min_gain_ratio: float,
) -> Assured:
    """Return the certified plan under heat, by the bands and the caps of ``decide.strained``.

    ``calm`` is the choice of a calm machine; ``bands`` are the gates at each level up to this one.
    """
    gain = min_gain_ratio * abs(alone.plan.expected_net_usd)

    def hot_j(plan: Plan) -> float:
        *gates, last = plan.stages
        return sum(heat.hot_j[name] for name in gates) + heat.hot_j[last] * (
            plan.p_escalate if gates else 1.0
        )

    def objective(one: Assured) -> tuple[float, float, tuple[str, ...]]:
        plan, surcharge = one.plan, gain if len(one.plan.stages) > 1 else 0.0
        drawn_j = hot_j(plan)
        cost = plan.expected_net_usd + surcharge + heat.usd_per_hot_j * drawn_j
        return cost, drawn_j, plan.stages

    chosen = calm
    for gated in bands:
        most_j = hot_j(chosen.plan) * (1 + _SLACK)
        made = [_gate(alone, *one, level=level) for one in gated]
        cool = [one for one in (alone, *made) if hot_j(one.plan) <= most_j]
        chosen = min([chosen, *cool], key=objective)
    cost, _, _ = objective(chosen)
    surcharge = gain if len(chosen.plan.stages) > 1 else 0.0
    plan = replace(chosen.plan, expected_net_usd=cost - surcharge)
    return replace(chosen, plan=plan, plans=calm.plans)


def _words(one: Certificate, at: Certified, *, level: Level) -> str:
    """Say what is certified, for people."""
    kept = f"at {at.min_confidence:g}" if one.partner is None else f"where {one.partner} agrees"
    return (
        f"certified ({level}): {one.deployment} kept {kept} loses at most"
        f" {one.max_loss_ratio:.1%} against {one.reference} by {one.labeller}, with probability"
        f" {1 - one.p_exceed:.1%}; {one.rows} rows, certificate {one.id[:8]}"
    )
