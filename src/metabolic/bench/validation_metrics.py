"""How well scores tell bad from good, in plain arithmetic: higher scores mean worse."""

__all__ = ["accuracy_at", "auprc", "auroc", "balanced_at", "best_cut", "recall_at", "spread"]

from collections.abc import Sequence
from itertools import groupby
from math import sqrt

_Z = 1.959963984540054


def _ranked(scores: Sequence[float], labels: Sequence[int]) -> list[tuple[float, int, int]]:
    """Return (score, bad, good) from the highest score down, equal scores together."""
    rows = sorted(zip(scores, labels, strict=True), key=lambda row: -row[0])
    found: list[tuple[float, int, int]] = []
    for score, group in groupby(rows, key=lambda row: row[0]):
        seen = [label for _, label in group]
        found.append((score, sum(seen), len(seen) - sum(seen)))
    return found


def auroc(scores: Sequence[float], labels: Sequence[int]) -> float | None:
    """Return P(a bad one scores higher than a good one), ties as half; ``None`` without both."""
    bad, good = sum(labels), len(labels) - sum(labels)
    if not bad or not good:
        return None
    above = 0
    area = 0.0
    for _, here_bad, here_good in _ranked(scores, labels):
        area += here_good * (above + here_bad / 2)
        above += here_bad
    return area / (bad * good)


def spread(area: float, bad: int, good: int) -> tuple[float, float]:
    """Return the 95 % interval of an AUROC.

    Source: Hanley and McNeil, "The meaning and use of the area under a ROC curve", 1982.
    """
    one, two = area / (2 - area), 2 * area * area / (1 + area)
    variance = area * (1 - area) + (bad - 1) * (one - area**2) + (good - 1) * (two - area**2)
    half = _Z * sqrt(max(0.0, variance) / (bad * good))
    return max(0.0, area - half), min(1.0, area + half)


def auprc(scores: Sequence[float], labels: Sequence[int]) -> float | None:
    """Return the average precision; ``None`` without a bad one. Chance is the share of bad."""
    bad = sum(labels)
    if not bad:
        return None
    found = seen = 0
    area = 0.0
    for _, here_bad, here_good in _ranked(scores, labels):
        found += here_bad
        seen += here_bad + here_good
        area += here_bad / bad * found / seen
    return area


def recall_at(scores: Sequence[float], labels: Sequence[int], *, alarms: float) -> float | None:
    """Return the share of bad ones above the lowest cut with at most that share of false alarms."""
    bad, good = sum(labels), len(labels) - sum(labels)
    if not bad or not good:
        return None
    found = false = 0
    for _, here_bad, here_good in _ranked(scores, labels):
        if false + here_good > alarms * good:
            break
        found += here_bad
        false += here_good
    return found / bad


def best_cut(scores: Sequence[float], labels: Sequence[int]) -> float:
    """Return the cut of the highest balanced accuracy: at or above it is bad."""
    bad, good = max(1, sum(labels)), max(1, len(labels) - sum(labels))
    best, cut = 0.0, float("inf")
    found = false = 0
    for score, here_bad, here_good in _ranked(scores, labels):
        found += here_bad
        false += here_good
        if found / bad - false / good > best:
            best, cut = found / bad - false / good, score
    return cut


def balanced_at(said: Sequence[bool], labels: Sequence[int]) -> float | None:
    """Return the mean of the shares of bad and of good ones told; ``None`` without both."""
    bad, good = sum(labels), len(labels) - sum(labels)
    if not bad or not good:
        return None
    rows = list(zip(said, labels, strict=True))
    caught = sum(one for one, label in rows if label)
    spared = sum(not one for one, label in rows if not label)
    return (caught / bad + spared / good) / 2


def accuracy_at(said: Sequence[bool], labels: Sequence[int]) -> float:
    """Return the share told right."""
    return sum(one == bool(label) for one, label in zip(said, labels, strict=True)) / len(labels)
