"""A small boosted ensemble of trees as plain arrays, with its calibration; no library to run it."""

__all__ = ["Tree", "Trees"]

from collections.abc import Sequence

from msgspec import Struct

from metabolic.validate.logistic import sigmoid


class Tree(Struct, frozen=True, array_like=True):
    """One tree: node ``i`` sends ``x[feature] <= threshold`` to ``left[i]``, else to ``right[i]``.

    A leaf has feature -1 and its value as threshold; ``missing`` is 1 where NaN goes left.
    """

    feature: tuple[int, ...]
    threshold: tuple[float, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    missing: tuple[int, ...]

    def value(self, row: Sequence[float]) -> float:
        """Return the value of the leaf a row falls into."""
        node = 0
        while (feature := self.feature[node]) >= 0:
            given = row[feature]
            goes_left = self.missing[node] if given != given else given <= self.threshold[node]  # noqa: PLR0124 - NaN
            node = self.left[node] if goes_left else self.right[node]
        return self.threshold[node]


class Trees(Struct, frozen=True, kw_only=True):
    """P(acceptable) = sigmoid(slope * (base + Σ trees) + offset), over ``names`` in order."""

    names: tuple[str, ...]
    base: float
    trees: tuple[Tree, ...]
    slope: float = 1.0
    offset: float = 0.0

    def raw(self, row: Sequence[float]) -> float:
        """Return the log-odds before calibration."""
        return self.base + sum([tree.value(row) for tree in self.trees])

    def p(self, row: Sequence[float]) -> float:
        """Return the calibrated probability, in (0, 1)."""
        return sigmoid(self.slope * self.raw(row) + self.offset)
