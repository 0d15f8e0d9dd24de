"""A decision in words for people, and the break-even of its gates."""

__all__ = ["break_even", "why", "why_none"]

from metabolic.core.decision import Decision, Plan
from metabolic.decide.variants import key_of


def why_none(decision: Decision) -> str:
    """Return, in one line, why nobody may answer: ``name: reason`` for each deployment."""
    reasons = (
        f"{key_of(one.deployment, one.variant)}: {one.rejected}"
        for one in decision.candidates
        if one.rejected
    )
    return "; ".join(reasons) or "the fleet is empty"


def why(decision: Decision) -> tuple[str, ...]:
    """Return, in words for people, why this plan and no other."""
    first = next((one for one in decision.plans if one.stages == (decision.reference,)), None)
    stages = tuple(key_of(one.deployment, one.variant) for one in decision.stages)
    chosen = next((one for one in decision.plans if one.stages == stages), None)
    words = list(decision.reasons)
    if first is not None:
        words.append(f"best single: {decision.reference}, p_correct {first.p_correct:.2f}")
    if chosen is not None and chosen is not first:
        change = ""
        if first is not None and first.expected_net_usd > 0:
            gain = chosen.expected_net_usd / first.expected_net_usd - 1
            change = f"expected net cost {gain:+.0%}, "
        words.append(
            f"{' then '.join(stages)}: {change}p_correct {chosen.p_correct:.2f}, "
            f"escalates {chosen.p_escalate:.0%}"
        )
    words += [
        f"{' then '.join(one.stages)} pays where more than {share:.0%} of the drafts are kept;"
        f" {1 - one.p_escalate:.0%} are"
        for one in decision.plans
        if (share := break_even(decision, one)) is not None
    ]
    return tuple(words)


def break_even(decision: Decision, plan: Plan) -> float | None:
    """Return the share of drafts a plan's gate must keep to pay: its cost over that of the rest.

    Above 1 it never pays. ``None``: the plan has no gate, or its rest costs nothing.
    """
    kept = 1 - plan.p_escalate
    if len(plan.stages) < 2 or kept >= 1:  # noqa: PLR2004 - a gate and a rest
        return None
    stages = tuple(key_of(one.deployment, one.variant) for one in decision.stages)
    both = plan.stages == stages and decision.stages[0].rule == "never"
    asked = plan.stages[: 2 if both else 1]
    costs = [
        one.estimate.net_usd + (0.0 if both else one.estimate.gate_usd)
        for one in decision.candidates
        if key_of(one.deployment, one.variant) in asked and one.estimate is not None
    ]
    if len(costs) != len(asked):
        return None
    rest = (plan.expected_net_usd - sum(costs)) / plan.p_escalate
    return sum(costs) / rest if rest > 0 else None
