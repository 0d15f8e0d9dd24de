"""A thermal model of one device, fitted while it runs.

Theory. One pole: the temperature follows the low-passed power, ``T = Tamb + R LPF_tau(P)``. What
is fitted is ``y``, the temperature against the limit (minus the headroom), so that a device which
reports only its margin is fitted as well as one with a thermometer, and ``y = 0`` is throttling::

    y(t) = base + R x(t) + start z(t),    x' = (P - x) / tau,    z' = -z / tau

The last term is what is left of the unknown temperature history at the start. For each time
constant of a grid the three coefficients are those of least squares with a prior on each, over
samples of one second forgotten with a time constant of ten minutes (fans, ambient and the rest of
the chassis move). The grid point with the least penalised error is the model. All of it is a few
dozen sums, so the fit is a value and a replay finds it again. Regression of the next reading on
the last (ARX) does not survive thermometers that step by 1 C; the grid does (``bench thermal``).

Priors. ``R`` is such that the device at its power limit ends at 0.6 of the way from a room of
25 C to its limit: H100 0.05, RTX 4090 0.08, Jetson Orin about 1 K/W, in the ranges read or
published for them. No measured time constant was found; the grid spans what is plausible for
the kind of device. Source: T = Tamb + R P with one pole, as in TAPAS (arXiv 2501.02600).
"""

__all__ = ["FORGET_S", "GAP_S", "STEP_S", "ambient_headroom_c", "follow", "headroom_of"]

from math import exp, log

from msgspec.structs import replace

from metabolic.core.hardware import DeviceState
from metabolic.core.thermal import TauPoint, ThermalFit
from metabolic.decide.forecast import begun, moved, observed

STEP_S = 1.0
"""Seconds between samples of the fit; thermometers are seldom faster."""

FORGET_S = 600.0
"""Time constant with which samples are forgotten: refit over 5 to 15 minutes."""

GAP_S = 30.0
"""After this long without a reading the power in between is unknown: the fit begins anew."""

_OFFSET_S = 8.0

_GRID_S: dict[str, tuple[float, ...]] = {
    "gpu": (6.0, 10.0, 17.0, 28.0, 47.0, 80.0, 130.0),
    "cpu": (4.0, 8.0, 15.0, 28.0, 52.0, 95.0, 170.0),
    "board": (15.0, 28.0, 50.0, 90.0, 160.0, 280.0),
    "node": (30.0, 60.0, 120.0, 240.0, 480.0),
}
_MIDDLE_S = {"gpu": 28.0, "cpu": 28.0, "board": 90.0, "node": 120.0}
_LIMIT_W = {"gpu": 300.0, "cpu": 95.0, "board": 30.0, "node": 600.0}
"""Power limit taken where the device gives none: typical ones, for the prior only."""

_ROOM_C = 25.0
_LIMIT_C = 90.0
_SHARE = 0.6
_BASE_SD_C = 15.0
_START_SD_C = 20.0
_R_SD_RATIO = 0.5
_R_RANGE = 8.0
"""R is kept within a factor of eight of its prior."""

_NOISE_C = 1.5
"""What one sample is trusted to, its steps and what one pole cannot follow included."""

_TAU_SD = 1.2
"""Spread of ln(tau) before anything is known."""

_Theta = tuple[float, float, float]


def headroom_of(device: DeviceState) -> float | None:
    """Return the distance to throttling (C): the device's own margin first, else by its limit."""
    if device.headroom_c is not None:
        return device.headroom_c.value
    if device.temperature_c is None or device.limit_c is None:
        return None
    return device.limit_c.value - device.temperature_c.value


def ambient_headroom_c(device: DeviceState, headroom_c: float) -> float:
    """Return the headroom the device would have at room temperature (the prior of the base)."""
    if device.temperature_c is None:
        return _LIMIT_C - _ROOM_C
    return max(10.0, headroom_c + device.temperature_c.value - _ROOM_C)


def follow(before: ThermalFit | None, device: DeviceState, at_s: float) -> ThermalFit | None:
    """Return the fit after one more reading of its device; ``None`` when it cannot be fitted.

    A reading without power or temperature leaves the fit as it was, until it is too old.
    """
    headroom_c = headroom_of(device)
    old = before is None or not 0 <= at_s - before.seen_s <= GAP_S
    if headroom_c is None or device.power_w is None:
        return None if old else before
    if before is None or old:
        return _first(device, headroom_c, device.power_w.value, at_s)
    return _next(before, -headroom_c, device.power_w.value, at_s)


def _first(device: DeviceState, headroom_c: float, watts: float, at_s: float) -> ThermalFit:
    """Return the fit of a first reading: priors only, and the device taken to have been steady."""
    limit = device.power_limit_w
    limit_w = limit.value if limit is not None and limit.value > 0 else None
    room_c = ambient_headroom_c(device, headroom_c)
    prior_r = _SHARE * room_c / (limit_w or max(_LIMIT_W[device.kind], watts))
    start_c = -headroom_c - (prior_r * watts - room_c)
    return ThermalFit(
        device=device.name,
        at_s=at_s,
        seen_s=at_s,
        last_w=watts,
        means_w=moved((), watts, 0.0),
        drawn_j=0.0,
        limit_w=limit_w,
        prior_base_c=-room_c,
        prior_r_c_per_w=prior_r,
        points=tuple(
            TauPoint(tau_s=tau_s, x_w=watts, z_ratio=1.0) for tau_s in _GRID_S[device.kind]
        ),
        pending=begun(),
        y_c=-headroom_c,
        tau_s=_MIDDLE_S[device.kind],
        r_c_per_w=prior_r,
        base_c=-room_c,
        start_c=start_c,
        offset_c=0.0,
        residual_c=_NOISE_C,
    )


