"""What the router benchmark's methods got, split by split, and the rows that are made of it."""

__all__ = ["Shape", "Tally", "lane_rows", "pooled", "rows_of"]

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from metabolic.bench.report import Row
from metabolic.bench.router_decided import Decided
from metabolic.bench.router_lanewise import Lanewise

Vector = NDArray[np.float64]


class Tally(Struct, kw_only=True):
    """What one method got over the splits, one entry a split."""

    apgr: list[float] = field(default_factory=list[float])
    cpt50: list[float] = field(default_factory=list[float])
    cpt80: list[float] = field(default_factory=list[float])
    samples: list[Vector] = field(default_factory=list[Vector])
    aiq: list[float] = field(default_factory=list[float])
    ratio: list[float] = field(default_factory=list[float])
    loss: list[float] = field(default_factory=list[float])
    on_curve: list[float] = field(default_factory=list[float])
    strong: list[float] = field(default_factory=list[float])
    ratio_2pct: list[float] = field(default_factory=list[float])
    loss_2pct: list[float] = field(default_factory=list[float])
    worst_lane: list[float] = field(default_factory=list[float])
    by_lane: list[Lanewise] = field(default_factory=list[Lanewise])
    by_lane_sure: list[Lanewise] = field(default_factory=list[Lanewise])
    decided: list[Decided] = field(default_factory=list[Decided])
    spent: float = 0.0
    spent_best: float = 0.0


class Shape(Struct, frozen=True, kw_only=True):
    """What all rows of a set have in common."""

    set: str
    kind: str
    split: str
    n: int
    splits: int
    models: int
    labels: int
    axis: str | None
    head_start: bool


def rows_of(shape: Shape, tallies: Mapping[str, Tally]) -> list[Row]:
    """Return one row a method; gains are over prompt length, resample by resample."""
    length = np.mean(tallies["prompt length"].samples, axis=0)
    return [
        {
            "set": shape.set,
            "kind": shape.kind,
            "split": shape.split,
            "method": name,
            "n": shape.n,
            "splits": shape.splits,
            "models": shape.models,
            "label_budget": 0 if name == "random" else shape.labels,
            "head_start": name == "ours" and shape.head_start,
            **_ranked(tally, length, fixed=name == "best single"),
            "axis": shape.axis,
            **_costs(tally),
            **_by_lane(tally),
            **_decided(tally),
        }
        for name, tally in tallies.items()
    ]


_SHOWN = ("ours", "lane table", "lane table + router")
"""The methods whose losses are given lane by lane."""


def lane_rows(shape: Shape, tallies: Mapping[str, Tally]) -> list[Row]:
    """Return one row a lane and method: what it loses and costs, means over the splits."""
    made: list[Row] = []
    for name in _SHOWN:
        tally = tallies.get(name, Tally())
        found = [one for split in tally.by_lane for one in split.lanes]
        for lane in sorted({one.lane for one in found}):
            rows = [one for one in found if one.lane == lane]
            made.append(
                {
                    "set": shape.set,
                    "kind": "lane",
                    "split": shape.split,
                    "method": name,
                    "lane": lane,
                    "n": round(float(np.mean([one.n for one in rows]))),
                    "splits": len(rows),
                    "loss_at_2pct_lane_loss": _mean([one.loss for one in rows]),
                    "cost_at_2pct_lane_loss_ratio": _mean([one.cost_ratio for one in rows]),
                }
            )
    return made


def _ranked(tally: Tally, length: Vector, *, fixed: bool) -> Row:
    """Return the columns of two models; none for a method that does not rank."""
    known = not fixed and bool(tally.samples)
    samples = np.mean(tally.samples, axis=0) if known else np.zeros(0)
    low, high = _bounds(samples)
    gain_low, gain_high = _bounds(samples - length) if known else (None, None)
    return {
        "apgr": _mean(tally.apgr) if known else None,
        "apgr_low": low,
        "apgr_high": high,
        "gain_over_length_low": gain_low,
        "gain_over_length_high": gain_high,
        "cpt50": _mean(tally.cpt50) if known else None,
        "cpt80": _mean(tally.cpt80) if known else None,
    }


