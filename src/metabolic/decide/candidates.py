"""Hard constraints: every deployment comes out fit, or rejected with a reason."""

__all__ = ["judge", "rejection"]

from metabolic.core.decision import Candidate, Estimate
from metabolic.core.fleet import Load
from metabolic.core.request import NO_LIMITS, Ask
from metabolic.decide.dues import seconds_of, with_dues
from metabolic.decide.estimate import Known, View, estimate
from metabolic.decide.impacts import too_large
from metabolic.decide.variants import refusal

_COLD = frozenset({"stopped", "asleep"})


def judge(seen: View, known: Known, load: Load | None, *, strict: bool = True) -> Candidate:
    """Return the deployment as a candidate, with its estimate if it is fit.

    ``strict`` also rejects those that could answer but should not: unproven for the task, or of
    a size the profile does not use.
    """
    reason = rejection(seen, known, load)
    if reason is None and strict and seen.ask.pin is None:
        reason = _unproven(seen, known)
    name, variant = known.deployment.name, None if known.variant is None else known.variant.name
    if reason is None and known.variant is not None:
        reason = refusal(known.variant, seen.ask)
    if reason is not None:
        return Candidate(deployment=name, variant=variant, rejected=reason)
    judged = estimate(seen, known, load)
    if seen.policy.checking is not None or seen.policy.wait_usd_per_h:
        judged = with_dues(judged, seen.policy, usd_per_j=seen.usd_per_j)
    over = None if seen.ask.limits is NO_LIMITS else _over_limit(seen.ask, judged)
    return Candidate(deployment=name, variant=variant, estimate=judged, rejected=over)


def rejection(seen: View, known: Known, load: Load | None) -> str | None:
    """Return why the deployment cannot answer, before anything is estimated; ``None``: it can."""
    ask = seen.ask
    if ask.pin is not None and known.name != ask.pin:
        return "another deployment is pinned"
    drafting = known.deployment.drafting
    if drafting is not None and drafting.twin_of is not None and ask.pin is None:
        return f"{drafting.twin_of} with speculation on: takes its place where that pays"
    if ask.allowed and not (known.name in ask.allowed or known.deployment.name in ask.allowed):
        return "not in the virtual model"
    down = None if load is None else _unavailable(known, load, seen)
    if down is not None or ask.pin is not None:
        return down
    return _unfit(seen, known)


def _unavailable(known: Known, load: Load, seen: View) -> str | None:
    """Return why it cannot run now; one that did not answer lately may still be pinned."""
    if load.state == "failed":
        return "engine failed"
    if load.state == "absent":
        return "model not fetched yet"
    if load.healthy is False and seen.ask.pin is None:
        return "not answering"
    needed = known.deployment.memory_bytes
    if load.state in _COLD and needed is not None:
        free = seen.metabolic.memory_available_bytes
        if free is not None and free < needed:
            return f"needs {needed / 1e6:.0f} MB to wake, {free / 1e6:.0f} MB free"
    return None


def _unfit(seen: View, known: Known) -> str | None:
    """Return what the deployment cannot do that this request needs."""
    ask, deployment = seen.ask, known.deployment
    if ask.dialect not in known.capabilities:
        return f"does not serve {ask.dialect}"
    for need in ask.needs:
        if need not in known.capabilities:
            return f"no {need}"
    context = deployment.model.context_tokens
    room = ask.input_tokens + (ask.max_output_tokens or 0)
    if context is not None and room > context:
        return f"needs {room} tokens of context, has {context}"
    return None


def _unproven(seen: View, known: Known) -> str | None:
    """Return why it should not answer although it could; a virtual model that names it may."""
    ask, deployment, profile = seen.ask, known.deployment, seen.policy.profile
    if ask.allowed:
        return None
    if deployment.tasks and seen.signals.task not in deployment.tasks:
        return f"not proven for {seen.signals.task}"
    if ask.strong_share_ratio is not None and _used_up(seen, known):
        return "the tenant's share of the largest models is used up"
    if profile.tiers:
        reason = _outside(seen, known)
        if reason is not None:
            return reason
    if seen.strain is None:
        return None
    return too_large(seen.strain, deployment, seen.prepared.smallest)


def _outside(seen: View, known: Known) -> str | None:
    """Return why a thrifty profile leaves it out: its size, or a query that it defers."""
    profile, tier = seen.policy.profile, known.deployment.model.tier
    if profile.defer_above_ratio is not None and seen.signals.p_complex > profile.defer_above_ratio:
        return f"profile {profile.name} defers complex queries" if known.local else None
    return None if tier in profile.tiers else f"profile {profile.name} does not use {tier} models"


def _used_up(seen: View, known: Known) -> bool:
    """Say whether it is of the largest size and the tenant has had enough of those."""
    share, most = seen.ask.strong_share_ratio, seen.policy.max_strong_share_ratio
    if share is None or most is None or share < most:
        return False
    sizes = [one.size for one in seen.prepared.known]
    return known.size == max(sizes) > min(sizes)


def _over_limit(ask: Ask, judged: Estimate) -> str | None:
    """Return which of the client's limits the estimate breaks."""
    limits = ask.limits
    cost, energy = judged.cost_usd, judged.energy_j
    if limits.max_cost_usd is not None and cost is not None and cost > limits.max_cost_usd:
        return f"would cost {cost:.6f} USD, limit {limits.max_cost_usd:.6f}"
    if limits.max_energy_j is not None and energy is not None and energy > limits.max_energy_j:
        return f"would take {energy:.1f} J, limit {limits.max_energy_j:.1f}"
    seconds = None if limits.deadline_s is None else seconds_of(judged)
    if seconds is not None and seconds > (limits.deadline_s or 0.0):
        return f"would take {seconds:.1f} s, deadline {limits.deadline_s:.1f}"
    return None
