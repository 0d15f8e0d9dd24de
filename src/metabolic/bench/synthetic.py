"""Draws from a truth that is known, to count how often a certificate is wrong."""

__all__ = ["EPSILON", "exceeded"]

import random
from collections.abc import Mapping

from metabolic.decide.certificate import Pair, Refutes, Subject, certify

EPSILON = 0.05

_GRID = (0.8, 0.6, 0.4, 0.2)
_ROWS = 300
_GAIN = 0.02
"""Chance that a draft beats the reference; the rest of the loss depends on the threshold."""

_LOSSES = (0.02, 0.035, 0.05 + 1e-6, 0.065)
"""True loss at each threshold of the grid: the third is just above what may be lost, where a
test is most easily wrong; passing it, or any looser one, is a violation."""

_SUBJECT = Subject(
    lane="synthetic", deployment="cheap", reference="dear", labeller="exact_match", score="uniform"
)


def exceeded(
    tests: Mapping[str, Refutes], *, delta: float, draws: int, seed: int
) -> dict[str, int]:
    """Return, by test, in how many of ``draws`` the loosest certified threshold loses too much.

    All tests see the same draws.
    """
    lot = random.Random(seed)
    bands = _bands()
    wrong = dict.fromkeys(tests, 0)
    for _ in range(draws):
        rows = [_row(lot, bands) for _ in range(_ROWS)]
        for name, test in tests.items():
            made = certify(rows, _SUBJECT, epsilon=EPSILON, delta=delta, grid=_GRID, test=test)
            if made.thresholds:
                at = _GRID.index(made.thresholds[-1].min_confidence)
                wrong[name] += _LOSSES[at] > EPSILON
    return wrong


def _bands() -> tuple[float, ...]:
    """Return P(loss) for scores in each band of the grid, from the true losses at its edges.

    Scores are uniform, so a band of width 0.2 adds ``0.2 (P(loss) - gain)`` to the loss.
    """
    made: list[float] = []
    before = 0.0
    for loss in _LOSSES:
        made.append((loss - before) / 0.2 + _GAIN)
        before = loss
    return tuple(made)


def _row(lot: random.Random, bands: tuple[float, ...]) -> Pair:
    """Return one labelled draft."""
    sure, luck = lot.random(), lot.random()
    band = min(int((1 - sure) / 0.2), len(bands) - 1)
    loss = 1.0 if luck < bands[band] else -1.0 if luck > 1 - _GAIN else 0.0
    return Pair(confidence=sure, loss=loss)
