"""How many joules a prompt token, a decode token and a decode step take.

Theory. The energy of a window above idle is taken to be linear in what was done in it::

    E = s_0 x prompt + s_1 x decode + s_2 x (r - 1) x steps

with ``r`` the price of a decode token alone in prompt tokens (``presence``). Before anything was
seen the three are equal: that is ``c_p x prompt + c_d(B) x decode`` with ``c_d(B) / c_p = 1 +
(r - 1) / B``, the roofline of a batching engine. Every closed window is then one more equation,
and the three are fitted by least squares, never negative, drawn towards that prior as strongly as
``PRIOR_WINDOWS`` windows would, old windows fading. Only their ratios matter for sharing.

The fit is fed whole windows, never shares, so it cannot confirm itself.
"""

__all__ = ["PRIOR_WINDOWS", "Weights", "features", "learned"]

from collections.abc import Iterable, Sequence

from msgspec import Struct

from metabolic.account.presence import Presence

PRIOR_WINDOWS = 3.0
"""How many windows the prior is worth. Ours; not tuned on what the benchmark reports."""

_FADE = 0.995
"""Weight of a window after the next one: 200 windows are remembered."""

_SIZE = 3
_SWEEPS = 40
_PAIRS = tuple((i, j) for i in range(_SIZE) for j in range(i, _SIZE))


class Weights(Struct, frozen=True, kw_only=True, gc=False):
    """The fit of one engine (or one device): joules per feature, and the sums behind them.

    ``joules`` are per prompt token, decode token and ``r - 1`` decode steps, for a model of
    ``scale`` 1. ``products`` is the upper triangle of the features' products, row by row.
    """

    joules: tuple[float, ...] = (1.0, 1.0, 1.0)
    products: tuple[float, ...] = (0.0,) * len(_PAIRS)
    targets: tuple[float, ...] = (0.0,) * _SIZE
    prior_work: float = 0.0
    energy_j: float = 0.0
    windows: float = 0.0


def features(one: Presence) -> tuple[float, float, float]:
    """Return what a call did in a window, in the terms of the fit."""
    return (
        one.scale * one.prompt_tokens,
        one.scale * one.decode_tokens,
        one.scale * (one.alone_ratio - 1.0) * one.decode_steps,
    )


def learned(weights: Weights, parts: Iterable[Presence], energy_j: float) -> Weights:
    """Return the fit with one more window: what its calls did, and the joules above idle.

    Windows weigh by the inverse of their energy, so that long ones do not drown short ones.
    """
    rows = [features(one) for one in parts]
    x = tuple(sum(column) for column in zip(*rows, strict=True)) if rows else ()
    if not x or energy_j <= 0 or sum(x) <= 0:
        return weights
    heavy = 1.0 / energy_j
    products = tuple(
        _FADE * old + heavy * x[i] * x[j]
        for old, (i, j) in zip(weights.products, _PAIRS, strict=True)
    )
    targets = tuple(_FADE * old + x[i] for i, old in enumerate(weights.targets))
    work = _FADE * weights.prior_work + sum(x)
    joules = _FADE * weights.energy_j + energy_j
    windows = _FADE * weights.windows + 1.0
    return Weights(
        joules=_solved(products, targets, scale=joules / work, windows=windows),
        products=products,
        targets=targets,
        prior_work=work,
        energy_j=joules,
        windows=windows,
    )


def _solved(
    products: Sequence[float], targets: Sequence[float], *, scale: float, windows: float
) -> tuple[float, ...]:
    """Return the not negative minimum of the ridge problem, by coordinate descent.

    Each feature is drawn to ``scale``, what all windows together gave per unit of work, with the
    strength of ``PRIOR_WINDOWS`` windows of the average seen.
    """
    square = [[0.0] * _SIZE for _ in range(_SIZE)]
    for value, (i, j) in zip(products, _PAIRS, strict=True):
        square[i][j] = square[j][i] = value
    found = [scale] * _SIZE
    for _ in range(_SWEEPS):
        for i in range(_SIZE):
            ridge = PRIOR_WINDOWS / windows * square[i][i]
            whole = square[i][i] + ridge
            if whole > 0:
                rest = sum(square[i][j] * found[j] for j in range(_SIZE) if j != i)
                found[i] = max(0.0, (targets[i] + ridge * scale - rest) / whole)
    return tuple(found)
