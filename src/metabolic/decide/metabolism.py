"""What the machine can afford now: from readings to a level, a risk and a time.

Theory. *Headroom* is the distance of the hottest device to where it throttles: the device's own
margin where it reports one, else limit minus temperature. From it follow two things that are
used apart.

The *risk* is soft, for weighing: the probability of throttling within the next ten seconds,
``logistic((centre - ahead) / scale)``, where ``ahead`` is the headroom after ten more seconds of
the present trend (cooling is not counted on). It is 0.5 where the profile's critical band
begins and 0.1 where the elevated one does; a device that throttles now is at 1. Trend and risk
are exponentially weighted means with time constants (10 s and 3 s), so weights come from the
time between readings, not from their number, and a replay finds the same figures.

The *level* is hard, for rules: it rises at once and falls slowly. To fall by one step the
headroom must have been above the band's edge by the profile's hysteresis for the whole dwell; so a
level can fall at most once a dwell, and cannot flap. Soft weights and hard levels with hysteresis
keep two devices from passing the load back and forth (TAPAS, arXiv 2501.02600).

What is not known moves nothing and is never called nominal: no thermometer is ``unknown``; one
that read before and does not now is at least ``elevated`` until it reads again.
"""

__all__ = ["HORIZON_S", "RISK_TAU_S", "TREND_TAU_S", "assess"]

from math import exp, log

from msgspec import Struct

from metabolic.core.hardware import Battery, DeviceState, HardwareState, Reading
from metabolic.core.metabolic import Level, MetabolicState, Profile

HORIZON_S = 10.0
"""How far ahead the risk looks: about one answer of a small model, and the lag of a heat sink."""

RISK_TAU_S = 3.0
"""Time constant of the smoothed risk: thirty polls of 100 ms."""

TREND_TAU_S = 10.0
"""Time constant of the trend: thermometers step by 1 C, so shorter ones mostly see the steps."""

_MAX_SLOPE_C_PER_S = 20.0
_MIN_TREND_C_PER_S = 0.01
_IN_SIGHT_S = 600.0
_LN9 = log(9.0)
"""logistic(0) is 0.5 and logistic(-ln 9) is 0.1: the two edges of the bands."""

_RANK: dict[Level, int] = {"unknown": 0, "nominal": 0, "elevated": 1, "critical": 2}
_CRITICAL = 2
_LOST = "thermometer lost"


class _Heat(Struct, frozen=True):
    """The device nearest to throttling."""

    device: str
    headroom_c: float | None
    throttled: bool


def assess(
    state: HardwareState, previous: MetabolicState | None, profile: Profile
) -> MetabolicState:
    """Return what the machine can afford now, given what it could at the reading before.

    ``previous`` is ``None`` at the first reading. A pure fold: the same readings give the same
    states. Time between readings is ``taken_at_s``; a clock that went back counts as no time.
    """
    now_s = state.taken_at_s
    elapsed_s = max(0.0, now_s - previous.at_s) if previous is not None else 0.0
    heat = _hottest(state.devices)
    throttled = heat is not None and heat.throttled
    headroom_c = heat.headroom_c if heat is not None else None
    trend = _trend(headroom_c, previous, elapsed_s=elapsed_s)
    risk = _risk(headroom_c, trend, profile, throttled=throttled)
    blind = _is_blind(state, headroom_c, previous)
    asked = _asked(headroom_c, previous, profile, throttled=throttled)
    rank, lowest = max(asked, int(blind)), _lowest(headroom_c)
    level, calm_since_s = _level(
        rank, previous, lowest=lowest, now_s=now_s, dwell_s=profile.dwell_s
    )
    before = previous.throttle_risk_ratio if previous else None
    battery = state.battery or Battery()
    return MetabolicState(
        level=level,
        throttle_risk_ratio=_smooth(before, risk, elapsed_s=elapsed_s, tau_s=RISK_TAU_S),
        headroom_c=headroom_c,
        headroom_w=_headroom_w(state.devices),
        time_to_throttle_s=_time_to_throttle_s(headroom_c, trend),
        memory_available_bytes=_value(state.memory_available_bytes),
        battery_ratio=_value(battery.charge_ratio),
        on_battery=battery.on_battery,
        trend_c_per_s=trend,
        profile=profile.name,
        limiting=heat.device if heat is not None else None,
        since_s=previous.since_s if previous and previous.level == level else now_s,
        at_s=now_s,
        calm_since_s=calm_since_s,
        reasons=_reasons(state, level, asked=asked, throttled=throttled, blind=blind),
    )


def _lowest(headroom_c: float | None) -> Level:
    """Return the level of a calm machine, which is not nominal unless that is known."""
    return "unknown" if headroom_c is None else "nominal"


def _value(reading: Reading | None) -> float | None:
    """Return a reading's value."""
    return None if reading is None else reading.value


def _hottest(devices: tuple[DeviceState, ...]) -> _Heat | None:
    """Return the device that throttles, or else the one nearest to it; ties go by name."""
    found: _Heat | None = None
    for device in sorted(devices, key=lambda one: one.name):
        heat = _Heat(device.name, _headroom_c(device), device.throttled is True)
        if heat.headroom_c is None and not heat.throttled:
            continue
        if found is None or _order(heat) < _order(found):
            found = heat
    return found


