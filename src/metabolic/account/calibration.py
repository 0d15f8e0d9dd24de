"""How many joules the meter reads for each joule the reference speeds foresee, by deployment.

Theory. Speeds and watts that come along were measured elsewhere; here they are off by a factor
that hardly changes. It is the ratio of two sums over settled calls, metered above idle over
modelled, old calls fading, drawn to 1 as strongly as ``PRIOR_CALLS`` average calls would. Its
spread is the mean absolute deviation of single calls from it. Provisional receipts are multiplied
by the ratio and bounded by the spread; how well they did is what the ratio is learned from, so it
corrects itself.
"""

__all__ = ["PRIOR_CALLS", "Calibration", "bounds", "learned", "ratio"]

from msgspec import Struct

from metabolic.account.work import MODEL_HIGH_RATIO, MODEL_LOW_RATIO

PRIOR_CALLS = 2.0
"""How many calls of average size the ratio 1 is worth."""

_FADE = 0.99
_KNOWN_CALLS = 10.0
_SPREADS = 2.5
"""Bounds in mean absolute deviations: 95 % of a normal distribution (1.96 / 0.798)."""

_LEAST, _MOST = 0.01, 100.0


class Calibration(Struct, frozen=True, kw_only=True, gc=False):
    """Sums over the settled calls of one deployment; ``off_j`` is what they deviated by."""

    calls: float = 0.0
    modelled_j: float = 0.0
    metered_j: float = 0.0
    off_j: float = 0.0


def learned(old: Calibration, *, modelled_j: float, metered_j: float) -> Calibration:
    """Return the calibration with one more settled call."""
    if modelled_j <= 0 or metered_j < 0:
        return old
    return Calibration(
        calls=_FADE * old.calls + 1.0,
        modelled_j=_FADE * old.modelled_j + modelled_j,
        metered_j=_FADE * old.metered_j + metered_j,
        off_j=_FADE * old.off_j + abs(metered_j - ratio(old) * modelled_j),
    )


def ratio(one: Calibration) -> float:
    """Return metered over modelled joules; 1 before anything was settled."""
    if one.calls <= 0:
        return 1.0
    prior_j = PRIOR_CALLS * one.modelled_j / one.calls
    found = (one.metered_j + prior_j) / (one.modelled_j + prior_j)
    return min(_MOST, max(_LEAST, found))


def bounds(one: Calibration) -> tuple[float, float]:
    """Return low and high bound of a calibrated estimate, as multiples of it."""
    if one.calls < _KNOWN_CALLS or one.metered_j <= 0:
        return MODEL_LOW_RATIO, MODEL_HIGH_RATIO
    off = _SPREADS * one.off_j / one.metered_j
    return max(0.0, 1.0 - off), 1.0 + off
