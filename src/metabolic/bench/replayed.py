"""``metabolic bench cascade --replay FOLDER``: policies on tables of stored answers."""

__all__ = ["SPLITS", "run"]

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from metabolic.bench.material import Material, material
from metabolic.bench.report import Missing, Report, Row, interval, progress, report
from metabolic.bench.routed import Half, Outcome, apgr, halves, outcomes
from metabolic.bench.scorer import Array, area
from metabolic.bench.tables import Table, tables

SPLITS = 6
"""How often each set is split anew."""

_QUICK_SPLITS, _QUICK_SETS = 1, 2
_MAX_LOSS = 0.02
_RATIO = 4.0
_NEVER_FITTED = ("routerarena",)
_GOOD = 0.5
_NOTES = (
    "half of the questions teach and choose, the other half is reported; means over splits",
    f"thresholds are the cheapest that lose at most {_MAX_LOSS:g} on the choosing half, unproved",
    f"where a set has no prices the large model costs {_RATIO:g} small ones",
    "small and large are the cheapest and the dearest model; agreement asks the two cheapest",
    "routing_accuracy: good drafts kept and bad ones escalated, the cut chosen on the other half",
    "majority_ratio: the same by always doing the commoner of the two",
    "auroc: does the answer's score tell right from wrong; apgr: routing by it, random is 0.5",
)


def run(data: Path, *, seed: int, quick: bool, splits: int = SPLITS) -> Report:
    """Fold every policy over every set and report.

    Raises:
        ConfigError: there is no table of answers, or no way to read one.
    """
    began_s = time.perf_counter()
    found, small = tables(data)
    missing = [
        Missing(figure=one, why="stored answers have no such measurement")
        for one in ("cpu_s", "energy_j", "latency_p50_s", "latency_p95_s")
    ]
    missing += [Missing(figure="rows", why=why) for why in small]
    wanted = sorted(found, key=lambda one: len(one.rows) * len(one.models))
    wanted = wanted[:_QUICK_SETS] if quick else sorted(found, key=lambda one: one.name)
    rows: list[Row] = []
    for table in wanted:
        if table.name.startswith(_NEVER_FITTED):
            why = f"{table.name}: for evaluation only by its policy: nothing is fitted on it"
            missing.append(Missing(figure="rows", why=why))
            continue
        progress(f"{table.name}: {len(table.rows)} questions, {len(table.models)} models")
        with threadpool_limits(limits=1):
            made = material(table, () if quick else found)
            rows += _set(table, made, seed=seed, splits=_QUICK_SPLITS if quick else splits)
        if not made.has_text:
            why = f"{table.name}: validator, agreement, both: the answers are not stored"
            missing.append(Missing(figure="rows", why=why))
    return report(
        "cascade",
        seed=seed,
        seconds=time.perf_counter() - began_s,
        quick=quick,
        notes=_NOTES,
        rows=rows,
        missing=missing,
    )


def _set(table: Table, made: Material, *, seed: int, splits: int) -> list[Row]:
    """Return one set's rows, each policy's mean over splits."""
    seen: dict[str, list[Outcome]] = {}
    ranks: dict[str, list[float]] = {}
    half: Half | None = None
    for number in range(splits):
        half = halves(made, seed=seed * 1000 + number)
        for name, one in outcomes(table, made, half, ratio=_RATIO, max_loss=_MAX_LOSS):
            seen.setdefault(name, []).append(one)
        for name, value in _ranked(made, half).items():
            ranks.setdefault(name, []).append(value)
    count = 0 if half is None else len(half.report)
    mean = {name: sum(values) / len(values) for name, values in ranks.items()}
    large = _mean(seen["always-large"])
    return [
        _row(name, _mean(ones), large, table=table, made=made, ranks=mean, count=count)
        for name, ones in seen.items()
    ]


def _ranked(made: Material, half: Half) -> dict[str, float]:
    """Return how well scores rank the reported half, threshold-free."""
    at = list(half.report)
    weak, strong = made.good[at], made.reference[at]
    found = {
        "auroc": area(weak >= _GOOD, half.draft[at]),
        "router": apgr(half.gain[at], weak, strong),
        "validator": apgr(-half.draft[at], weak, strong),
        "both": apgr(-half.safe[at], weak, strong),
        "oracle": apgr(strong - weak, weak, strong),
    }
    if made.has_text:
        found["routed"] = _routed(half.draft, made.good >= _GOOD, half)
        found["majority"] = max(float((weak >= _GOOD).mean()), float((weak < _GOOD).mean()))
    return {name: value for name, value in found.items() if value is not None}


def _routed(scores: Array, good: Array, half: Half) -> float:
    """Return the share routed right: good drafts kept, bad ones escalated.

    The cut is the one with the highest share on the choosing half.
    """
    choose, report = list(half.choose), list(half.report)
    cuts = np.unique(np.append(scores[choose], np.inf))
    shares = [float(((scores[choose] >= cut) == good[choose]).mean()) for cut in cuts]
    cut = cuts[int(np.argmax(shares))]
    return float(((scores[report] >= cut) == good[report]).mean())


def _mean(ones: Sequence[Outcome]) -> Outcome:
    """Return the mean over splits."""
    return Outcome(
        accuracy=sum(one.accuracy for one in ones) / len(ones),
        usd=sum(one.usd for one in ones) / len(ones),
        strong=sum(one.strong for one in ones) / len(ones),
    )


def _row(  # noqa: PLR0913 - a line of the table is made of all of these
    name: str,
    one: Outcome,
    large: Outcome,
    *,
    table: Table,
    made: Material,
    ranks: dict[str, float],
    count: int,
) -> Row:
    """Return one policy on one set; the interval is that of one split's questions."""
    share = interval(one.accuracy * count, count)
    priced = made.cheap in table.usd and made.dear in table.usd
    kind = name.removesuffix("-only")
    return {
        "policy": name,
        "set": table.name,
        "n": count,
        "accuracy": share.value,
        "accuracy_low": share.low,
        "accuracy_high": share.high,
        "accuracy_gap": one.accuracy - large.accuracy,
        "cpu_s": None,
        "energy_j": None,
        "net_cost_ratio": one.usd / large.usd if large.usd else None,
        "latency_p50_s": None,
        "latency_p95_s": None,
        "strong_share": one.strong,
        "cost_usd": one.usd * count if priced else None,
        "auroc": ranks.get("auroc") if name == "validator-only" else None,
        "apgr": ranks.get(kind),
        "routing_accuracy": ranks.get("routed") if name == "validator-only" else None,
        "majority_ratio": ranks.get("majority") if name == "validator-only" else None,
        "small": made.cheap,
        "large": made.dear,
    }
