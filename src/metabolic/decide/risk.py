"""Each device's distance to throttling, and the probability that it will throttle soon.

The risk is a logistic curve of the headroom that is *forecast* for ``HORIZON_S`` (by the mean of
the fitted thermal model and of the trend, which errs less than either; by the trend where no power
is known), through 0.5 at the edge of critical and 0.1 at that of elevated, smoothed with a time
constant of 3 s.

A reading that grows stale or is lost does not cool anything: its risk goes to a floor between
*elevated* and *critical*, from below and from above.
"""

__all__ = [
    "FLOOR_RATIO",
    "HORIZON_S",
    "RISK_TAU_S",
    "STALE_S",
    "Heat",
    "heats",
    "hottest",
    "is_lost",
    "risk_of",
    "risks_of",
]

from collections.abc import Iterable
from math import exp, log

from msgspec import Struct

from metabolic.core.hardware import DeviceState, HardwareState, ThermalLevel
from metabolic.core.metabolic import DeviceRisk, MetabolicState, Profile
from metabolic.core.thermal import ThermalFit
from metabolic.decide.forecast import rise_c
from metabolic.decide.thermal import headroom_of

HORIZON_S = 10.0
"""How far ahead the risk looks: about one answer of a small model, and the lag of a heat sink."""

RISK_TAU_S = 3.0
"""Time constant of the smoothed risk: thirty polls of 100 ms."""

STALE_S = 3.0
"""A temperature older than this is no longer taken for the present one."""

FLOOR_RATIO = 0.2
"""The risk of a device that cannot be read any more: between the edges of the two bands."""

_FLOOR_TAU_S = 30.0
_LN9 = log(9.0)
"""logistic(0) is 0.5 and logistic(-ln 9) is 0.1: the two edges of the bands."""

_TOLD: dict[ThermalLevel, float] = {
    "nominal": 0.0,
    "moderate": 0.2,
    "heavy": 0.6,
    "trapping": 0.9,
    "sleeping": 1.0,
}
"""The risk of a device that only tells a level: elevated from moderate on, critical from heavy."""


class Heat(Struct, frozen=True, kw_only=True):
    """One device's heat: its headroom (``None``: told as a level, or unknown), and its fit."""

    device: str
    headroom_c: float | None
    throttled: bool = False
    told: ThermalLevel | None = None
    stale: bool = False
    fit: ThermalFit | None = None


def heats(devices: Iterable[DeviceState], fits: tuple[ThermalFit, ...] = ()) -> tuple[Heat, ...]:
    """Return the heat of every device that says anything of it, by name."""
    by_name = {fit.device: fit for fit in fits}
    found: list[Heat] = []
    for device in sorted(devices, key=lambda one: one.name):
        headroom_c, told = headroom_of(device), device.thermal_level
        if headroom_c is None and told is None and device.throttled is not True:
            continue
        heat = Heat(
            device=device.name,
            headroom_c=headroom_c,
            throttled=device.throttled is True,
            told=told,
            stale=_age_s(device) > STALE_S,
            fit=by_name.get(device.name),
        )
        found.append(heat)
    return tuple(found)


def _age_s(device: DeviceState) -> float:
    """Return how old the reading is that the headroom comes from."""
    reading = device.headroom_c or device.temperature_c
    return 0.0 if reading is None else reading.age_s


def hottest(found: tuple[Heat, ...]) -> Heat | None:
    """Return the device that throttles, or else the one nearest to it; ties go by name."""
    return min(found, key=_order) if found else None


def _order(heat: Heat) -> tuple[bool, float, float]:
    """Order devices, nearest to throttling first."""
    told = 0.0 if heat.told is None else -_TOLD[heat.told]
    return not heat.throttled, told, float("inf") if heat.headroom_c is None else heat.headroom_c


def risk_of(heat: Heat, profile: Profile, *, trend_c_per_s: float | None = None) -> float | None:
    """Return the unsmoothed probability of throttling soon; ``None`` when nothing is known."""
    if heat.throttled:
        return 1.0
    told = None if heat.told is None else _TOLD[heat.told]
    if heat.headroom_c is None:
        return told
    if heat.headroom_c <= 0:
        return 1.0
    ahead_c = heat.headroom_c - _rise_c(heat, trend_c_per_s)
    scale_c = max(0.1, profile.elevated_below_c - profile.critical_below_c) / _LN9
    exponent = (ahead_c - profile.critical_below_c) / scale_c
    return max(told or 0.0, 1.0 / (1.0 + exp(max(-50.0, min(50.0, exponent)))))


def _rise_c(heat: Heat, trend_c_per_s: float | None) -> float:
    """Return by how much it will be warmer at the horizon: the mean of model and trend."""
    by_trend_c = None if trend_c_per_s is None else max(0.0, trend_c_per_s * HORIZON_S)
    if heat.fit is None:
        return by_trend_c or 0.0
    by_model_c = max(0.0, rise_c(heat.fit, HORIZON_S))
    return by_model_c if by_trend_c is None else (by_model_c + by_trend_c) / 2


def risks_of(
    found: tuple[Heat, ...],
    hardware: HardwareState,
    previous: MetabolicState | None,
    profile: Profile,
    *,
    trend_c_per_s: float | None,
    elapsed_s: float,
) -> tuple[DeviceRisk, ...]:
    """Return the smoothed risk of every device that is, or was, known; ``trend`` is the hottest's.

    A device that was known, is not now, and of which a signal failed goes to the floor.
    """
    before = {one.device: one.risk_ratio for one in previous.risks} if previous else {}
    first = hottest(found)
    risks: list[DeviceRisk] = []
    for heat in found:
        trend = trend_c_per_s if heat is first else None
        now, last = risk_of(heat, profile, trend_c_per_s=trend), before.pop(heat.device, None)
        if now is not None and heat.stale:
            now, last = max(now, FLOOR_RATIO), now if last is None else last
            now = _towards(last, now, elapsed_s, _FLOOR_TAU_S if now < last else RISK_TAU_S)
        elif now is not None and last is not None:
            now = _towards(last, now, elapsed_s, RISK_TAU_S)
        if now is not None:
            risks.append(DeviceRisk(device=heat.device, risk_ratio=now))
    for device, last in before.items():
        if is_lost(device, hardware):
            now = _towards(last, FLOOR_RATIO, elapsed_s, _FLOOR_TAU_S)
            risks.append(DeviceRisk(device=device, risk_ratio=now))
    return tuple(sorted(risks, key=lambda one: one.device))


def is_lost(device: str, hardware: HardwareState) -> bool:
    """Say whether a device that was known is gone without having been put to sleep."""
    here = next((one for one in hardware.devices if one.name == device), None)
    return here is None or here.asleep is not True


def _towards(before: float, now: float, seconds: float, tau_s: float) -> float:
    """Return the exponentially weighted mean."""
    return before + (now - before) * (1.0 - exp(-seconds / tau_s))
