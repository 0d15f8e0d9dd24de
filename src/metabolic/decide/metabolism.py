"""What the machine can afford now: a pure fold over readings.

Theory. For every device the distance to throttling is known or not. A thermal model of each is
fitted as the readings come (``decide.thermal``); from it come the forecasts, the time to
throttle and the headroom in watts. Where no power is known the trend takes its place: a fit by
rate, because the chance of throttling depends on how fast the last degrees go. The *risk* is soft,
for weights (``decide.risk``); trend and risk are exponentially weighted means with time constants,
so weights come from the time between readings, not from their number, and a replay finds the same.

The *level* is hard, for rules: it rises at once and falls slowly (``decide.levels``). Soft
weights and hard levels with hysteresis keep two devices from passing the load back and forth
(TAPAS, arXiv 2501.02600). Memory and the power budget have levels of their own: they ask for
something else than heat does (``decide.impacts``).

What is not known moves nothing and is never called nominal: no thermometer is ``unknown``; one
that read before and does not now is at least ``elevated`` until it reads again.
"""

__all__ = ["HORIZON_S", "RISK_TAU_S", "TREND_TAU_S", "assess"]

from math import exp
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from metabolic.core.hardware import DeviceState, HardwareState, Reading
from metabolic.core.metabolic import Fold, Level, MetabolicState, Profile
from metabolic.core.thermal import Forecast, ThermalFit
from metabolic.decide.forecast import forecasts, headroom_w, steady, time_to_throttle_s
from metabolic.decide.levels import CRITICAL, RANK, settle_level
from metabolic.decide.pressure import (
    battery,
    machine_w,
    memory_rank,
    power_rank,
    smooth,
    used,
)
from metabolic.decide.risk import (
    FLOOR_RATIO,
    HORIZON_S,
    RISK_TAU_S,
    Heat,
    heats,
    hottest,
    risks_of,
)
from metabolic.decide.thermal import follow

TREND_TAU_S = 10.0
"""Time constant of the trend: thermometers step by 1 C, so shorter ones mostly see the steps."""

_MAX_SLOPE_C_PER_S = 20.0
_MIN_TREND_C_PER_S = 0.01
_IN_SIGHT_S = 600.0
_LOST = "thermometer lost"
_WARM_TOLD = frozenset({"moderate"})
_HOT_TOLD = frozenset({"heavy", "trapping", "sleeping"})


class _Seen(Struct, frozen=True, kw_only=True):
    """What one reading is assessed from."""

    hardware: HardwareState
    previous: MetabolicState | None
    profile: Profile
    fold: Fold
    elapsed_s: float

    @property
    def now_s(self) -> float:
        return self.hardware.taken_at_s


def assess(
    state: HardwareState, previous: MetabolicState | None, profile: Profile
) -> MetabolicState:
    """Return what the machine can afford now, given what it could at the reading before.

    ``previous`` is ``None`` at the first reading. A pure fold: the same readings give the same
    states. Time between readings is ``taken_at_s``; a clock that went back counts as no time.
    """
    seen = _Seen(
        hardware=state,
        previous=previous,
        profile=profile,
        fold=previous.fold or Fold() if previous is not None else Fold(),
        elapsed_s=max(0.0, state.taken_at_s - previous.at_s) if previous is not None else 0.0,
    )
    return _with_power(_with_memory(_with_battery(_with_heat(seen), seen), seen), seen)


