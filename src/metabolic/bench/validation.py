"""``metabolic bench validation``: do the validators tell bad answers from good, set by set.

Never pooled: a set is a kind of text, and what works on one is at chance on another. ``ours`` is a
logistic regression on the validators' signals, fitted on the other four folds of the same set
(folds split by document): what a lane with labels gets. ``ours_shipped`` is the shipped score,
which has seen none of these labels. Cuts are chosen on other folds than those they are told on.
"""

__all__ = ["Options", "run"]

import asyncio
import random
import time
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from metabolic.bench.report import Figure, Missing, Report, Row, interval, progress, report
from metabolic.bench.validation_fit import FOLDS, folds_of, out_of_fold
from metabolic.bench.validation_metrics import (
    accuracy_at,
    auprc,
    auroc,
    balanced_at,
    best_cut,
    recall_at,
    spread,
)
from metabolic.bench.validation_read import Read, Readers, overlap
from metabolic.bench.validation_sets import Item, corrupted, labelled_sets

_LIMIT = 3000
_QUICK = 150
_ALARMS = 0.05
_DRAWS = 5
_PAPER_ROUTING = 0.857
_PAPER_CAUGHT = 0.667


class Options(Struct, frozen=True, kw_only=True):
    """What to measure: the folder of labelled sets, most items of each, the seed."""

    data: Path
    items: int = _LIMIT
    seed: int = 0
    quick: bool = False


def run(options: Options) -> Report:
    """Measure every set of a folder and report.

    Raises:
        ConfigError: the folder has no labelled set, or the extra ``bench`` is missing.
    """
    began_s = time.perf_counter()
    limit = _QUICK if options.quick else options.items
    sets = labelled_sets(options.data, limit=limit, seed=options.seed)
    readers = Readers()
    rows: list[Row] = []
    numeric: dict[str, tuple[int, int, int]] = {}
    for name, items in sets.items():
        progress(f"{name}: {len(items)}")
        rows.extend(_rows(name, items, readers, options.seed))
        if items[0].context:
            found = _numbers(items, readers, options.seed)
            if found[0]:
                numeric[name] = found
                rows.append(_numeric_row(name, *found))
    figures, missing = _figures(readers, numeric)
    return report(
        "validation",
        seed=options.seed,
        seconds=time.perf_counter() - began_s,
        quick=options.quick,
        notes=_notes(),
        figures=figures,
        rows=rows,
        missing=missing,
    )


def _rows(name: str, items: list[Item], readers: Readers, seed: int) -> list[Row]:
    """Return one row for each method on one set."""
    labels = [one.bad for one in items]
    folds = folds_of([one.group for one in items], seed=seed)
    reads: list[Read] = asyncio.run(readers.read(items))
    lot = random.Random(seed)
    methods: dict[str, list[float]] = {
        "ours": out_of_fold([one.features for one in reads], labels, folds),
        "ours_shipped": [-1.0 if one.p is None else -one.p for one in reads],
        "lexical_overlap": [-overlap(one) for one in items],
        "length": out_of_fold([(float(len(one.response)),) for one in items], labels, folds),
        "chance": [lot.random() for _ in items],
    }
    return [_row(name, how, scores, labels, folds) for how, scores in methods.items()]


def _row(
    name: str, how: str, scores: list[float], labels: list[int], folds: list[int]
) -> dict[str, float | int | str | bool | None]:
    """Return one method's figures on one set."""
    area = auroc(scores, labels)
    bad = sum(labels)
    low, high = (None, None) if area is None else spread(area, bad, len(labels) - bad)
    said = _said(scores, labels, folds)
    told = interval(accuracy_at(said, labels) * len(labels), len(labels))
    return {
        "set": name,
        "method": how,
        "n": len(labels),
        "bad_ratio": bad / len(labels),
        "auroc": area,
        "auroc_low": low,
        "auroc_high": high,
        "auprc": auprc(scores, labels),
        "balanced_accuracy": balanced_at(said, labels),
        "recall_at_5pct_fpr": recall_at(scores, labels, alarms=_ALARMS),
        "routing_accuracy": told.value,
        "routing_accuracy_low": told.low,
        "routing_accuracy_high": told.high,
        "majority_ratio": max(bad, len(labels) - bad) / len(labels),
        "paper_ratio": _PAPER_ROUTING if how == "ours" else None,
        "tells": None if low is None or area is None else low > 0.5,  # noqa: PLR2004 - chance
    }


