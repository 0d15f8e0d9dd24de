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

__all__ = ["FEWEST", "MOST", "USUAL", "Counts", "Moved", "moved", "worth_of"]

from collections.abc import Iterable, Mapping, Sequence
from math import sqrt

from msgspec import Struct

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


class Moved(Struct, frozen=True, kw_only=True):
    """The estimate of one deployment on a lane: share of good answers in [0, 1], and labels."""

    p_correct: float
    evidence: float


class _Cell(Struct, frozen=True):
    """One deployment on one lane: labels, difference to the parent, and one over its variance."""

    name: str
    labels: float
    apart: float
    weight: float


def worth_of(above: Counts, parts: Sequence[Counts]) -> float:
    """Return how many labels a parent's estimate is worth to its ``parts``, lanes of one kind.

    What the parent has beyond them is one part more. ``USUAL`` if no two deployments can be
    compared on two parts.
    """
    lanes = [_cells(part, above) for part in (*parts, _left(above, parts))]
    lanes = [one for one in lanes if len(one) > 1]
    everyone = [cell for lane in lanes for cell in lane]
    totals: dict[str, float] = {}
    for cell in everyone:
        totals[cell.name] = totals.get(cell.name, 0.0) + cell.labels
    freedom = len(everyone) - len(lanes) - len(totals) + 1
    if not lanes or freedom <= 0:
        return USUAL
    beyond, labels = -freedom - sqrt(2.0 * freedom), 0.0
    for lane in lanes:
        weights = sum(cell.weight for cell in lane)
        mean = sum(cell.weight * cell.apart for cell in lane) / weights
        for cell in lane:
            beyond += cell.weight * (cell.apart - mean) ** 2
            # Less what the cell itself puts into the parent's share and the lane's mean.
            own = (1.0 - cell.labels / totals[cell.name]) * (1.0 - cell.weight / weights)
            labels += cell.labels * own
    return MOST if beyond <= 0 else min(MOST, max(FEWEST, labels / beyond))


def _cells(part: Counts, above: Counts) -> list[_Cell]:
    """Return what can be compared on one part."""
    found: list[_Cell] = []
    for name, (labels, correct) in part.items():
        many, good = above.get(name, (0.0, 0.0))
        if labels > 0 and many > 0:
            p = (good + 1.0) / (many + 2.0)
            apart = correct / labels - good / many
            found.append(_Cell(name, labels, apart, labels / (p * (1.0 - p))))
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
    part: Counts, above: Counts, estimates: Mapping[str, tuple[float, float]], worth: float
) -> dict[str, Moved]:
    """Return each deployment's estimate on a lane, from the parent's ``estimates`` and counts.

    ``estimates`` are share and evidence above 0; whoever has none is left out. ``worth`` is ``K``.
    """
    apart = {
        name: (labels, correct / labels - _share(name, above, estimates))
        for name, (labels, correct) in part.items()
        if labels > 0 and name in estimates
    }
    weights = [(labels / (labels + USUAL), d) for labels, d in apart.values()]
    mean = sum(weight * d for weight, d in weights) / (sum(w for w, _ in weights) + _NOBODY)
    found: dict[str, Moved] = {}
    for name, (p, evidence) in estimates.items():
        labels, d = apart.get(name, (0.0, mean))
        believed = labels / (labels + worth)
        share = p + mean + believed * (d - mean)
        # The variance of the two parts, in labels.
        known = 1.0 / (1.0 / (labels + worth) + (1.0 - believed) ** 2 / evidence)
        found[name] = Moved(p_correct=min(1.0, max(0.0, share)), evidence=max(labels, known))
    return found


def _share(name: str, above: Counts, estimates: Mapping[str, tuple[float, float]]) -> float:
    """Return the parent's raw share of good answers; without labels, its estimate."""
    labels, correct = above.get(name, (0.0, 0.0))
    return correct / labels if labels > 0 else estimates[name][0]