def _with_heat(seen: _Seen) -> MetabolicState:
    """Return the state as far as heat goes."""
    state, previous, profile = seen.hardware, seen.previous, seen.profile
    fits = _fits(seen)
    found = heats(state.devices, fits)
    heat = hottest(found)
    headroom_c = heat.headroom_c if heat is not None else None
    trend = _trend(headroom_c, previous, elapsed_s=seen.elapsed_s)
    risks = risks_of(found, state, previous, profile, trend_c_per_s=trend, elapsed_s=seen.elapsed_s)
    blind = _is_blind(state, heat, previous)
    asked = _asked(heat, previous, profile)
    level, calm_since_s = settle_level(
        max(asked, int(blind)),
        previous.level if previous is not None else None,
        previous.calm_since_s if previous is not None else None,
        lowest=_lowest(heat),
        now_s=seen.now_s,
        dwell_s=profile.dwell_s,
    )
    highest = max((one.risk_ratio for one in risks), default=None)
    spare_w, kind = _headroom_w(state.devices, heat)
    since_s = previous.since_s if previous and previous.level == level else seen.now_s
    return MetabolicState(
        level=level,
        throttle_risk_ratio=FLOOR_RATIO if highest is None and blind else highest,
        headroom_c=headroom_c,
        headroom_w=spare_w,
        headroom_w_kind=kind,
        time_to_throttle_s=_time_to_throttle_s(heat, trend),
        forecasts=_forecasts(heat, trend),
        risks=risks,
        trend_c_per_s=trend,
        profile=profile.name,
        limiting=heat.device if heat is not None else None,
        since_s=since_s,
        at_s=seen.now_s,
        calm_since_s=calm_since_s,
        reasons=_reasons(state, level, asked=asked, heat=heat, blind=blind),
        fold=replace(seen.fold, thermal=fits, profile_since_s=_profile_since_s(seen)),
    )


def _fits(seen: _Seen) -> tuple[ThermalFit, ...]:
    """Return the thermal fits after this reading, by device."""
    before = {fit.device: fit for fit in seen.fold.thermal}
    devices = sorted(seen.hardware.devices, key=lambda one: one.name)
    fits = [follow(before.get(one.name), one, seen.now_s) for one in devices]
    return tuple([fit for fit in fits if fit is not None])


def _profile_since_s(seen: _Seen) -> float:
    """Return since when this profile has been in force."""
    previous = seen.previous
    same = previous is not None and previous.profile == seen.profile.name
    return seen.fold.profile_since_s if same else seen.now_s


def _with_memory(state: MetabolicState, seen: _Seen) -> MetabolicState:
    """Return the state with memory and its level."""
    hardware, before = seen.hardware, seen.previous
    was: Level = before.memory_level if before is not None else "unknown"
    asked = memory_rank(hardware, was)
    level, calm_since_s = settle_level(
        asked or 0,
        was if before is not None else None,
        seen.fold.memory_calm_since_s,
        lowest="unknown" if asked is None else "nominal",
        now_s=seen.now_s,
        dwell_s=seen.profile.dwell_s,
    )
    fold = state.fold or Fold()
    return replace(
        state,
        memory_available_bytes=_value(hardware.memory_available_bytes),
        memory_pressure_ratio=_value(hardware.memory_pressure_ratio),
        memory_level=level,
        reasons=(*state.reasons, "memory is short") if RANK[level] else state.reasons,
        fold=replace(fold, memory_calm_since_s=calm_since_s),
    )


def _with_power(state: MetabolicState, seen: _Seen) -> MetabolicState:
    """Return the state with the power budget and its level."""
    profile, before = seen.profile, seen.previous
    power_w = smooth(
        before.power_w if before is not None else None,
        machine_w(seen.hardware.devices),
        seconds=seen.elapsed_s,
    )
    used_ratio = used(seen.hardware.devices, power_w, profile.power_budget_w)
    was: Level = before.power_level if before is not None else "unknown"
    asked = power_rank(used_ratio, was, profile)
    level, calm_since_s = settle_level(
        asked or 0,
        was if before is not None else None,
        seen.fold.power_calm_since_s,
        lowest="unknown" if asked is None else "nominal",
        now_s=seen.now_s,
        dwell_s=profile.dwell_s,
    )
    word = ("", "power budget nearly used up", "power budget used up")[RANK[level]]
    return replace(
        state,
        power_w=power_w,
        budget_used_ratio=used_ratio,
        power_level=level,
        reasons=(*state.reasons, word) if word else state.reasons,
        fold=replace(state.fold or Fold(), power_calm_since_s=calm_since_s),
    )


def _with_battery(state: MetabolicState, seen: _Seen) -> MetabolicState:
    """Return the state with the battery."""
    if seen.hardware.battery is None:
        return state
    found = battery(seen.hardware, seen.fold, seen.profile)
    ratio, at_s, fall_per_s = found.mark
    low = found.ratio is not None and found.ratio < seen.profile.battery_reserve_ratio
    words = ("on battery", *(("battery below its reserve",) if low else ()))
    return replace(
        state,
        battery_ratio=found.ratio,
        on_battery=found.on_battery,
        discharge_w=found.discharge_w,
        time_to_reserve_s=found.time_to_reserve_s,
        reasons=(*state.reasons, *words) if found.on_battery else state.reasons,
        fold=replace(
            state.fold or Fold(),
            battery_ratio=ratio,
            battery_at_s=at_s,
            battery_fall_per_s=fall_per_s,
        ),
    )


