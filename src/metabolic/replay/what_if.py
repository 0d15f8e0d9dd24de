"""What another policy would have done with the same requests, from logged propensities.

Theory. A stored answer says what *its* deployment did with a request, not what another would have.
Where exploration drew the deployment with propensity ``q``, an answer stands for ``1/q`` requests
like it, so with ``w = 1/q`` where the policy would have done the same, else 0::

    IPS = mean of w r
    DR  = mean of m + w (r - m)

``m`` is what the policy's own decision foresaw (its estimates). DR is right if either the
propensities or the estimates are. Both speak only of requests where the policy's choice *could*
have been drawn. Of the others nobody knows anything, and that is said: a policy whose choices
were possible on less than ``SUPPORT`` of the requests, or that rests on fewer than ``LEAST``
effective samples, ``(sum w)^2 / sum w^2``, is not evaluated. Intervals are normal ones at 95 %.

Source: inverse propensity scores: Horvitz and Thompson, 1952; doubly robust: Dudik, Langford and
Li, 2011; effective sample size: Kish, 1965.
"""

__all__ = ["LEAST", "SUPPORT", "Act", "Measure", "Outcome", "WhatIf", "acts", "estimated", "judged"]

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import sqrt

from msgspec import Struct

from metabolic.core.decision import Decision, Stage
from metabolic.core.receipt import Record

SUPPORT = 0.95
LEAST = 30.0

_Z = 1.96
"""The 97.5 % quantile of the normal distribution."""


class Outcome(Struct, frozen=True, gc=False):
    """What was got, or was foreseen: good (0 to 1), dollars, joules; ``None`` is unknown."""

    quality: float | None = None
    cost_usd: float | None = None
    energy_j: float | None = None


class Act(Struct, frozen=True, kw_only=True, gc=False):
    """One request: the weight of its answer, and whether the policy's choice could be drawn."""

    weight: float
    supported: bool
    got: Outcome
    foreseen: Outcome


class Measure(Struct, frozen=True, kw_only=True):
    """One figure under the logged policy and under the other, with 95 % bounds.

    ``difference`` is that of DR and what was logged, request by request. ``why`` says why it is
    not evaluated; then there are no figures.
    """

    name: str
    n: int
    effective_n: float
    support_ratio: float
    why: str | None = None
    logged: float | None = None
    ips: float | None = None
    ips_low: float | None = None
    ips_high: float | None = None
    dr: float | None = None
    dr_low: float | None = None
    dr_high: float | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None


class WhatIf(Struct, frozen=True, kw_only=True):
    """What a policy would have done: how often the same, and its measures."""

    policy: str
    records: int
    unusable: int
    same_ratio: float
    explored_ratio: float
    measures: tuple[Measure, ...]


def acts(pairs: Iterable[tuple[Record, Decision]], labels: Mapping[str, float]) -> list[Act]:
    """Return records with what the other policy decides, as acts; ``labels`` by request id."""
    return [_act(record, other, labels.get(record.ask.id)) for record, other in pairs]


def _act(record: Record, other: Decision, label: float | None) -> Act:
    """Return one request as an act."""
    logged = record.decision
    same = _steps(logged.stages) == _steps(other.stages)
    propensity = 1.0 if same and not logged.arms else 0.0
    if len(other.stages) == 1:
        named = other.stages[0].deployment
        propensity = next(
            (one.propensity for one in logged.arms if one.deployment == named), propensity
        )
    receipt = record.receipt
    energy = receipt.energy or receipt.remote_energy
    return Act(
        weight=1.0 / propensity if same and propensity > 0 else 0.0,
        supported=propensity > 0,
        got=Outcome(label, receipt.cost.total_usd, None if energy is None else energy.energy_j),
        foreseen=_foreseen(other, other.stages),
    )


def _steps(stages: Sequence[Stage]) -> tuple[object, ...]:
    """Return what makes two chains of stages the same."""
    return tuple([(one.deployment, one.variant, one.min_confidence, one.rule) for one in stages])