def _costs(tally: Tally) -> Row:
    """Return the columns that need costs."""
    return {
        "aiq": _mean(tally.aiq),
        "strong_share": _mean(tally.strong),
        "cost_at_best_single_ratio": _mean(tally.ratio),
        "loss_at_best_single": _mean(tally.loss),
        "cost_on_curve_ratio": _mean(tally.on_curve),
        "cost_at_2pct_loss_ratio": _mean(tally.ratio_2pct),
        "loss_at_2pct": _mean(tally.loss_2pct),
        "worst_lane_loss_at_2pct": _mean(tally.worst_lane),
    }


def _by_lane(tally: Tally) -> Row:
    """Return the columns of policies that keep every lane's quality."""
    row: Row = {}
    for name, found in (("", tally.by_lane), ("_sure", tally.by_lane_sure)):
        row[f"cost_at_2pct_lane_loss{name}_ratio"] = _mean([one.cost_ratio for one in found])
        row[f"loss_at_2pct_lane_loss{name}"] = _mean([one.loss for one in found])
        row[f"worst_lane_loss_at_2pct_lane_loss{name}"] = _mean([o.worst_lane_loss for o in found])
        row[f"lanes_over_2pct{name}_ratio"] = _mean([one.lanes_over_ratio for one in found])
    return row


def _decided(tally: Tally) -> Row:
    """Return the columns of whole decisions."""
    if not tally.decided:
        return {}
    return {
        "strong_share": _mean([one.strong for one in tally.decided]),
        "decided_cost_ratio": _mean([one.cost_ratio for one in tally.decided]),
        "decided_loss": _mean([one.loss for one in tally.decided]),
        "decided_worst_lane_loss": _mean([one.worst_lane_loss for one in tally.decided]),
    }


def pooled(name: str, found: Sequence[Tally]) -> Row:
    """Return the row of a method over all sets with prices: means over sets and splits."""
    row: Row = {
        "set": "all sets with prices",
        "kind": "fitted",
        "split": "random",
        "method": name,
        "n": len(found),
        "splits": min(len(one.ratio or one.decided) for one in found),
    }
    if found[0].decided:
        return {**row, **_decided(Tally(decided=[o for one in found for o in one.decided]))}
    return {
        **row,
        "cost_at_best_single_ratio": _over([one.ratio for one in found]),
        "loss_at_best_single": _over([one.loss for one in found]),
        "cost_on_curve_ratio": _over([one.on_curve for one in found]),
        "cost_of_all_ratio": sum(one.spent for one in found) / sum(one.spent_best for one in found),
        "strong_share": _over([one.strong for one in found]),
        "cost_at_2pct_loss_ratio": _over([one.ratio_2pct for one in found]),
        "loss_at_2pct": _over([one.loss_2pct for one in found]),
        **_by_lane(
            Tally(
                by_lane=[one for tally in found for one in tally.by_lane],
                by_lane_sure=[one for tally in found for one in tally.by_lane_sure],
            )
        ),
    }


def _over(found: Sequence[Sequence[float]]) -> float:
    """Return the mean over sets of the means over their splits."""
    return float(np.mean([float(np.mean(one)) for one in found]))


def _mean(values: list[float]) -> float | None:
    """Return the mean of what is known; ``None`` if nothing is."""
    known = [one for one in values if not np.isnan(one)]
    return float(np.mean(known)) if known else None


def _bounds(samples: Vector) -> tuple[float | None, float | None]:
    """Return the 2.5 % and 97.5 % quantiles."""
    known = samples[~np.isnan(samples)]
    if not len(known):
        return None, None
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)
