"""Heads fitted to outcomes: ridge regression on grams and surface counts, all models at once.

Theory. The head of model ``m`` minimises ``sum((y - p)^2) + LAMBDA |w|^2`` over the training
prompts; gram vectors have length one, surface counts are standardised and weighed so that all of
them together have about length one as well. Heads share the matrix, so conjugate gradients solve
them together, and a difference of heads is the head of the difference: what a router ranks by.

Far from the training prompts a head knows little. There the oldest prior of routing takes over,
that a longer prompt is harder for the smaller model: a head is lowered by
``weight x spread x z``, where ``z`` is the standardised log length, ``spread`` the standard
deviation of the head's difference from the best model's, and ``weight`` rises with the novelty
(``PRIOR_SLOPE`` a standard deviation, at most ``PRIOR_MOST``).

All constants were chosen on RouteLLM's MMLU and GSM8K answers with seeds that are not reported.
"""

__all__ = [
    "BASE_WEIGHT",
    "LAMBDA",
    "PRIOR_MOST",
    "PRIOR_SLOPE",
    "SURFACE_WEIGHT",
    "Fitted",
    "calibration",
    "fit",
    "frame",
    "idf_of",
    "solve",
    "stack",
    "vectors",
]

from typing import Any, cast

import numpy as np
import scipy.sparse as sp
from msgspec import Struct
from numpy.typing import NDArray

from metabolic.train.matrix import Matrix, Prompts

LAMBDA = 10.0
PRIOR_SLOPE = 0.7
PRIOR_MOST = 0.7
SURFACE_WEIGHT = 0.7
"""Length of the vector of surface counts beside that of grams, which is one."""

BASE_WEIGHT = 0.5
"""Weight of each head of the shipped weights, where a fit starts from them."""

_MIN_COUNT = 2
_FAR = 3.0
_LEAST_SPREAD = 1e-3
_KNOWN_SHARE = 1 / 2500
_ROUNDS = 60
_ENOUGH = 1e-6
_FOLDS = 3


class Fitted(Struct, frozen=True, kw_only=True):
    """Heads of some models: weights by gram and by surface count, one column a model.

    ``slopes`` are the calibration found on held-out folds. The first multiplies what all heads say
    of a prompt (their mean's distance from its average), the second what each says beyond that:
    how hard a prompt is can be told far better than who copes with it.
    """

    idf: Matrix
    known: NDArray[np.bool_]
    centre: Matrix
    spread: Matrix
    weights: Matrix
    bias: Matrix
    mean: Matrix
    gap: Matrix
    slopes: tuple[float, float]
    novelty_mean: float
    novelty_spread: float

    def raw(self, prompts: Prompts) -> Matrix:
        """Return the heads' values, calibrated, before prior and cut."""
        values = stack(self, prompts) @ self.weights + self.bias
        return np.asarray(self.mean + _calibrated(values - self.mean, self.slopes))

    def novelty(self, prompts: Prompts) -> Matrix:
        """Return how unlike the training each prompt is, in standard deviations."""
        return (_unknown(prompts.grams, self.known) - self.novelty_mean) / self.novelty_spread

    def predict(self, prompts: Prompts) -> Matrix:
        """Return P(correct) of every prompt (row) and model (column)."""
        weight = np.clip(PRIOR_SLOPE * self.novelty(prompts), 0.0, PRIOR_MOST)
        z = _standard(self, prompts)[:, 0]
        return np.asarray(self.raw(prompts) - np.outer(weight * z, self.gap))


def fit(
    prompts: Prompts,
    scores: Matrix,
    *,
    lam: float = LAMBDA,
    slopes: tuple[float, float] | None = None,
) -> Fitted:
    """Return heads fitted to ``scores`` (prompts by models).

    They are calibrated on held-out folds, unless the ``slopes`` are known already.
    """
    if slopes is None:
        slopes = calibration(prompts, scores, lam=lam)
    return _fit(prompts, scores, lam=lam, slopes=slopes)


def frame(prompts: Prompts, models: int) -> Fitted:
    """Return what heads of so many models share, before any is fitted."""
    many = prompts.grams.shape[0]
    counts = np.asarray(prompts.grams.sum(axis=0)).ravel()
    enough = max(_MIN_COUNT, many * _KNOWN_SHARE)
    # A training prompt knows its own grams: they are left out, as for a new one.
    unknown = _unknown(prompts.grams, counts > enough)
    both = np.hstack([prompts.surface, prompts.base])
    return Fitted(
        idf=idf_of(prompts.grams),
        known=counts >= enough,
        centre=both.mean(axis=0),
        spread=both.std(axis=0) + _LEAST_SPREAD,
        weights=np.zeros((prompts.grams.shape[1] + both.shape[1], models)),
        bias=np.zeros(models),
        mean=np.zeros(models),
        gap=np.zeros(models),
        slopes=(1.0, 1.0),
        novelty_mean=float(unknown.mean()),
        novelty_spread=float(unknown.std()) + 1e-3,
    )


def _fit(prompts: Prompts, scores: Matrix, *, lam: float, slopes: tuple[float, float]) -> Fitted:
    """Fit once, with the calibration given."""
    made = frame(prompts, scores.shape[1])
    x = stack(made, prompts)
    weights, bias = solve(x, scores, lam)
    mean = scores.mean(axis=0)
    values = np.asarray(x @ weights) + bias - mean
    values = _calibrated(values, slopes)
    gap = (values - values[:, [int(np.argmax(mean))]]).std(axis=0)
    fields = {name: getattr(made, name) for name in made.__struct_fields__}
    fields |= {"weights": weights, "bias": bias, "mean": mean, "gap": gap, "slopes": slopes}
    return Fitted(**fields)


