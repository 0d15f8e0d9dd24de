"""The power of a device over its batch, fitted online: what one more answer really adds.

Theory. Above idle a device draws ``P(B) = p x B ** e`` with ``B`` answers in flight: ``e`` is 1
where joules follow the work (a CPU) and small where the batch rides along (a GPU). Taken as
logarithms that is a line, fitted to ``(batch, watts)`` of closed windows by least squares, drawn to
a prior exponent as strongly as ``PRIOR_ROWS`` windows spread over a factor of e in batch would,
old windows fading, the exponent kept in [0, 1]. The *marginal* watts of one more answer are
``P(B + 1) - P(B)``; times how long it takes, that is what the meter would not have read without
it, and what a decision should weigh. The average share is what a bill says.
"""

__all__ = ["PRIOR_ROWS", "Curve", "exponent", "marginal_w", "observed", "power_w"]

from math import exp, log

from msgspec import Struct

PRIOR_ROWS = 8.0
"""How many windows the prior exponent is worth."""

_FADE = 0.998


class Curve(Struct, frozen=True, kw_only=True, gc=False):
    """Sums over windows of ``x = ln batch`` and ``y = ln watts``, and the prior exponent."""

    prior: float = 1.0
    n: float = 0.0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    xy: float = 0.0


def observed(curve: Curve, *, batch: float, active_w: float) -> Curve:
    """Return the curve with one more window: mean calls in flight, and watts above idle."""
    if batch <= 0 or active_w <= 0:
        return curve
    x, y = log(max(1.0, batch)), log(active_w)
    return Curve(
        prior=curve.prior,
        n=_FADE * curve.n + 1.0,
        x=_FADE * curve.x + x,
        y=_FADE * curve.y + y,
        xx=_FADE * curve.xx + x * x,
        xy=_FADE * curve.xy + x * y,
    )


def exponent(curve: Curve) -> float:
    """Return how power grows with the batch, in [0, 1]: 1 is proportional, 0 not at all."""
    if curve.n <= 0:
        return curve.prior
    spread = curve.xx - curve.x * curve.x / curve.n
    slope = curve.xy - curve.x * curve.y / curve.n
    found = (slope + PRIOR_ROWS * curve.prior) / (spread + PRIOR_ROWS)
    return min(1.0, max(0.0, found))


def power_w(curve: Curve, batch: float) -> float | None:
    """Return watts above idle at a batch; ``None`` before any window was seen."""
    if curve.n <= 0:
        return None
    if batch <= 0:
        return 0.0
    grows = exponent(curve)
    level = (curve.y - grows * curve.x) / curve.n
    return exp(level + grows * log(batch))


def marginal_w(curve: Curve, batch: float) -> float | None:
    """Return the watts one more answer adds to ``batch`` in flight; ``None``: nothing seen."""
    more, now = power_w(curve, batch + 1), power_w(curve, batch)
    return None if more is None or now is None else more - now
