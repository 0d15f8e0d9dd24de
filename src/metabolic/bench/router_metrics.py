"""What a router is worth: the curves and areas that published routers are compared by.

``APGR`` and ``CPT`` look at two models and a score by which queries go to the strong one; the
share of strong calls is swept exactly. ``PGR = (accuracy - weak) / (strong - weak)``; ``APGR`` is
its mean over the shares, ``CPT(x)`` the least share at which ``PGR`` reaches ``x``. Source:
RouteLLM, arXiv 2406.18665.

A ``Curve`` looks at any number of models: for each price of a unit of cost, every query goes to
the model of the greatest ``P(correct) - price x cost``. ``AIQ`` is the area under the
non-decreasing convex hull of (cost, quality) over the range of the single models' costs, divided
by that range. Source: RouterBench, arXiv 2403.12031.
"""

__all__ = ["PRICES", "Curve", "Pair", "aiq", "cheapest_at", "curve", "pair", "resampled"]

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

PRICES: Vector = np.concatenate([[0.0], np.geomspace(1e-3, 30.0, 48)])
"""Quality that one best-single's cost is worth; 0 is quality alone."""


class Pair(Struct, frozen=True, kw_only=True):
    """How well a score tells which of two models to ask; NaN where the strong one is no better."""

    apgr: float
    cpt50: float
    cpt80: float


class Curve(Struct, frozen=True, kw_only=True):
    """Mean cost and quality at every one of ``PRICES``, and the model each query went to."""

    cost: Vector
    quality: Vector
    picks: NDArray[np.int64]


def pair(score: Vector, weak: Vector, strong: Vector) -> Pair:
    """Return APGR and CPT when the highest scores go to the strong model first."""
    gap = float(strong.mean() - weak.mean())
    if gap <= 0:
        return Pair(apgr=float("nan"), cpt50=float("nan"), cpt80=float("nan"))
    order = np.argsort(-score, kind="stable")
    gain = np.cumsum((strong - weak)[order]) / len(weak) / gap
    recovered = np.concatenate([[0.0], gain])
    share = np.linspace(0.0, 1.0, len(recovered))
    return Pair(
        apgr=float(np.trapezoid(recovered, share)),
        cpt50=float(share[int(np.argmax(recovered >= 0.5))]),  # noqa: PLR2004 - as defined
        cpt80=float(share[int(np.argmax(recovered >= 0.8))]),  # noqa: PLR2004 - as defined
    )


def resampled(order: NDArray[np.int64], gain: Vector, weights: Vector) -> float:
    """Return APGR with every query counted ``weights`` times; NaN without a gap."""
    weighed = weights[order]
    total = float((gain[order] * weighed).sum())
    if total <= 0 or weighed.sum() <= 0:
        return float("nan")
    recovered = np.concatenate([[0.0], np.cumsum(gain[order] * weighed) / total])
    share = np.concatenate([[0.0], np.cumsum(weighed) / weighed.sum()])
    return float(np.trapezoid(recovered, share))


def curve(chance: Matrix, expected: Matrix, scores: Matrix, costs: Matrix, unit: float) -> Curve:
    """Return the curve of a router that believes ``chance`` and ``expected`` costs.

    All are queries by models; ``scores`` and ``costs`` are what then happened. ``unit`` is the
    cost that ``PRICES`` are for.
    """
    rows = np.arange(len(scores))
    picks = np.stack([np.argmax(chance - price * expected / unit, axis=1) for price in PRICES])
    return Curve(
        cost=np.array([costs[rows, one].mean() for one in picks]),
        quality=np.array([scores[rows, one].mean() for one in picks]),
        picks=picks,
    )


def aiq(cost: Vector, quality: Vector, low: float, high: float) -> float:
    """Return the area under the hull between two costs, divided by their distance."""
    if high <= low:
        return float("nan")
    points = _hull(cost, quality)
    at = np.linspace(low, high, 400)
    heights = np.interp(at, [x for x, _ in points], [y for _, y in points])
    # Cheaper than the cheapest point there is nothing to buy.
    heights[at < points[0][0]] = 0.0
    return float(np.trapezoid(heights, at) / (high - low))


def _hull(cost: Vector, quality: Vector) -> list[tuple[float, float]]:
    """Return the upper convex hull of the points, as far as quality rises."""
    kept: list[tuple[float, float]] = []
    for x, y in sorted(zip(cost.tolist(), quality.tolist(), strict=True)):
        if kept and y <= kept[-1][1]:
            continue
        if kept and x == kept[-1][0]:
            kept.pop()
        while len(kept) > 1 and _below(kept[-2], kept[-1], (x, y)):
            kept.pop()
        kept.append((x, y))
    return kept


def _below(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    """Say whether ``b`` is not above the line from ``a`` to ``c``."""
    return (b[1] - a[1]) * (c[0] - a[0]) <= (c[1] - a[1]) * (b[0] - a[0])


def cheapest_at(made: Curve, quality: float) -> int:
    """Return which of the prices gives at least this quality for the least cost.

    Where none does, the one of the best quality.
    """
    enough = np.where(made.quality >= quality - 1e-12)[0]
    if not len(enough):
        return int(np.argmax(made.quality))
    return int(enough[int(np.argmin(made.cost[enough]))])