def _next(before: ThermalFit, y_c: float, watts: float, at_s: float) -> ThermalFit:
    """Return the fit after a reading; a new sample only once ``STEP_S`` has passed."""
    seconds = at_s - before.seen_s
    means_w = moved(before.means_w, watts, seconds)
    drawn_j = before.drawn_j + seconds * (watts + before.last_w) / 2
    passed_s = at_s - before.at_s
    if passed_s < STEP_S:
        return replace(before, seen_s=at_s, last_w=watts, means_w=means_w, drawn_j=drawn_j, y_c=y_c)
    points = tuple(
        _sampled(one, y_c=y_c, mean_w=drawn_j / passed_s, seconds=passed_s) for one in before.points
    )
    seen = replace(
        before,
        at_s=at_s,
        seen_s=at_s,
        last_w=watts,
        means_w=means_w,
        drawn_j=0.0,
        points=points,
        y_c=y_c,
    )
    return observed(_fitted(seen, passed_s), at_s)


def _sampled(point: TauPoint, *, y_c: float, mean_w: float, seconds: float) -> TauPoint:
    """Return the sums with one more sample, the earlier ones a little forgotten."""
    fade, keep = exp(-seconds / point.tau_s), exp(-seconds / FORGET_S)
    x, z = mean_w + (point.x_w - mean_w) * fade, point.z_ratio * fade
    return TauPoint(
        tau_s=point.tau_s,
        x_w=x,
        z_ratio=z,
        n=point.n * keep + 1,
        sx=point.sx * keep + x,
        sy=point.sy * keep + y_c,
        sz=point.sz * keep + z,
        sxx=point.sxx * keep + x * x,
        sxy=point.sxy * keep + x * y_c,
        sxz=point.sxz * keep + x * z,
        syy=point.syy * keep + y_c * y_c,
        syz=point.syz * keep + y_c * z,
        szz=point.szz * keep + z * z,
    )


def _fitted(seen: ThermalFit, seconds: float) -> ThermalFit:
    """Return the fit with the best point of its grid, and what that lately lacked."""
    best, chosen, least = seen.points[0], (0.0, 0.0, 0.0), float("inf")
    middle = log(seen.points[len(seen.points) // 2].tau_s)
    for point in seen.points:
        theta = _solve(point, seen)
        shift = (log(point.tau_s) - middle) / _TAU_SD
        cost = _squares(point, theta) / _NOISE_C**2 + shift * shift + _penalty(theta, seen)
        if cost < least:
            best, chosen, least = point, theta, cost
    base, r, start = chosen
    residual = seen.y_c - (base + r * best.x_w + start * best.z_ratio)
    keep = exp(-seconds / _OFFSET_S)
    return replace(
        seen,
        tau_s=best.tau_s,
        r_c_per_w=r,
        base_c=base,
        start_c=start,
        offset_c=residual + (seen.offset_c - residual) * keep,
        residual_c=max(0.3, (max(0.0, _squares(best, chosen)) / best.n) ** 0.5),
    )


def _solve(point: TauPoint, seen: ThermalFit) -> _Theta:
    """Return base, R and start of least squares with priors; R within its bounds."""
    base, r, start = _least_squares(point, seen)
    lowest, highest = seen.prior_r_c_per_w / _R_RANGE, seen.prior_r_c_per_w * _R_RANGE
    if lowest <= r <= highest:
        return base, r, start
    r = min(max(r, lowest), highest)
    return (point.sy - r * point.sx) / point.n, r, 0.0


def _least_squares(point: TauPoint, seen: ThermalFit) -> _Theta:
    """Solve the normal equations, priors as further samples (Cramer's rule)."""
    noise = _NOISE_C**2
    p_base, p_start = noise / _BASE_SD_C**2, noise / _START_SD_C**2
    p_r = noise / (_R_SD_RATIO * seen.prior_r_c_per_w) ** 2
    a, b, c = point.n + p_base, point.sx, point.sz
    d, e, f = point.sxx + p_r, point.sxz, point.szz + p_start
    u = point.sy + p_base * seen.prior_base_c
    v = point.sxy + p_r * seen.prior_r_c_per_w
    w = point.syz
    df, ef, de = d * f - e * e, b * f - c * e, b * e - c * d
    det = a * df - b * ef + c * de
    base = (u * df - b * (v * f - e * w) + c * (v * e - d * w)) / det
    r = (a * (v * f - e * w) - u * ef + c * (b * w - v * c)) / det
    start = (a * (d * w - v * e) - b * (b * w - v * c) + u * de) / det
    return base, r, start


def _squares(point: TauPoint, theta: _Theta) -> float:
    """Return the sum of squared errors of these coefficients."""
    base, r, start = theta
    return (
        point.syy
        - 2 * (base * point.sy + r * point.sxy + start * point.syz)
        + base * base * point.n
        + r * r * point.sxx
        + start * start * point.szz
        + 2 * (base * r * point.sx + base * start * point.sz + r * start * point.sxz)
    )


def _penalty(theta: _Theta, seen: ThermalFit) -> float:
    """Return how far the coefficients are from their priors, in squared deviations."""
    base, r, start = theta
    far = (r / seen.prior_r_c_per_w - 1) / _R_SD_RATIO
    return ((base - seen.prior_base_c) / _BASE_SD_C) ** 2 + far * far + (start / _START_SD_C) ** 2
