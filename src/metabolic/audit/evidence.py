"""How much quality a lane loses with another model, from paired labels: between what bounds.

Bounds hold at once for all lanes and models that are looked at (Bonferroni). Labels of one block
of chains are kept together, and no bound is tighter than that of none seen in n (exact, binomial),
so that sessions that ask alike ten times do not count as ten.
"""

__all__ = ["Loss", "labels_needed", "loss_of"]

from math import ceil, log, sqrt
from statistics import NormalDist

import numpy as np
from msgspec import Struct

from metabolic.audit.blocks import Array

_PRIOR = 2.0
"""Pairs added before the interval is made: one where either is better, one tie.

Source: Agresti and Min, "Simple improved confidence intervals for comparing matched proportions",
Statistics in Medicine 24, 2005: half a pair in each of the four cells.
"""

_LEAST_GAP = 1e-3
"""Closer to the limit than this, no affordable number of labels tells."""

LEAST_LABELS = 10
"""Fewer say nothing."""


class Loss(Struct, frozen=True, kw_only=True):
    """Mean loss in [-1, 1] with its bounds, and from how many labels; ``mean`` may be unknown."""

    mean: float | None
    low: float
    high: float
    labels: int
    variance: float = 1.0


NO_LABELS = Loss(mean=None, low=-1.0, high=1.0, labels=0)


def loss_of(found: dict[str, Array] | None, *, alpha: float) -> Loss:
    """Return the mean loss of a lane's labels with bounds that fail with probability ``alpha``."""
    if found is None or found["count"].sum() < LEAST_LABELS:
        return NO_LABELS
    labels = int(found["count"].sum())
    weight, loss = found["weight"], found["loss"]
    total = float(weight.sum())
    mean = float(loss.sum()) / total
    effective = labels * (total / labels) ** 2 / max(1e-12, _mean_square(weight, found["count"]))
    n = effective + _PRIOR
    middle = mean * effective / n
    variance = (float(found["loss2"].sum()) / total * effective + 1.0) / n - middle * middle
    spread = float(np.sum((loss - mean * weight) ** 2)) / total**2
    z = NormalDist().inv_cdf(1 - alpha / 2)
    half = max(z * sqrt(max(variance / n, spread)), -log(alpha / 2) / n)
    return Loss(
        mean=mean,
        low=max(-1.0, middle - half),
        high=min(1.0, middle + half),
        labels=labels,
        variance=variance,
    )


def _mean_square(weight: Array, count: Array) -> float:
    """Return the mean squared weight, of weights that are alike within a block."""
    used = count > 0
    return float(np.sum(weight[used] ** 2 / count[used]) / count.sum())


def labels_needed(loss: Loss, *, epsilon: float, alpha: float) -> int | None:
    """Return how many labels would tell the loss from ``epsilon``; ``None`` when no number would.

    Without labels yet, a loss of nothing and a discordance of 10 % are assumed.
    """
    mean = 0.0 if loss.mean is None else loss.mean
    variance = 0.1 if loss.mean is None else loss.variance
    gap = abs(epsilon - mean)
    if gap < _LEAST_GAP:
        return None
    z = NormalDist().inv_cdf(1 - alpha / 2)
    return ceil(z * z * variance / (gap * gap))
