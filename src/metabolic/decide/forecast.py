"""How warm it will be, with which error, and how long until it throttles.

The model (``decide.thermal``) says how the temperature follows the power; what power will come is
not known, so there are several guesses at it: that it stays as in the last seconds, the last 20, or
the last 80; that it goes on rising or falling as it does; and that nothing changes at all. Which
guess is good depends on the load (steps, bursts, ramps), so each makes forecasts, one pending per
horizon at a time; when its time has come its error is added to the mean squared error of those
before it, and the guess with the least is the one that speaks at that horizon. Its error is the one
that is stated: it is not computed but counted, so whatever the model cannot follow (fans, ambient,
a second pole, the load) widens the next forecasts by as much as it did the last ones.

At constant power the model gets to its limit, where ``yinf`` is the end it goes towards, after::

    t = tau ln((yinf - y) / yinf)    if yinf > 0, else never

Which is why risk and time to throttling do not ask which guess was best: they are about what the
present power does, before anything is done about it.
"""

__all__ = [
    "HORIZONS_S",
    "begun",
    "forecasts",
    "headroom_w",
    "moved",
    "observed",
    "rise_c",
    "steady",
    "time_to_throttle_s",
]

from math import exp, log, sqrt

from msgspec.structs import replace

from metabolic.core.thermal import Forecast, Pending, ThermalFit

HORIZONS_S = (10.0, 30.0, 60.0)
"""How far ahead forecasts look."""

_MEANS_S = (4.0, 20.0, 80.0)
"""Time constants of the means of power that are guesses."""

_RISING, _STEADY = len(_MEANS_S), len(_MEANS_S) + 1
_GUESSES = len(_MEANS_S) + 2

_HIGH = 2.0
"""How many typical errors of the model the end is taken high, for the time to throttling."""

_START_ERROR_C = 1.0
_START_ERROR_C_PER_S = 0.05
_START_COUNT = 4
_MOST_COUNT = 24
"""The error before anything was seen, how many forecasts that is worth, and how many count."""

_STEADY_ERROR_C_PER_S = 0.2
_STEADY_TAU_S = 15.0
_MOST_W_RATIO = 1.5
"""Power is not taken to rise beyond this multiple of what it is, nor beyond its limit."""


def begun() -> tuple[Pending, ...]:
    """Return all guesses and horizons, nothing pending yet, each with a cautious error."""
    found: list[Pending] = []
    for guess in range(_GUESSES):
        for horizon_s in HORIZONS_S:
            error_c = _START_ERROR_C + _START_ERROR_C_PER_S * horizon_s
            found.append(
                Pending(
                    guess=guess,
                    horizon_s=horizon_s,
                    due_s=-1.0,
                    y_c=0.0,
                    variance=error_c * error_c,
                )
            )
    return tuple(found)


def moved(means_w: tuple[float, ...], watts: float, seconds: float) -> tuple[float, ...]:
    """Return the means of power after so many seconds at ``watts``."""
    if not means_w:
        return tuple([watts] * len(_MEANS_S))
    return tuple(
        [
            watts + (mean_w - watts) * exp(-seconds / tau_s)
            for mean_w, tau_s in zip(means_w, _MEANS_S, strict=True)
        ]
    )


def observed(fit: ThermalFit, at_s: float) -> ThermalFit:
    """Return the fit with due forecasts compared with what was read, and new ones made."""
    return replace(fit, pending=tuple([_compared(one, fit, at_s) for one in fit.pending]))


def _compared(pending: Pending, fit: ThermalFit, at_s: float) -> Pending:
    """Return a pending forecast: waiting, or compared and made anew."""
    if at_s < pending.due_s:
        return pending
    variance, count = pending.variance, pending.count
    if pending.due_s >= 0:
        error_c = fit.y_c - pending.y_c
        count = min(count + 1, _MOST_COUNT)
        variance += (error_c * error_c - variance) / (count + _START_COUNT)
    horizon_s = pending.horizon_s
    ahead_c = _y_c(fit, pending.guess, horizon_s)
    return Pending(
        guess=pending.guess,
        horizon_s=horizon_s,
        due_s=at_s + horizon_s,
        y_c=ahead_c,
        variance=variance,
        count=count,
    )