def _order(heat: _Heat) -> tuple[bool, float]:
    """Order devices, nearest to throttling first."""
    return not heat.throttled, float("inf") if heat.headroom_c is None else heat.headroom_c


def _headroom_c(device: DeviceState) -> float | None:
    """Return a device's distance to throttling: its own margin first, as it knows its sensors."""
    if device.headroom_c is not None:
        return device.headroom_c.value
    if device.temperature_c is None or device.limit_c is None:
        return None
    return device.limit_c.value - device.temperature_c.value


def _headroom_w(devices: tuple[DeviceState, ...]) -> float | None:
    """Return the least distance of any device to its power limit."""
    rooms = [
        device.power_limit_w.value - device.power_w.value
        for device in devices
        if device.power_limit_w is not None and device.power_w is not None
    ]
    return min(rooms) if rooms else None


def _smooth(
    before: float | None, now: float | None, *, elapsed_s: float, tau_s: float
) -> float | None:
    """Return the exponentially weighted mean; the first value, or an unknown one, as it is."""
    if before is None or now is None:
        return now
    return before + (now - before) * (1.0 - exp(-elapsed_s / tau_s))


def _trend(
    headroom_c: float | None, previous: MetabolicState | None, *, elapsed_s: float
) -> float | None:
    """Return the smoothed rise in C/s: of the least headroom, whichever device has it."""
    if headroom_c is None or previous is None or previous.headroom_c is None:
        return None
    if elapsed_s <= 0:
        return previous.trend_c_per_s
    slope = (previous.headroom_c - headroom_c) / elapsed_s
    slope = max(-_MAX_SLOPE_C_PER_S, min(_MAX_SLOPE_C_PER_S, slope))
    before = previous.trend_c_per_s or 0.0
    return _smooth(before, slope, elapsed_s=elapsed_s, tau_s=TREND_TAU_S)


def _risk(
    headroom_c: float | None, trend: float | None, profile: Profile, *, throttled: bool
) -> float | None:
    """Return the unsmoothed probability of throttling soon; ``None`` without a thermometer."""
    if throttled:
        return 1.0
    if headroom_c is None:
        return None
    if headroom_c <= 0:
        return 1.0
    ahead_c = headroom_c - max(0.0, trend or 0.0) * HORIZON_S
    scale_c = max(0.1, profile.elevated_below_c - profile.critical_below_c) / _LN9
    exponent = (ahead_c - profile.critical_below_c) / scale_c
    return 1.0 / (1.0 + exp(max(-50.0, min(50.0, exponent))))


def _time_to_throttle_s(headroom_c: float | None, trend: float | None) -> float | None:
    """Return seconds to throttling at the present trend; ``None`` when it is not in sight."""
    if headroom_c is None:
        return None
    if headroom_c <= 0:
        return 0.0
    if trend is None or trend < _MIN_TREND_C_PER_S:
        return None
    seconds = headroom_c / trend
    return seconds if seconds <= _IN_SIGHT_S else None


def _asked(
    headroom_c: float | None,
    previous: MetabolicState | None,
    profile: Profile,
    *,
    throttled: bool,
) -> int:
    """Return the rank that heat asks for, 0 to 2; edges are shifted by the hysteresis."""
    if throttled:
        return _CRITICAL
    if headroom_c is None:
        return 0
    rank = _RANK[previous.level] if previous is not None else 0
    if headroom_c < profile.critical_below_c + (profile.hysteresis_c if rank == _CRITICAL else 0.0):
        return _CRITICAL
    if headroom_c < profile.elevated_below_c + (profile.hysteresis_c if rank >= 1 else 0.0):
        return 1
    return 0


def _is_blind(
    state: HardwareState, headroom_c: float | None, previous: MetabolicState | None
) -> bool:
    """Say whether something that could be read before cannot be read now."""
    if state.failed:
        return True
    if headroom_c is not None or previous is None:
        return False
    return previous.headroom_c is not None or _LOST in previous.reasons


def _level(
    rank: int,
    previous: MetabolicState | None,
    *,
    lowest: Level,
    now_s: float,
    dwell_s: float,
) -> tuple[Level, float | None]:
    """Return the level, and since when the readings would allow a lower one.

    Up at once; down by one step after a whole dwell of calm, which then begins anew. ``lowest``
    is what rank 0 means: ``nominal``, or ``unknown`` without a thermometer.
    """
    levels: tuple[Level, ...] = (lowest, "elevated", "critical")
    if previous is None or rank >= _RANK[previous.level]:
        return levels[rank], None
    calm_since_s = previous.calm_since_s
    if calm_since_s is None or calm_since_s > now_s:
        return previous.level, now_s
    if now_s - calm_since_s < dwell_s:
        return previous.level, calm_since_s
    lower = _RANK[previous.level] - 1
    return levels[lower], now_s if rank < lower else None


def _reasons(
    state: HardwareState, level: Level, *, asked: int, throttled: bool, blind: bool
) -> tuple[str, ...]:
    """Return in stable words what speaks for this level; ``asked`` is the rank by heat alone."""
    found = [f"failed: {name}" for name in state.failed]
    if throttled:
        found.append("throttled")
    elif asked:
        found.append("low headroom")
    if level == "unknown" or blind:
        known = any(device.temperature_c is not None for device in state.devices)
        found.append(_LOST if blind else "no limit known" if known else "no thermometer")
    if _RANK[level] > max(asked, int(blind)):
        found.append("dwell")
    return tuple(found)
