"""A scorer of drafts learned on labelled rows of one lane: how safe is it to keep this one?

A few small learners over the figures of ``signals`` and over hashed words, averaged with weights
that are the same for every set: trees and a line for P(draft is good), a line for P(the reference
is good), since a draft on which both fail may as well be kept. Other models' graded answers to the
same questions can teach the trees what a wrong answer looks like (``Lessons``).

Fitted on the rows it is given and on nothing else. For the benches; needs the extra ``bench``.
"""

__all__ = ["Lessons", "Scorer", "area", "matrix", "words"]

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from msgspec import Struct
from sklearn import metrics
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

Array = Any
"""A NumPy array or a SciPy sparse matrix; neither library is typed well enough to say more."""

_Trees, _Line, _Scaler = (
    cast("Any", one) for one in (ExtraTreesClassifier, LogisticRegression, StandardScaler)
)
_area = cast("Any", metrics).roc_auc_score

_CLIP = (-20.0, 3000.0)
_LESSON_WEIGHT = 0.2
_PARTS = 7.0
_REFERENCE_WEIGHT = 3.0 / 7.0


class Lessons(Struct, frozen=True, kw_only=True):
    """Graded answers of other models: their figures, and whether each was good."""

    figures: Array
    good: Array
    words: Array


def words(texts: Sequence[str]) -> Array:
    """Return texts as hashed counts of words and pairs of words."""
    hashing = HashingVectorizer(ngram_range=(1, 2), n_features=2**16, alternate_sign=False)
    return cast("Any", hashing.transform(list(texts)))


def matrix(rows: Sequence[Sequence[float]]) -> Array:
    """Return rows of figures as an array, without outliers that a line would follow."""
    return np.clip(np.asarray(rows, dtype=float), *_CLIP)


class Scorer:
    """Learned on one part of a lane's rows; scores any others."""

    def __init__(self, *, seed: int = 0) -> None:
        """Start empty; ``seed`` draws the trees."""
        self._seed = seed
        self._scale = _Scaler()
        self._draft: list[tuple[float, str, Any]] = []
        self._reference: list[tuple[float, str, Any]] = []

    def fit(
        self,
        figures: Array | None,
        asked: Array,
        good: Array,
        reference: Array,
        lessons: Lessons | None,
    ) -> "Scorer":
        """Learn from rows: figures, hashed questions, was the draft good, was the reference.

        Labels are 0 or 1. With ``lessons`` other models' answers count a fifth of a row's own.
        Without figures (``None``) only ``gain`` can be asked.
        """
        if figures is None:
            self._draft = [(1.0, "words", _words(asked, good))]
            self._reference = [(1.0, "words", _words(asked, reference))]
            return self
        pooled, labels, weights = figures, good, np.ones(len(good))
        if lessons is not None:
            pooled = np.vstack([lessons.figures, figures])
            labels = np.concatenate([lessons.good, good])
            few = np.full(len(lessons.good), _LESSON_WEIGHT)
            weights = np.concatenate([few, weights])
        self._scale.fit(pooled)
        self._draft = [
            (1.0, "scaled", _line(self._scale.transform(pooled), labels, weights)),
            (1.0, "plain", self._trees(figures, good, None, leaf=3)),
            (2.0, "plain", self._trees(pooled, labels, weights, leaf=5)),
            (1.0, "words", _words(asked, good)),
        ]
        hard = (asked, good) if lessons is None else (lessons.words, lessons.good)
        self._draft.append((2.0, "words", _words(*hard)))
        self._reference = [
            (0.5, "scaled", _line(self._scale.transform(figures), reference, None)),
            (0.5, "words", _words(asked, reference)),
        ]
        return self

    def draft(self, figures: Array, asked: Array) -> Array:
        """Return about P(the draft is good), by the answer and the question."""
        return self._mean(self._draft, figures, asked) / _PARTS

    def safe(self, figures: Array, asked: Array) -> Array:
        """Return how safe it is to keep each draft, in (0, 1): higher is safer.

        The draft's chance to be good, less what the reference would gain; squeezed, no probability.
        """
        reference = self._mean(self._reference, figures, asked)
        margin = self.draft(figures, asked) - _REFERENCE_WEIGHT * reference
        return 1 / (1 + np.exp(1 - 4 * margin))

    def gain(self, asked: Array) -> Array:
        """Return what the reference is expected to gain, by the question alone: a router."""
        drafts = [one for one in self._draft if one[1] == "words"]
        reference = [one for one in self._reference if one[1] == "words"]
        return self._mean(reference, None, asked) / sum(one[0] for one in reference) - (
            self._mean(drafts, None, asked) / sum(one[0] for one in drafts)
        )

    def _mean(self, parts: Sequence[tuple[float, str, Any]], figures: Array, asked: Array) -> Array:
        """Return the weighted sum of what learners say."""
        inputs: dict[str, Array] = {"plain": figures, "words": asked}
        if figures is not None:
            inputs["scaled"] = self._scale.transform(figures)
        return sum(weight * _chance(part, inputs[kind]) for weight, kind, part in parts)

    def _trees(self, figures: Array, good: Array, weights: Array | None, *, leaf: int) -> Any:  # noqa: ANN401 - a learner of scikit-learn
        """Return trees, drawn by the seed."""
        if len(set(good.tolist())) < 2:  # noqa: PLR2004 - all alike: nothing to learn
            return float(good[0])
        made = _Trees(
            60, min_samples_leaf=leaf, max_features=0.3, n_jobs=1, random_state=self._seed
        )
        return made.fit(figures, good, sample_weight=weights)


def _line(figures: Array, good: Array, weights: Array | None) -> Any:  # noqa: ANN401 - as above
    """Return a logistic line over scaled figures."""
    if len(set(good.tolist())) < 2:  # noqa: PLR2004 - as above
        return float(good[0])
    return _Line(C=0.02, max_iter=500).fit(figures, good, sample_weight=weights)


def _words(asked: Array, good: Array) -> Any:  # noqa: ANN401 - as above
    """Return a logistic line over hashed words."""
    if len(set(good.tolist())) < 2:  # noqa: PLR2004 - as above
        return float(good[0])
    return _Line(C=1.0, max_iter=300, solver="liblinear").fit(asked, good)


def _chance(part: Any, inputs: Array) -> Array:  # noqa: ANN401 - as above
    """Return P(good) by one learner; a constant where there was nothing to learn."""
    if isinstance(part, float):
        return np.full(inputs.shape[0], part)
    return part.predict_proba(inputs)[:, 1]


def area(good: Array, score: Array) -> float | None:
    """Return how well a score tells good from bad (AUROC); ``None`` if all are alike."""
    if len(set(good.tolist())) < 2:  # noqa: PLR2004 - as above
        return None
    return float(_area(good, score))
