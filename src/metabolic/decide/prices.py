"""What a decision weighed, in words: what each stage costs, and when escalating pays."""

__all__ = ["prices"]

from collections.abc import Iterator, Mapping
from itertools import islice

from metabolic.core.decision import Candidate, Decision, Estimate, Plan
from metabolic.decide.dues import seconds_of
from metabolic.decide.reasons import break_even
from metabolic.decide.variants import key_of

_SHOWN = 3


def prices(decision: Decision) -> tuple[str, ...]:
    """Return, for people, what each deployment of the plans costs and where their gates pay."""
    by_key = {key_of(one.deployment, one.variant): one for one in decision.candidates}
    asked = dict.fromkeys(name for plan in decision.plans for name in plan.stages)
    parts = [_parts(name, by_key[name].estimate) for name in asked if name in by_key]
    gates = [_gate(decision, plan, by_key) for plan in decision.plans]
    others = islice(_before(decision, by_key), _SHOWN)
    return tuple([line for line in (*parts, *gates, *others) if line is not None])


def _parts(name: str, judged: Estimate | None) -> str | None:
    """Return one deployment's net cost as the sum of its parts; parts of nothing are left out."""
    if judged is None:
        return None
    tokens = judged.cost_usd or 0.0
    rest = judged.net_usd - tokens - judged.wait_usd - judged.check_usd
    shown = [
        f"{figure:.2g} {what}"
        for what, figure in (
            ("tokens", tokens),
            ("electricity and carbon", rest),
            ("waiting", judged.wait_usd),
            ("checks", judged.check_usd),
        )
        if abs(figure) > 1e-15  # noqa: PLR2004 - nothing
    ]
    seconds = seconds_of(judged)
    marks = [
        *([] if seconds is None else [f"{seconds:.2g} s, queue and waking included"]),
        *([] if not judged.check_s else [f"{1e3 * judged.check_s:.2g} ms for checks"]),
        *([] if not judged.gate_usd else [f"{judged.gate_usd:.2g} USD more to judge it as a gate"]),
        *([] if not judged.lost_cache_usd else [f"{judged.lost_cache_usd:.2g} USD for lost cache"]),
    ]
    behind = f" ({', '.join(marks)})" if marks else ""
    return f"{name}: net {judged.net_usd:.3g} USD = {' + '.join(shown) or '0'}{behind}"


def _gate(decision: Decision, plan: Plan, by_key: Mapping[str, Candidate]) -> str | None:
    """Return what a plan's gate puts at stake and what it takes to win; ``None`` without a gate."""
    share = break_even(decision, plan)
    last = by_key[plan.stages[-1]].estimate if plan.stages[-1] in by_key else None
    if share is None or last is None:
        return None
    return _stake(plan.stages, last, share=share, keeps=1 - plan.p_escalate)


def _before(decision: Decision, by_key: Mapping[str, Candidate]) -> Iterator[str]:
    """Yield the same of gates before the reference that are in no plan: why they are not."""
    large = by_key.get(decision.reference or "")
    if large is None or large.estimate is None or large.estimate.net_usd <= 0:
        return
    planned = {plan.stages for plan in decision.plans}
    for name, one in by_key.items():
        small = one.estimate
        if small is None or one is large or one.rejected or (name, decision.reference) in planned:
            continue
        share = (small.net_usd + small.gate_usd) / large.estimate.net_usd
        keeps = small.p_accept
        if keeps is not None and share < 1:
            stages = (name, decision.reference or "")
            yield _stake(stages, large.estimate, share=share, keeps=keeps)


def _stake(stages: tuple[str, ...], last: Estimate, *, share: float, keeps: float) -> str:
    """Say what escalating takes, from which share of kept drafts on it pays, and whether it does.

    Cost alone: a gate that pays may still give up more quality than is allowed.
    """
    more = [f"{last.net_usd:.3g} USD"]
    seconds = seconds_of(last)
    if seconds is not None:
        more.append(f"{seconds:.2g} s")
    if last.marginal_energy_j is not None:
        more.append(f"{last.marginal_energy_j:.3g} J at the meter")
    verdict = "pays by cost" if keeps > share else "does not pay"
    return (
        f"{' then '.join(stages)}: escalating takes {', '.join(more)};"
        f" breaks even where {share:.0%} of the drafts are kept, {keeps:.0%} are: {verdict}"
    )