def _now_c(fit: ThermalFit) -> float:
    """Return ``y`` now as the model has it: the thermometer's steps smoothed."""
    x, z = _state(fit)
    return fit.base_c + fit.r_c_per_w * x + fit.start_c * z + fit.offset_c


def _state(fit: ThermalFit) -> tuple[float, float]:
    """Return the low-passed power and what is left of the start, for the model's own tau."""
    for point in fit.points:
        if point.tau_s == fit.tau_s:
            return point.x_w, point.z_ratio
    return fit.means_w[0], 1.0


def _power_w(fit: ThermalFit, guess: int, ahead_s: float) -> float:
    """Return a guess's mean power over the coming seconds."""
    if guess < _RISING:
        return fit.means_w[guess]
    short, middle = fit.means_w[0], fit.means_w[1]
    per_s = (short - middle) / (_MEANS_S[1] - _MEANS_S[0])
    most = fit.limit_w if fit.limit_w is not None else _MOST_W_RATIO * max(short, middle)
    return min(max(most, short), max(0.0, short + per_s * (_MEANS_S[0] + ahead_s / 2)))


def _y_c(fit: ThermalFit, guess: int, ahead_s: float) -> float:
    """Return ``y`` in so many seconds by a guess at the power."""
    if guess == _STEADY:
        return _now_c(fit)
    x, z = _state(fit)
    fade = exp(-ahead_s / fit.tau_s)
    power_w = _power_w(fit, guess, ahead_s)
    x_then = power_w + (x - power_w) * fade
    return fit.base_c + fit.r_c_per_w * x_then + fit.start_c * z * fade + fit.offset_c


def _best(fit: ThermalFit, horizon_s: float) -> Pending:
    """Return the guess that has been best at a horizon; the first one while all are equal."""
    return min(
        (one for one in fit.pending if one.horizon_s == horizon_s), key=lambda one: one.variance
    )


def forecasts(fit: ThermalFit) -> tuple[Forecast, ...]:
    """Return the forecasts at every horizon, with their errors."""
    found: list[Forecast] = []
    for horizon_s in HORIZONS_S:
        best = _best(fit, horizon_s)
        found.append(
            Forecast(
                horizon_s=horizon_s,
                headroom_c=-_y_c(fit, best.guess, horizon_s),
                error_c=sqrt(best.variance),
            )
        )
    return tuple(found)


def rise_c(fit: ThermalFit, ahead_s: float) -> float:
    """Return by how much it will be warmer at the power of the last seconds."""
    return _y_c(fit, 0, ahead_s) - _now_c(fit)


def time_to_throttle_s(fit: ThermalFit, trend_s: float | None) -> float | None:
    """Return seconds to throttling at the power of the last seconds; ``None``: never.

    The model leaves out a second pole and a fan, and near the limit a degree decides between soon
    and never. So its end is taken two typical errors high, and the answer is the geometric mean
    with ``trend_s``, the time by the present rise alone (``None``: it is not rising, so never).
    Alone, the model erred by 12 s at the median and 87 s at the 90th percentile, the trend by 11
    and 55, both together by 10 and 52 (devices of their own, see the lab log).

    Source: solution of the one-pole model; for R 0.1, tau 45, 28 C ambient, 60 C now, 600 W and a
    limit of 83 C it is 77.5 s.
    """
    now_c = _now_c(fit)
    if now_c >= 0:
        return 0.0
    if trend_s is None:
        return None
    end_c = _end_c(fit, fit.means_w[0]) + _HIGH * fit.residual_c
    if end_c <= 0:
        return trend_s
    return sqrt(trend_s * fit.tau_s * log((end_c - min(now_c, 0.0)) / end_c))


def _end_c(fit: ThermalFit, power_w: float) -> float:
    """Return where ``y`` would end at a power."""
    return fit.base_c + fit.r_c_per_w * power_w + fit.offset_c


def headroom_w(fit: ThermalFit) -> float:
    """Return the watts above the present power at which it would in the end just throttle."""
    return -_end_c(fit, fit.means_w[0]) / fit.r_c_per_w


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
