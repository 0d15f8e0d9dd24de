"""The routers that are compared: ours, and those that embarrass most published ones.

A method sees the training questions with outcomes and says, for the test questions, how likely
each model answers well. What it costs enters afterwards.
"""

__all__ = ["METHODS", "ONE_MODEL", "Method", "Subject", "shipped_chance", "subject_of"]

import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, cast

import numpy as np
import scipy.sparse as sp
from msgspec import Struct
from numpy.typing import NDArray

from metabolic.bench.router_lanes import Placed, by_lanes, placed
from metabolic.core.ports import Classifier
from metabolic.train.families import active_parameters
from metabolic.train.matrix import Prompts
from metabolic.train.outcomes import Outcomes
from metabolic.train.ridge import calibration, fit, idf_of, solve, vectors

Matrix = NDArray[np.float64]
Index = NDArray[np.int64]

_SHRINK = 10.0
"""Outcomes that the mean over all questions is worth to a domain."""

_TFIDF_LAMBDA = 10.0
"""Chosen like ours; with a library's default of 1 it is 0.04 APGR worse on MMLU."""

_TOKEN = re.compile(r"(?u)\b\w\w+\b")


class Subject(Struct, kw_only=True):
    """One set made ready: its outcomes, and what each method looks at.

    ``where`` is what the classifier makes of the questions. ``slope`` and ``said`` are kept: a
    calibration for all splits, and what heads said on a split.
    """

    outcomes: Outcomes
    prompts: Prompts
    words: Any
    where: Placed
    lengths: Matrix
    slope: dict[str, tuple[float, float]]
    said: dict[bytes, Matrix]


Method = Callable[[Subject, Index, Index], Matrix]


def subject_of(
    outcomes: Outcomes, prompts: Prompts, classifier: Classifier, *, labels: tuple[str, ...] = ()
) -> Subject:
    """Return a set ready for every method; ``labels`` are the task labels traffic comes with."""
    return Subject(
        outcomes=outcomes,
        prompts=prompts,
        words=_words(outcomes.questions),
        where=placed(outcomes, classifier, labels=labels),
        lengths=np.log1p([float(len(text)) for text in outcomes.questions]),
        slope={},
        said={},
    )


def _words(texts: tuple[str, ...]) -> Any:  # noqa: ANN401 - SciPy's matrices have no types
    """Return counts of all words and word pairs, as a library's vectoriser would."""
    vocabulary: dict[str, int] = {}
    rows: list[int] = []
    columns: list[int] = []
    for i, text in enumerate(texts):
        tokens = cast("list[str]", _TOKEN.findall(text.lower()))
        pairs = [f"{a} {b}" for a, b in pairwise(tokens)]
        for gram in tokens + pairs:
            rows.append(i)
            columns.append(vocabulary.setdefault(gram, len(vocabulary)))
    ones = np.ones(len(rows))
    made = cast("Any", sp).csr_matrix((ones, (rows, columns)), (len(texts), len(vocabulary)))
    made.sum_duplicates()
    return made


def _ours(subject: Subject, train: Index, test: Index) -> Matrix:
    """Heads on hashed grams and surface counts, with the length prior where it is unfamiliar."""
    key = train.tobytes() + test.tobytes()
    if key not in subject.said:
        subject.said[key] = _heads(subject, train, test, subject.prompts, "ours")
    return subject.said[key]


def _alone(subject: Subject, train: Index, test: Index) -> Matrix:
    """The same without the weights that ship."""
    prompts = subject.prompts
    bare = Prompts(grams=prompts.grams, surface=prompts.surface, base=prompts.base[:, :0])
    return _heads(subject, train, test, bare, "alone")


def _heads(subject: Subject, train: Index, test: Index, prompts: Prompts, name: str) -> Matrix:
    """Fit heads; the calibration is found once a set, on the first split's training part."""
    scores = subject.outcomes.scores
    rows = prompts.rows(train)
    if name not in subject.slope:
        some = train[: min(len(train), 1500)]
        subject.slope[name] = calibration(prompts.rows(some), scores[some])
    return fit(rows, scores[train], slopes=subject.slope[name]).predict(prompts.rows(test))


def _length(subject: Subject, train: Index, test: Index) -> Matrix:
    """Prompt length alone, longer is harder: a line for each model, never a rising one."""
    x, y = subject.lengths[train], subject.outcomes.scores[train]
    centred = x - x.mean()
    slopes = centred @ (y - y.mean(axis=0)) / max(1e-9, float(centred @ centred))
    order = np.argsort(-y.mean(axis=0))
    # The better a model, the less length may hurt it: for two models the rank is the length.
    ranked = np.minimum.accumulate(np.minimum(slopes[order], 0.0) - 1e-6 * np.arange(len(order)))
    kept = np.empty_like(slopes)
    kept[order] = ranked - 1e-6
    return np.asarray(y.mean(axis=0) + np.outer(subject.lengths[test] - x.mean(), kept))


def _tfidf(subject: Subject, train: Index, test: Index) -> Matrix:
    """Ridge regression on TF-IDF of words and word pairs, the usual strong baseline."""
    idf = idf_of(subject.words[train])
    weights, bias = solve(
        vectors(subject.words[train], idf), subject.outcomes.scores[train], _TFIDF_LAMBDA
    )
    return np.asarray(vectors(subject.words[test], idf) @ weights + bias)


def _domain(subject: Subject, train: Index, test: Index) -> Matrix:
    """The mean of the question's category, which a router is not told in life."""
    scores, names = subject.outcomes.scores, np.asarray(subject.outcomes.categories)
    overall = scores[train].mean(axis=0)
    made = np.tile(overall, (len(test), 1))
    for name in np.unique(names[test]):
        rows = train[names[train] == name]
        mean = (scores[rows].sum(axis=0) + _SHRINK * overall) / (len(rows) + _SHRINK)
        made[names[test] == name] = mean
    return made


def _lanes(subject: Subject, train: Index, test: Index) -> Matrix:
    """The gateway's table of lanes alone."""
    return by_lanes(subject.where, subject.outcomes, train, test)


def _lanes_and_heads(subject: Subject, train: Index, test: Index) -> Matrix:
    """The table and heads together, as the gateway puts them."""
    heads = _ours(subject, train, test)
    return by_lanes(subject.where, subject.outcomes, train, test, heads=heads)


METHODS: Mapping[str, Method] = {
    "ours": _ours,
    "ours without head start": _alone,
    "lane table": _lanes,
    "lane table + router": _lanes_and_heads,
    "prompt length": _length,
    "TF-IDF ridge": _tfidf,
    "domain mean": _domain,
}
"""The methods that learn. ``random``, ``best single`` and ``oracle`` need nothing to learn."""

ONE_MODEL = "best single"

_MEDIUM, _LARGE = 10e9, 100e9


def shipped_chance(subject: Subject, columns: tuple[str, ...], test: Index) -> Matrix | None:
    """Return what the shipped heads say of models known by name only; ``None`` without a size.

    Between the heads for medium and large models a model stands by the logarithm of its size.
    """
    sizes = [active_parameters(name) for name in subject.outcomes.models]
    if not {"size:medium", "size:large"} <= set(columns) or None in sizes:
        return None
    base = subject.prompts.base[test]
    medium, large = (base[:, columns.index(f"size:{one}")] for one in ("medium", "large"))
    known = np.array([size for size in sizes if size is not None])
    place = np.clip(np.log(known / _MEDIUM) / np.log(_LARGE / _MEDIUM), -0.5, 1.2)
    return np.asarray(medium[:, None] + (large - medium)[:, None] * place[None, :])
