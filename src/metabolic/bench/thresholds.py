"""Ways to choose a threshold: what one hopes, what one can prove, and what betting proves.

All walk the same grid from the strictest threshold to the loosest and stop at the first that
fails; they differ in what a threshold must pass.
"""

__all__ = ["METHODS", "binomial", "naive"]

from collections.abc import Mapping, Sequence
from math import exp, lgamma, log

from metabolic.decide.betting import refutes
from metabolic.decide.certificate import Refutes


def naive(losses: Sequence[float], *, epsilon: float, delta: float) -> bool:
    """Say whether the mean loss on these rows is at most ``epsilon``: no proof of anything."""
    del delta
    return sum(losses) <= epsilon * len(losses)


def binomial(losses: Sequence[float], *, epsilon: float, delta: float) -> bool:
    """Say whether the rows that lost are few enough: Clopper and Pearson's exact test.

    A row counts as lost when its loss is above 0; rows that gain do not count in favour.
    """
    lost = sum(one > 0 for one in losses)
    return _cdf(lost, len(losses), epsilon) <= delta


def _cdf(successes: int, n: int, p: float) -> float:
    """Return P(X <= successes) for X binomial."""
    return sum(
        exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) + k * log(p) + (n - k) * log(1 - p))
        for k in range(successes + 1)
    )


METHODS: Mapping[str, Refutes] = {"naive": naive, "binomial": binomial, "betting": refutes}
"""By the names the rows have."""
