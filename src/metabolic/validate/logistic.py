"""A logistic model as plain arrays: standardised features, a weight each, an offset."""

__all__ = ["Logistic", "sigmoid"]

import math
from collections.abc import Sequence

from msgspec import Struct


class Logistic(Struct, frozen=True, kw_only=True):
    """P(1) = sigmoid(offset + Σ weight (x - mean) / scale), over ``names`` in order."""

    names: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    weights: tuple[float, ...]
    offset: float

    def logit(self, features: Sequence[float]) -> float:
        """Return the log-odds; ``features`` follow ``names``."""
        total = self.offset
        rows = zip(features, self.means, self.scales, self.weights, strict=True)
        for value, mean, scale, weight in rows:
            total += weight * (value - mean) / scale
        return total

    def p(self, features: Sequence[float]) -> float:
        """Return the probability, in (0, 1)."""
        return sigmoid(self.logit(features))


def sigmoid(logit: float) -> float:
    """Return 1 / (1 + exp(-logit)), without overflow."""
    if logit >= 0:
        return 1.0 / (1.0 + math.exp(-min(logit, 700.0)))
    grown = math.exp(max(logit, -700.0))
    return grown / (1.0 + grown)
