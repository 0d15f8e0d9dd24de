"""Exploration: now and then somebody else answers, with a probability that is written down.

Theory. What is never tried is never known, and what was drawn with a known probability can be
reweighted: an answer drawn with propensity ``q`` stands for ``1/q`` such queries. A share
``ratio`` of the answers is spread evenly over the rivals, the rest is the chosen one's. Rivals
are those that may be adequate (their upper bound reaches the floor the choice was held to) and
would cost no more than the best single deployment: exploring risks quality within what is not yet
known, and never money. On a lane the bound is as wide as its own labels leave it, and a few more:
what is known of its parent is the best guess, and does not tell that the lane is no exception. The
lot is a hash of policy and request, so a replay draws the same, and a client who may choose the
request's name cannot choose the lot.
"""

__all__ = ["arms_for", "arms_of", "drawn", "explored", "lot_of", "rivals_of"]

from collections.abc import Mapping, Sequence
from hashlib import blake2b

from msgspec.structs import replace

from metabolic.core.decision import Decision, Estimate, Stage
from metabolic.core.lanes import Arm
from metabolic.decide.variants import at_variants, key_of

_BOUND_Z = 1.64
"""95 % of the time the truth is below the upper bound."""

_ELSEWHERE = 20.0
"""Most labels of other lanes that narrow a bound."""


def lot_of(policy_id: str, ask_id: str) -> float:
    """Return a number in [0, 1) that is the same whenever both are.

    >>> lot_of("p", "r") == lot_of("p", "r")
    True
    """
    found = blake2b(f"{policy_id}\n{ask_id}".encode(), digest_size=8).digest()
    return (int.from_bytes(found, "big") >> 11) / 2**53


def rivals_of(
    chosen: str,
    fit: Sequence[tuple[str, Estimate, bool]],
    *,
    floor: float,
    most_usd: float,
    labels: Mapping[str, float] | None = None,
) -> tuple[str, ...]:
    """Return who else may be adequate: upper bound at the floor or above, and no dearer.

    ``labels`` are those of the lane itself, by name; ``None``: all evidence counts.
    """
    found: list[str] = []
    for name, estimate, _ in fit:
        p, evidence = estimate.p_correct, float(estimate.evidence)
        if labels is not None:
            evidence = min(evidence, labels.get(name, 0.0) + _ELSEWHERE)
        bound = p + _BOUND_Z * (p * (1 - p) / (evidence + 1)) ** 0.5
        if name != chosen and bound >= floor and estimate.net_usd <= most_usd:
            found.append(name)
    return tuple(found)


def arms_of(chosen: str, rivals: Sequence[str], *, ratio: float) -> tuple[Arm, ...]:
    """Return who may be drawn, and with which probability; they sum to 1."""
    if not rivals or ratio <= 0:
        return (Arm(deployment=chosen, propensity=1.0),)
    ratio = min(ratio, 0.5)
    return (
        Arm(deployment=chosen, propensity=1.0 - ratio),
        *[Arm(deployment=name, propensity=ratio / len(rivals)) for name in rivals],
    )


def drawn(arms: Sequence[Arm], lot: float) -> Arm:
    """Return the arm that a lot in [0, 1) falls on."""
    for one in arms:
        if lot < one.propensity:
            return one
        lot -= one.propensity
    return arms[0]


def arms_for(
    chosen: str,
    fit: Sequence[tuple[str, Estimate, bool]],
    *,
    ratio: float,
    floor: float,
    labels: Mapping[str, float] | None = None,
) -> tuple[Arm, ...]:
    """Return who may be drawn instead of ``chosen``; the rest is as in ``explored``."""
    by_name = {name: estimate for name, estimate, _ in fit}
    best = max(by_name.values(), key=lambda one: (one.p_correct, -one.net_usd))
    rivals = rivals_of(
        chosen,
        fit,
        floor=best.p_correct - floor,
        most_usd=max(best.net_usd, by_name[chosen].net_usd),
        labels=labels,
    )
    return arms_of(chosen, rivals, ratio=ratio)


def explored(  # noqa: PLR0913 - all that a lot depends on
    made: Decision,
    fit: Sequence[tuple[str, Estimate, bool]],
    *,
    ratio: float,
    floor: float,
    lot: float,
    bound: bool,
    names: Mapping[str, tuple[str, str]],
    labels: Mapping[str, float] | None = None,
) -> Decision:
    """Return the decision with the lot drawn, the arms and the propensity in it.

    Variants are rivals like deployments; ``names`` says which names are theirs. ``labels`` are
    those of the lane itself, by name.

    ``floor`` is the quality it may give up against the best single; 0, as of a client who asks
    for quality, explores nothing. Nor does a session under way (``bound``), or a cascade.
    """
    if ratio <= 0 or floor <= 0 or bound or len(made.stages) != 1:
        return made
    first = made.stages[0]
    chosen = key_of(first.deployment, first.variant)
    arms = arms_for(chosen, fit, ratio=ratio, floor=floor, labels=labels)
    if len(arms) == 1:
        return made
    one = drawn(arms, lot)
    said = _named(arms, names)
    if one.deployment == chosen:
        return replace(made, arms=said, propensity=one.propensity)
    stages = (replace(first, deployment=one.deployment, variant=None, hedge=None),)
    return replace(
        made,
        stages=at_variants(stages, names),
        fallbacks=_others(made, first, at_variants(stages, names)[0]),
        arms=said,
        propensity=one.propensity,
        reasons=(*made.reasons, f"explored instead of {chosen}"),
    )


def _named(arms: Sequence[Arm], names: Mapping[str, tuple[str, str]]) -> tuple[Arm, ...]:
    """Return arms that name deployments and variants instead of keys."""
    return tuple(
        [
            replace(one, deployment=found[0], variant=found[1])
            if (found := names.get(one.deployment)) is not None
            else one
            for one in arms
        ]
    )


def _others(made: Decision, first: Stage, drawn_one: Stage) -> tuple[Stage, ...]:
    """Return the fallbacks with the one that would have answered first.

    A variant of who was drawn would fail with it.
    """
    if drawn_one.deployment == first.deployment:
        return made.fallbacks
    rest = [one for one in made.fallbacks if one.deployment != drawn_one.deployment]
    return (replace(first, hedge=None), *rest)
