"""What a fold over readings remembers of one device's heat: small, bounded, replayable."""

__all__ = ["Forecast", "Pending", "TauPoint", "ThermalFit"]

from msgspec import Struct


class Forecast(Struct, frozen=True, kw_only=True, gc=False):
    """The distance to throttling in ``horizon_s`` seconds.

    ``error_c`` is the typical (root mean square) error of such forecasts on this device so far.
    """

    horizon_s: float
    headroom_c: float
    error_c: float


class TauPoint(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """Weighted sums of one time constant's regression; old samples are forgotten exponentially.

    ``x_w`` is the low-passed power, ``z_ratio`` what is left of the unknown start, ``y`` the
    temperature against the limit (C). ``sx`` is the sum of ``x_w``; two letters are the sum of
    their product, so the units are those of its factors.
    """

    tau_s: float
    x_w: float
    z_ratio: float
    n: float = 0.0
    sx: float = 0.0
    sy: float = 0.0
    sz: float = 0.0
    sxx: float = 0.0
    sxy: float = 0.0
    sxz: float = 0.0
    syy: float = 0.0
    syz: float = 0.0
    szz: float = 0.0


class Pending(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A forecast that waits to be compared, and the mean squared error of those before it.

    ``guess`` is the number of the guess at the coming power that it rests on.
    """

    guess: int
    horizon_s: float
    due_s: float
    y_c: float
    variance: float
    count: int = 0


class ThermalFit(Struct, frozen=True, kw_only=True):
    """One device's thermal model: ``y = base + r x + start z``, one pole of ``tau_s``.

    ``y`` is minus the headroom: 0 is throttling. ``at_s`` is the last fit, ``seen_s`` the last
    reading; ``drawn_j`` has been drawn since ``at_s``. ``means_w`` are means of the power, short to
    long, ``offset_c`` is what the model lately lacked, ``residual_c`` its root mean square error
    over the minutes it remembers.
    """

    device: str
    at_s: float
    seen_s: float
    last_w: float
    means_w: tuple[float, ...]
    drawn_j: float
    limit_w: float | None
    prior_base_c: float
    prior_r_c_per_w: float
    points: tuple[TauPoint, ...]
    pending: tuple[Pending, ...]
    y_c: float
    tau_s: float
    r_c_per_w: float
    base_c: float
    start_c: float
    offset_c: float
    residual_c: float
