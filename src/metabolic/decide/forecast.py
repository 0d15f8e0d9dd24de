"""How warm it will be, with which error, and how long until it throttles.

Forecasts hold the present power (a mean of a few seconds): what load will come is not known, and
the error says so, because it is not computed but counted: at any time one forecast per horizon is
pending, and when its time has come its error is added to the mean squared error of those before
it. So whatever the model cannot follow (fans, ambient, a second pole, the load itself) widens the
next forecasts by as much as it did the last ones.

Time to throttle of the one-pole model, ``yinf`` being where ``y`` would end::

    t = tau ln((yinf - y) / yinf)    if yinf > 0, else never
"""

__all__ = [
    "HORIZONS_S",
    "begun",
    "forecasts",
    "headroom_w",
    "observed",
    "steady",
    "time_to_throttle_s",
]

from math import exp, log, sqrt

from msgspec.structs import replace

from metabolic.core.thermal import Forecast, Pending, ThermalFit

HORIZONS_S = (10.0, 30.0, 60.0)
"""How far ahead forecasts look."""

_START_ERROR_C = 1.0
_START_ERROR_C_PER_S = 0.05
_START_COUNT = 4
_MOST_COUNT = 24
"""The error before anything was seen, how many forecasts that is worth, and how many count."""

_STEADY_ERROR_C_PER_S = 0.2
_STEADY_TAU_S = 15.0


def begun(horizon_s: float) -> Pending:
    """Return a horizon that has seen nothing yet: nothing pending, and a cautious error."""
    error_c = _START_ERROR_C + _START_ERROR_C_PER_S * horizon_s
    return Pending(horizon_s, -1.0, 0.0, error_c * error_c)


def observed(fit: ThermalFit, at_s: float) -> ThermalFit:
    """Return the fit with due forecasts compared with what was read, and new ones made."""
    return replace(fit, pending=tuple(_compared(one, fit, at_s) for one in fit.pending))


def _compared(pending: Pending, fit: ThermalFit, at_s: float) -> Pending:
    """Return the horizon's pending forecast: waiting, or compared and made anew."""
    if at_s < pending.due_s:
        return pending
    variance, count = pending.variance, pending.count
    if pending.due_s >= 0:
        error_c = fit.y_c - pending.y_c
        count = min(count + 1, _MOST_COUNT)
        variance += (error_c * error_c - variance) / (count + _START_COUNT)
    ahead_c = _y_c(fit, pending.horizon_s)
    return Pending(pending.horizon_s, at_s + pending.horizon_s, ahead_c, variance, count)


def _now_c(fit: ThermalFit) -> float:
    """Return ``y`` now as the model has it: the thermometer's steps smoothed."""
    x, z = _state(fit)
    return fit.base_c + fit.r_c_per_w * x + fit.start_c * z + fit.offset_c


def _state(fit: ThermalFit) -> tuple[float, float]:
    """Return the low-passed power and what is left of the start, for the model's own tau."""
    for point in fit.points:
        if point.tau_s == fit.tau_s:
            return point.x, point.z
    return fit.power_w, 1.0


def _y_c(fit: ThermalFit, ahead_s: float) -> float:
    """Return ``y`` in so many seconds at the present power."""
    x, z = _state(fit)
    fade = exp(-ahead_s / fit.tau_s)
    x_then = fit.power_w + (x - fit.power_w) * fade
    return fit.base_c + fit.r_c_per_w * x_then + fit.start_c * z * fade + fit.offset_c


def _end_c(fit: ThermalFit) -> float:
    """Return where ``y`` would end at the present power."""
    return fit.base_c + fit.r_c_per_w * fit.power_w + fit.offset_c


def forecasts(fit: ThermalFit) -> tuple[Forecast, ...]:
    """Return the forecasts at every horizon, with their errors."""
    return tuple(
        Forecast(
            horizon_s=one.horizon_s,
            headroom_c=-_y_c(fit, one.horizon_s),
            error_c=sqrt(one.variance),
        )
        for one in fit.pending
    )


def time_to_throttle_s(fit: ThermalFit) -> float | None:
    """Return seconds to throttling at the present power; ``None``: it does not get there.

    Source: solution of the one-pole model; for R 0.1, tau 45, 28 C ambient, 60 C now, 600 W and a
    limit of 83 C it is 77.5 s.
    """
    now_c, end_c = _now_c(fit), _end_c(fit)
    if now_c >= 0:
        return 0.0
    if end_c <= 0:
        return None
    return fit.tau_s * log((end_c - now_c) / end_c)


def headroom_w(fit: ThermalFit) -> float:
    """Return the watts above the present power at which it would in the end just throttle."""
    return -_end_c(fit) / fit.r_c_per_w


def steady(headroom_c: float, trend_c_per_s: float | None) -> tuple[Forecast, ...]:
    """Return forecasts where no power is known: the present rise, dying away; a wide error."""
    rise = trend_c_per_s or 0.0
    return tuple(
        Forecast(
            horizon_s=horizon_s,
            headroom_c=headroom_c - rise * _STEADY_TAU_S * (1 - exp(-horizon_s / _STEADY_TAU_S)),
            error_c=_START_ERROR_C + _STEADY_ERROR_C_PER_S * horizon_s,
        )
        for horizon_s in HORIZONS_S
    )