def _foreseen(decision: Decision, stages: Sequence[Stage]) -> Outcome:
    """Return what a decision's estimates say of a chain; of a cascade, its plan's quality alone."""
    if len(stages) == 1:
        for one in decision.candidates:
            if one.deployment == stages[0].deployment and one.estimate is not None:
                seen = one.estimate
                return Outcome(seen.p_correct, seen.cost_usd, seen.energy_j)
    names = tuple(one.deployment for one in stages)
    for plan in decision.plans:
        if plan.stages == names:
            return Outcome(plan.p_correct, None, plan.expected_energy_j)
    return Outcome()


def judged(policy: str, found: Sequence[Act], *, unusable: int, explored: int) -> WhatIf:
    """Return the measures of all acts."""
    readers: tuple[tuple[str, Callable[[Outcome], float | None]], ...] = (
        ("quality", lambda one: one.quality),
        ("cost_usd", lambda one: one.cost_usd),
        ("energy_j", lambda one: one.energy_j),
    )
    total = max(1, len(found))
    return WhatIf(
        policy=policy,
        records=len(found),
        unusable=unusable,
        same_ratio=sum(one.weight > 0 for one in found) / total,
        explored_ratio=explored / total,
        measures=tuple([estimated(name, found, read) for name, read in readers]),
    )


def estimated(name: str, found: Sequence[Act], read: Callable[[Outcome], float | None]) -> Measure:
    """Return one measure over the acts whose outcome is known."""
    known = [(one, value) for one in found if (value := read(one.got)) is not None]
    supported = [(one, value) for one, value in known if one.supported]
    weights = [one.weight for one, _ in supported]
    squares = sum(one * one for one in weights)
    effective = sum(weights) ** 2 / squares if squares else 0.0
    support = len(supported) / len(known) if known else 0.0
    why = _why_not(len(known), support, effective)
    if why is not None:
        return Measure(
            name=name, n=len(known), effective_n=effective, support_ratio=support, why=why
        )
    logged = [value for _, value in supported]
    ips = [one.weight * value for one, value in supported]
    dr = [_robust(one, value, read) for one, value in supported]
    apart = [a - b for a, b in zip(dr, logged, strict=True)]
    (ips_mean, ips_low, ips_high), (dr_mean, dr_low, dr_high), (mean, low, high) = (
        _mean(one) for one in (ips, dr, apart)
    )
    return Measure(
        name=name,
        n=len(known),
        effective_n=effective,
        support_ratio=support,
        logged=sum(logged) / len(logged),
        ips=ips_mean,
        ips_low=ips_low,
        ips_high=ips_high,
        dr=dr_mean,
        dr_low=dr_low,
        dr_high=dr_high,
        difference=mean,
        difference_low=low,
        difference_high=high,
    )


def _why_not(known: int, support: float, effective: float) -> str | None:
    """Return why nothing can be said; ``None``: something can."""
    if known == 0:
        return "no request has this outcome: without labels there is no quality"
    if support < SUPPORT:
        return (
            f"its choice could have been drawn on {support:.0%} of the requests only:"
            " explore more, or compare a policy that is nearer"
        )
    if effective < LEAST:
        return f"it rests on {effective:.0f} effective requests; {LEAST:.0f} are the least"
    return None


def _robust(one: Act, value: float, read: Callable[[Outcome], float | None]) -> float:
    """Return the doubly robust term; where nothing was foreseen, that of IPS."""
    foreseen = read(one.foreseen)
    if foreseen is None:
        return one.weight * value
    return foreseen + one.weight * (value - foreseen)


def _mean(values: Sequence[float]) -> tuple[float, float, float]:
    """Return a mean with its 95 % bounds."""
    n = len(values)
    mean = sum(values) / n
    spread = sum((one - mean) ** 2 for one in values) / max(1, n - 1)
    half = _Z * sqrt(spread / n)
    return mean, mean - half, mean + half