def _lowest(heat: Heat | None) -> Level:
    """Return the level of a calm machine, which is not nominal unless that is known."""
    known = heat is not None and (heat.headroom_c is not None or heat.told is not None)
    return "nominal" if known else "unknown"


def _value(reading: Reading | None) -> float | None:
    """Return a reading's value."""
    return None if reading is None else reading.value


def _headroom_w(
    devices: tuple[DeviceState, ...], heat: Heat | None
) -> tuple[float | None, Literal["thermal", "power_limit"] | None]:
    """Return the least watts that are left, and to which limit: power or, in the end, heat."""
    rooms: list[tuple[float, Literal["thermal", "power_limit"]]] = [
        (device.power_limit_w.value - device.power_w.value, "power_limit")
        for device in devices
        if device.power_limit_w is not None and device.power_w is not None
    ]
    if heat is not None and heat.fit is not None:
        rooms.append((headroom_w(heat.fit), "thermal"))
    return min(rooms) if rooms else (None, None)


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
    return before + (slope - before) * (1.0 - exp(-elapsed_s / TREND_TAU_S))


def _forecasts(heat: Heat | None, trend: float | None) -> tuple[Forecast, ...]:
    """Return the forecasts for the hottest device: by its model, else by its trend."""
    if heat is None or heat.headroom_c is None:
        return ()
    return steady(heat.headroom_c, trend) if heat.fit is None else forecasts(heat.fit)


def _time_to_throttle_s(heat: Heat | None, trend: float | None) -> float | None:
    """Return seconds to throttling; ``None`` when it is not in sight."""
    if heat is None or heat.headroom_c is None:
        return None
    if heat.headroom_c <= 0:
        return 0.0
    rising = trend is not None and trend >= _MIN_TREND_C_PER_S
    seconds = heat.headroom_c / trend if trend is not None and rising else None
    if heat.fit is not None:
        seconds = time_to_throttle_s(heat.fit, seconds)
    return seconds if seconds is not None and seconds <= _IN_SIGHT_S else None


def _asked(heat: Heat | None, previous: MetabolicState | None, profile: Profile) -> int:
    """Return the rank that heat asks for, 0 to 2; edges are shifted by the hysteresis."""
    if heat is None:
        return 0
    if heat.throttled or heat.told in _HOT_TOLD:
        return CRITICAL
    told = int(heat.told in _WARM_TOLD)
    if heat.headroom_c is None:
        return told
    rank = RANK[previous.level] if previous is not None else 0
    ease_c = profile.hysteresis_c
    if heat.headroom_c < profile.critical_below_c + (ease_c if rank == CRITICAL else 0.0):
        return CRITICAL
    if heat.headroom_c < profile.elevated_below_c + (ease_c if rank >= 1 else 0.0):
        return 1
    return told


def _is_blind(state: HardwareState, heat: Heat | None, previous: MetabolicState | None) -> bool:
    """Say whether something that could be read before cannot be read now.

    A device that has fallen asleep is not read, and is cool.
    """
    if state.failed:
        return True
    if previous is None or (heat is not None and (heat.headroom_c is not None or heat.told)):
        return False
    if any(device.asleep and device.name == previous.limiting for device in state.devices):
        return False
    return previous.headroom_c is not None or _LOST in previous.reasons


def _reasons(
    state: HardwareState, level: Level, *, asked: int, heat: Heat | None, blind: bool
) -> tuple[str, ...]:
    """Return in stable words what speaks for this level; ``asked`` is the rank by heat alone."""
    found = [f"failed: {name}" for name in state.failed]
    if heat is not None and heat.throttled:
        found.append("throttled")
    elif asked:
        found.append("low headroom")
    if heat is not None and heat.stale:
        found.append("stale thermometer")
    if level == "unknown" or blind:
        known = any(device.temperature_c is not None for device in state.devices)
        found.append(_LOST if blind else "no limit known" if known else "no thermometer")
    if RANK[level] > max(asked, int(blind)):
        found.append("dwell")
    return tuple(found)
