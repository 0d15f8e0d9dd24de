"""Lane by lane: what may be saved where every lane, not the average, keeps its quality.

A pooled loss hides damage: the lane that gives up most pays for the others. Here the price of a
unit of cost is chosen for each lane on its training questions (predicted by fits without them):
the cheapest at which the lane loses at most ``ALLOWED`` against the best single model, which
answers where no price does, or the lane has too few questions. ``sure`` wants the upper end of the
lane's loss below the bound, not its mean.
"""

__all__ = ["ALLOWED", "MIN_LANE", "LaneLoss", "Lanewise", "Part", "lanewise", "worst"]

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from metabolic.bench.router_metrics import Curve

Matrix = NDArray[np.float64]
Picks = NDArray[np.int64]

ALLOWED = 0.02
"""Share of good answers that a lane may lose."""

MIN_LANE = 30
_Z = 1.64
"""One-sided 95 %."""


class LaneLoss(Struct, frozen=True, kw_only=True):
    """What a lane of ``n`` reported questions lost, and cost over the best single model."""

    lane: str
    n: int
    loss: float
    cost_ratio: float


class Lanewise(Struct, frozen=True, kw_only=True):
    """The policy on the reported questions: its cost over the best single's, and its losses."""

    cost_ratio: float
    loss: float
    worst_lane_loss: float
    lanes_over_ratio: float
    lanes: tuple[LaneLoss, ...] = ()


class Part(Struct, frozen=True, kw_only=True):
    """Half of a set: outcomes and costs of its questions, and the lane of each."""

    scores: Matrix
    costs: Matrix
    lanes: Sequence[str]


def lanewise(
    held: Curve, made: Curve, half: tuple[Part, Part], best: int, *, sure: bool
) -> Lanewise:
    """Return what the prices chosen on the first part of ``half`` give on the second.

    ``held`` and ``made`` are the router's curves over the two.
    """
    learn, report = half
    names, lanes = np.asarray(learn.lanes, dtype=np.str_), np.asarray(report.lanes, dtype=np.str_)
    picks = np.full(len(lanes), best)
    for name in np.unique(lanes):
        rows = np.where(names == name)[0]
        chosen = _price(held.picks[:, rows], learn, rows, best, sure=sure)
        if chosen >= 0:
            picks[lanes == name] = made.picks[chosen, lanes == name]
    return _summed(picks, report, lanes, best)


def _summed(picks: Picks, report: Part, lanes: NDArray[np.str_], best: int) -> Lanewise:
    """Return what the picks cost and lose, together and on every lane of enough questions."""
    every = np.arange(len(picks))
    lost = report.scores[:, best] - report.scores[every, picks]
    spent, usual = report.costs[every, picks], report.costs[:, best]
    found: list[LaneLoss] = []
    for name in np.unique(lanes):
        rows = lanes == name
        if rows.sum() >= MIN_LANE:
            found.append(
                LaneLoss(
                    lane=str(name),
                    n=int(rows.sum()),
                    loss=float(lost[rows].mean()),
                    cost_ratio=float(spent[rows].mean()) / (float(usual[rows].mean()) or 1.0),
                )
            )
    over = [one.loss > ALLOWED for one in found]
    return Lanewise(
        cost_ratio=float(spent.mean()) / (float(usual.mean()) or 1.0),
        loss=float(lost.mean()),
        worst_lane_loss=max([one.loss for one in found], default=float("nan")),
        lanes_over_ratio=float(np.mean(over)) if over else float("nan"),
        lanes=tuple(found),
    )


def _price(picks: Picks, learn: Part, rows: Picks, best: int, *, sure: bool) -> int:
    """Return the cheapest price at which a lane loses little enough; -1: none does."""
    if len(rows) < MIN_LANE:
        return -1
    lost = learn.scores[rows, best] - learn.scores[rows, picks]
    spent = learn.costs[rows, picks].mean(axis=1)
    upper = lost.mean(axis=1)
    if sure:
        upper = upper + _Z * lost.std(axis=1) / np.sqrt(len(rows))
    fit = np.where((upper <= ALLOWED) & (spent < learn.costs[rows, best].mean()))[0]
    return int(fit[int(np.argmin(spent[fit]))]) if len(fit) else -1


def worst(lost: Matrix, lanes: Sequence[str]) -> float:
    """Return the greatest mean loss of a lane of enough questions; NaN if there is none."""
    names = np.asarray(lanes, dtype=np.str_)
    means = [
        float(lost[names == name].mean())
        for name in np.unique(names)
        if (names == name).sum() >= MIN_LANE
    ]
    return max(means, default=float("nan"))