def calibration(
    prompts: Prompts, scores: Matrix, *, lam: float = LAMBDA, seed: int = 0
) -> tuple[float, float]:
    """Return the slopes of outcomes on held-out predictions, each in [0.1, 1.5].

    Common is the mean over the heads, apart what a head says beyond it. A floor of 0.1 keeps the
    order where nothing could be told.
    """
    many = prompts.grams.shape[0]
    fold = np.random.default_rng(seed).permutation(many) % _FOLDS
    top, bottom = np.zeros(2), np.zeros(2)
    for one in range(_FOLDS):
        inside, outside = np.where(fold != one)[0], np.where(fold == one)[0]
        if not len(inside) or not len(outside):
            return 1.0, 1.0
        made = _fit(prompts.rows(inside), scores[inside], lam=lam, slopes=(1.0, 1.0))
        said = _parts(made.raw(prompts.rows(outside)) - made.mean)
        true = _parts(scores[outside] - made.mean)
        for part in range(2):
            top[part] += (said[part] * true[part]).sum()
            bottom[part] += (said[part] ** 2).sum()
    common, apart = np.clip(top / np.maximum(bottom, 1e-12), 0.1, 1.5).tolist()
    return common, apart


def _parts(values: Matrix) -> tuple[Matrix, Matrix]:
    """Return what is common to all heads, and what each says beyond it."""
    common = values.mean(axis=1, keepdims=True)
    return common, values - common


def _calibrated(values: Matrix, slopes: tuple[float, float]) -> Matrix:
    """Return values with their two parts scaled."""
    common, apart = _parts(values)
    return np.asarray(slopes[0] * common + slopes[1] * apart)


def idf_of(grams: Any) -> Matrix:  # noqa: ANN401 - SciPy's matrices have no types
    """Return the inverse document frequency of every gram; 0 for those seen once."""
    counts = np.asarray((grams > 0).sum(axis=0)).ravel()
    values = np.log((1 + grams.shape[0]) / (1 + counts)) + 1
    values[counts < _MIN_COUNT] = 0.0
    return np.asarray(values)


def vectors(grams: Any, idf: Matrix) -> Any:  # noqa: ANN401 - as above
    """Return gram vectors weighed by ``idf`` and scaled to length one."""
    weighed = grams @ sp.diags(idf)
    lengths = np.sqrt(np.asarray(weighed.multiply(weighed).sum(axis=1)).ravel())
    lengths[lengths == 0] = 1.0
    return sp.diags(1 / lengths) @ weighed


def _standard(made: Fitted, prompts: Prompts) -> Matrix:
    """Return surface counts and base values standardised."""
    both = np.hstack([prompts.surface, prompts.base])
    return np.clip((both - made.centre) / made.spread, -_FAR, _FAR)


def stack(made: Fitted, prompts: Prompts) -> Any:  # noqa: ANN401 - as above
    """Return gram vectors, surface counts and base values side by side."""
    counts = _standard(made, prompts)
    size = prompts.surface.shape[1]
    counts[:, :size] *= SURFACE_WEIGHT / np.sqrt(size)
    counts[:, size:] *= BASE_WEIGHT
    parts: list[Any] = [vectors(prompts.grams, made.idf), sp.csr_matrix(counts)]
    return cast("Any", sp).hstack(parts).tocsr()


def _unknown(grams: Any, known: NDArray[np.bool_]) -> Matrix:  # noqa: ANN401 - as above
    """Return the share of each prompt's grams that are not known."""
    total = np.maximum(1.0, np.asarray(grams.sum(axis=1)).ravel())
    return 1.0 - np.asarray(grams @ known.astype(np.float64)).ravel() / total


def solve(x: Any, y: Matrix, lam: float) -> tuple[Matrix, Matrix]:  # noqa: ANN401 - as above
    """Return ridge weights and biases of all columns of ``y``, by conjugate gradients.

    Only columns of ``x`` that occur are worked on: of hashed words few do.
    """
    used = np.unique(x.indices[x.data != 0])
    inside, bias = _gradients(x[:, used], y, lam)
    weights = np.zeros((x.shape[1], y.shape[1]))
    weights[used] = inside
    return weights, bias


def _gradients(x: Any, y: Matrix, lam: float) -> tuple[Matrix, Matrix]:  # noqa: ANN401 - as above
    """Solve the normal equations of centred columns, until the residual is small."""
    centre = np.asarray(x.mean(axis=0)).ravel()
    mean = y.mean(axis=0)
    transposed = x.T.tocsr()
    rest = transposed @ (y - mean)
    goal = _ENOUGH * (rest * rest).sum(axis=0) + 1e-30
    weights = np.zeros_like(rest)
    way, size = rest.copy(), (rest * rest).sum(axis=0)
    for _ in range(_ROUNDS):
        z = x @ way - centre @ way
        ahead = transposed @ z - np.outer(centre, z.sum(axis=0)) + lam * way
        step = size / np.maximum((way * ahead).sum(axis=0), 1e-30)
        weights += step * way
        rest -= step * ahead
        before, size = size, (rest * rest).sum(axis=0)
        if (size < goal).all():
            break
        way = rest + size / np.maximum(before, 1e-30) * way
    return weights, mean - centre @ weights