def _said(scores: Sequence[float], labels: Sequence[int], folds: Sequence[int]) -> list[bool]:
    """Return whether each is called bad, by the cut that is best on the other folds."""
    cuts: list[float] = []
    for fold in range(FOLDS):
        rest = [at for at, one in enumerate(folds) if one != fold]
        cuts.append(best_cut([scores[at] for at in rest], [labels[at] for at in rest]))
    return [score >= cuts[fold] for score, fold in zip(scores, folds, strict=True)]


def _numbers(items: list[Item], readers: Readers, seed: int) -> tuple[int, int, int]:
    """Return supported texts with a number, false alarms on them, and wrong numbers caught.

    Each text is made wrong ``_DRAWS`` times; the caught are over all of these.
    """
    caught = 0
    pairs: list[tuple[Item, Item]] = []
    for draw in range(_DRAWS):
        pairs = corrupted(items, seed=seed + 1 + draw)
        wrong = asyncio.run(readers.read([other for _, other in pairs]))
        caught += sum(one.number for one in wrong)
    right = asyncio.run(readers.read([one for one, _ in pairs]))
    return len(pairs), sum(one.number for one in right), caught


def _numeric_row(name: str, count: int, alarms: int, caught: int) -> Row:
    """Return what was made of numbers: each text once as it is and once with a wrong number."""
    share, false = interval(caught / _DRAWS, count), interval(alarms, count)
    return {
        "set": f"{name}_numeric",
        "method": "ours_shipped",
        "n": count,
        "auroc": (1 + share.value - false.value) / 2,
        "balanced_accuracy": (1 + share.value - false.value) / 2,
        "false_alarms": alarms,
        "false_alarm_ratio": false.value,
        "false_alarm_high": false.high,
        "caught_ratio": share.value,
        "caught_low": share.low,
        "caught_high": share.high,
        "paper_ratio": _PAPER_CAUGHT,
    }


def _figures(
    readers: Readers, numeric: dict[str, tuple[int, int, int]]
) -> tuple[dict[str, Figure], list[Missing]]:
    """Return the single figures, and those that could not be had."""
    figures: dict[str, Figure] = {}
    missing: list[Missing] = []
    if readers.claims and readers.cpu_s > 0:
        figures["claims_per_s"] = Figure(
            value=readers.claims / readers.cpu_s,
            unit="1/s",
            n=readers.claims,
            unit_note="CPU seconds, index of the context included",
        )
    else:
        missing.append(Missing(figure="claims_per_s", why="no set has a context"))
    if "qags_cnndm" in numeric:
        count, alarms, caught = numeric["qags_cnndm"]
        for name, part in (
            ("numeric_caught_ratio", caught / _DRAWS),
            ("numeric_false_alarm_ratio", float(alarms)),
        ):
            share = interval(part, count)
            figures[name] = Figure(
                value=share.value,
                unit="ratio",
                n=count,
                low=share.low,
                high=share.high,
                unit_note="qags_cnndm",
            )
    else:
        missing.extend(
            Missing(figure=name, why="qags_cnndm is not in the folder, or has no numbers")
            for name in ("numeric_caught_ratio", "numeric_false_alarm_ratio")
        )
    return figures, missing


def _notes() -> list[str]:
    """Return what to mind when reading the rows."""
    return [
        "ours is fitted out of fold on the same set, by document; ours_shipped has seen no label",
        "lexical evidence is at chance where `tells` of ours_shipped is false",
        "refchecker_*, factool_kbqa_claims: their context is the answer the claim was taken from",
        "sets without a context are scored by their text (and log-probabilities) alone",
        "*_numeric: supported texts as they are (false alarms) and with one number made wrong",
    ]
