"""Scores out of fold: a ridge logistic regression fitted on the other documents of the same set."""

__all__ = ["FOLDS", "folds_of", "out_of_fold"]

import hashlib
import importlib
from collections.abc import Sequence
from typing import Any

FOLDS = 5
_RIDGE = 100.0
"""Strength of the pull to zero; chosen on aggrefact_cliff among 10, 30, 100, 300."""

_STEPS = 12


def folds_of(groups: Sequence[str], *, seed: int) -> list[int]:
    """Return each item's fold; a group is never split."""
    return [hashlib.sha256(f"{seed}/{group}".encode()).digest()[0] % FOLDS for group in groups]


def _numpy() -> Any:  # noqa: ANN401 - typed too loosely to help
    """Return NumPy, imported when it is used: it comes with the extra ``bench``."""
    return importlib.import_module("numpy")


def out_of_fold(
    rows: Sequence[Sequence[float]], labels: Sequence[int], folds: Sequence[int]
) -> list[float]:
    """Return each item's log-odds of being bad from a fit on the other folds.

    NaN counts as the mean of its column.
    """
    np = _numpy()

    x: Any = np.asarray(rows, dtype=float)
    y: Any = np.asarray(labels, dtype=float)
    fold: Any = np.asarray(folds)
    scores: Any = np.zeros(len(y))
    for number in range(FOLDS):
        test: Any = fold == number
        if test.any() and not test.all():
            scores[test] = _fitted(x[~test], y[~test], x[test])
    return [float(one) for one in scores]


def _fitted(x: Any, y: Any, other: Any) -> Any:  # noqa: ANN401 - numpy is imported late
    """Return the log-odds of ``other`` by a fit to ``x`` and ``y`` (Newton's method)."""
    np = _numpy()

    count: Any = np.maximum(1, (~np.isnan(x)).sum(axis=0))
    mean: Any = np.where(np.isnan(x), 0.0, x).sum(axis=0) / count
    filled: Any = np.where(np.isnan(x), mean, x)
    scale: Any = filled.std(axis=0) + 1e-9

    def design(values: Any) -> Any:  # noqa: ANN401 - as above
        plain = (np.where(np.isnan(values), mean, values) - mean) / scale
        return np.c_[np.ones(len(values)), np.clip(plain, -6, 6)]

    train: Any = design(x)
    pull: Any = np.diag([1e-6] + [_RIDGE] * x.shape[1])
    weights: Any = np.zeros(train.shape[1])
    for _ in range(_STEPS):
        p: Any = 1 / (1 + np.exp(-np.clip(train @ weights, -30, 30)))
        slope: Any = train.T @ (y - p) - pull @ weights
        curve: Any = (train * (p * (1 - p))[:, None]).T @ train + pull
        weights = weights + np.linalg.solve(curve, slope)
    return design(other) @ weights
