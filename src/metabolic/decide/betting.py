"""Is a mean loss below a bound? A game that can only be won if it is.

Theory. Somebody claims that the mean of a loss in [-1, 1] is at least ``epsilon``. We bet against
the claim, row by row: with wealth ``K`` and a stake chosen before the row is seen,
``K (1 + stake (epsilon - loss))``. If the claim is true the wealth can only shrink on average,
whatever the stakes, so the chance that it ever reaches ``1 / delta`` is at most ``delta`` (Ville).
Reaching it refutes the claim. No assumption is made about the loss but its range, and that the
rows are exchangeable: shuffle them first.

The stakes aim at the target from where the wealth stands: to multiply ``K`` up to ``1 / delta`` in
the ``left`` rows that remain, with an estimate of the loss's variance from the rows before, the
stake is ``sqrt(2 log(1 / (delta K)) / (left variance))``. What is already won is not risked
further, and what is behind is caught up with, so far fewer rows do than with constant stakes.

Source: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS-B
2024 (the game); Voracek and Orabona, "STaR-Bets: sequential target-recalculating bets for tighter
confidence intervals", 2025 (the stakes).
"""

__all__ = ["labels_needed", "p_value", "refutes", "wealth"]

from collections.abc import Iterable, Sequence
from math import ceil, log, sqrt

_PRIOR_ROWS = 30.0
"""Rows the first guess of the variance is worth; any fixed number is valid."""

_MOST = 0.9
"""Most of the wealth that one row may lose; at 1 a single loss could end the game."""


def wealth(losses: Sequence[float], *, epsilon: float, delta: float) -> float:
    """Return the highest wealth reached betting that the mean loss is below ``epsilon``.

    ``losses`` are in [-1, 1], in an order that does not depend on their values.

    >>> wealth([0.0] * 60, epsilon=0.05, delta=0.1) >= 10
    True
    """
    target, most = 1 / delta, _MOST / (1 - epsilon)
    capital = best = 1.0
    total, squares, weight = 0.0, 0.0, _PRIOR_ROWS
    prior = 2 * epsilon * _PRIOR_ROWS
    left = len(losses)
    for loss in losses:
        spread = (
            squares if weight <= _PRIOR_ROWS else squares - total * total / (weight - _PRIOR_ROWS)
        )
        variance = (prior + max(spread, 0.0)) / weight
        stake = sqrt(2 * log(target / capital) / (left * variance))
        capital *= 1 + min(stake, most) * (epsilon - loss)
        if capital > best:
            best = capital
            if capital >= target:
                break
        total += loss
        squares += loss * loss
        weight += 1
        left -= 1
    return best


def refutes(losses: Sequence[float], *, epsilon: float, delta: float) -> bool:
    """Say whether the claim "the mean loss is at least epsilon" is refuted at level ``delta``."""
    return wealth(losses, epsilon=epsilon, delta=delta) * delta >= 1


def p_value(losses: Sequence[float], *, epsilon: float, delta: float) -> float:
    """Return a p-value for "the mean loss is at least epsilon"; stakes aim at ``delta``."""
    return min(1.0, 1 / wealth(losses, epsilon=epsilon, delta=delta))


def labels_needed(losses: Iterable[float], *, epsilon: float, delta: float) -> int | None:
    """Return about how many rows like these the test takes; ``None``: none are enough.

    At least as many as it takes without a single loss, which is exact; with losses
    ``1.2 log(1 / delta) variance / (epsilon - mean)^2``, where about half of all draws pass. The
    1.2 is from a simulation of three-valued losses (lab log); constant stakes would take 2.
    """
    known = tuple(losses)
    fewest = ceil(log(1 / delta) / log(1 + _MOST * epsilon / (1 - epsilon)))
    if not known:
        return fewest
    mean = sum(known) / len(known)
    if mean >= epsilon:
        return None
    variance = sum((one - mean) ** 2 for one in known) / len(known)
    return max(fewest, ceil(1.2 * log(1 / delta) * variance / (epsilon - mean) ** 2))
