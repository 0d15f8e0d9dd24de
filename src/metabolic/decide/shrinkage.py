"""How much a lane may differ from its parent: learned from how much lanes do differ.

Theory. Of ``m`` labels a share ``s`` is good; the parent's raw share is ``s0``, its estimate
``p0``. What a deployment does otherwise on the lane than above is ``d = s - s0``. Part of that is
the lane's: it is hard for everybody, which is the mean of ``d`` over deployments. One more, which
has nothing to say, counts beside them, so what one deployment alone does is half its own. The
rest, ``d - mean``, is what tells deployments apart, and all that can change who should answer. It
is believed by the part ``m / (m + K)``::

    p = p0 + mean + (d - mean) m / (m + K)

A difference, not the share itself: a lane that holds all of its parent's labels says nothing that
its parent has not said, so nothing counts twice on the way down.

``K`` is what lanes of one parent have in common. If deployments differ from lane to lane by chance
alone, the sum ``Q`` of squared ``(d - mean)``, each over its variance, is as great as its degrees
of freedom ``f``; what they truly differ adds ``sum m / K``. So ``K = sum m / (Q - f)``, with a
standard error of ``Q``, ``sqrt(2 f)``, taken off first: as long as chance would do, lanes are
their parent. With thirteen deployments the best-looking one of a small lane is a winner by chance
far more often than with two, and ``f`` grows with their number.

Source: moments as in DerSimonian and Laird, Meta-analysis in clinical trials, 1986; shrinkage as
in Efron and Morris, 1975. The standard error and the bounds are ours, chosen on other halves of
public outcome tables than those that are reported.
"""

__all__ = ["FEWEST", "MOST", "USUAL", "Counts", "Estimates", "moved", "worth_of"]

from collections.abc import Iterable, Mapping, Sequence
from math import sqrt

FEWEST = 5.0
"""Least labels that a parent is worth to its lanes."""

USUAL = 20.0
"""What it is worth where no two deployments can be compared on two lanes."""

MOST = 1000.0
"""Most labels that a parent is worth: enough labels of a lane's own always win."""

_NOBODY = 1.0
"""Deployments without a difference, counted beside those that have labels."""

Counts = Mapping[str, tuple[float, float]]
"""Labels and good ones among them, by the name of the deployment or variant."""

Estimates = Mapping[str, tuple[float, float]]
"""Share of good answers in [0, 1], and the labels that is worth, above 0, by name."""

_NONE = (0.0, 0.0)


def worth_of(above: Counts, parts: Sequence[Counts]) -> float:
    """Return how many labels a parent's estimate is worth to its ``parts``, lanes of one kind.

    What the parent has beyond them is one part more. ``USUAL`` if no two deployments can be
    compared on two parts.
    """
    lanes = [_cells(part, above) for part in (*parts, _left(above, parts))]
    lanes = [one for one in lanes if len(one) > 1]
    totals: dict[str, float] = {}
    for lane in lanes:
        for name, labels, _, _ in lane:
            totals[name] = totals.get(name, 0.0) + labels
    freedom = sum(map(len, lanes)) - len(lanes) - len(totals) + 1
    if not lanes or freedom <= 0:
        return USUAL
    beyond, worth = -freedom - sqrt(2.0 * freedom), 0.0
    for lane in lanes:
        weights = sum([weight for _, _, _, weight in lane])
        mean = sum([weight * apart for _, _, apart, weight in lane]) / weights
        for name, labels, apart, weight in lane:
            beyond += weight * (apart - mean) ** 2
            # Less what the cell itself puts into the parent's share and the lane's mean.
            worth += labels * (1.0 - labels / totals[name]) * (1.0 - weight / weights)
    return MOST if beyond <= 0 else min(MOST, max(FEWEST, worth / beyond))


def _cells(part: Counts, above: Counts) -> list[tuple[str, float, float, float]]:
    """Return what can be compared on one part.

    Each is a deployment, its labels, its difference to the parent, and one over its variance.
    """
    found: list[tuple[str, float, float, float]] = []
    for name, (labels, correct) in part.items():
        many, good = above.get(name, _NONE)
        if labels > 0 and many > 0:
            p = (good + 1.0) / (many + 2.0)
            apart = correct / labels - good / many
            found.append((name, labels, apart, labels / (p * (1.0 - p))))
    return found


def _left(above: Counts, parts: Iterable[Counts]) -> Counts:
    """Return what the parent counted beyond its parts; less than one label is none."""
    left: dict[str, list[float]] = {name: [*row] for name, row in above.items()}
    for part in parts:
        for name, (labels, correct) in part.items():
            if name in left:
                left[name][0] -= labels
                left[name][1] -= correct
    return {
        name: (labels, min(labels, max(0.0, correct)))
        for name, (labels, correct) in left.items()
        if labels >= 1.0
    }


def moved(
    part: Counts, above: Counts, estimates: Estimates, worth: float
) -> dict[str, tuple[float, float]]:
    """Return each deployment's estimate on a lane, from its parent's ``estimates`` and counts.

    Whoever the parent has no evidence of is left out. ``worth`` is ``K``.
    """
    apart: dict[str, tuple[float, float]] = {}
    shared, weights = 0.0, _NOBODY
    for name, (labels, correct) in part.items():
        if labels > 0 and name in estimates:
            many, good = above.get(name, _NONE)
            d = correct / labels - (good / many if many > 0 else estimates[name][0])
            apart[name] = labels, d
            weight = labels / (labels + USUAL)
            shared, weights = shared + weight * d, weights + weight
    mean = shared / weights
    found: dict[str, tuple[float, float]] = {}
    for name, (p, evidence) in estimates.items():
        labels, d = apart.get(name, (0.0, mean))
        believed = labels / (labels + worth)
        share = p + mean + believed * (d - mean)
        # One over the variance of the two parts, in labels.
        known = 1.0 / (1.0 / (labels + worth) + (1.0 - believed) ** 2 / evidence)
        found[name] = min(1.0, max(0.0, share)), max(labels, known)
    return found
