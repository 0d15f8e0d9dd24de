"""Memory, power budget and battery: what they allow now, each with its own level.

Memory is short when tasks wait for it (PSI ``some``: a tenth of the time is much, four tenths is
thrashing) or when hardly any is left. The power budget is the operator's; what counts against it
is the mean of ten seconds, because a budget is about heat and breakers and not about moments. A
device at its own power limit is not over budget: that limit enforces itself, and it is only
reported. The battery's time to its reserve comes from how fast its charge really falls.
"""

__all__ = [
    "POWER_TAU_S",
    "Battery",
    "battery",
    "machine_w",
    "memory_rank",
    "power_rank",
    "smooth",
    "used",
]

from math import exp

from msgspec import Struct

from metabolic.core.hardware import DeviceState, HardwareState, Reading
from metabolic.core.metabolic import Fold, Level, Profile
from metabolic.decide.levels import above

POWER_TAU_S = 10.0
"""Time constant of the power that counts against a budget."""

_STALL_ELEVATED, _STALL_CRITICAL = 0.10, 0.40
"""Shares of time in which some task waited for memory (PSI, last ten seconds)."""

_USED_ELEVATED, _USED_CRITICAL = 0.92, 0.97
"""Shares of memory in use."""

_BUDGET_ELEVATED, _BUDGET_CRITICAL = 0.9, 1.0
_EASE = 0.05
_STALL_EASE = 0.5

_LEAST_STEP = 0.004
"""A battery's charge has changed when it differs by this much; most count in hundredths."""

_FALL_SHARE = 0.3
_LONGEST_S = 7 * 24 * 3600.0


def memory_rank(hardware: HardwareState, previous: Level) -> int | None:
    """Return the rank that memory asks for, 0 to 2; ``None`` when nothing of it can be read."""
    stall, filled = _value(hardware.memory_pressure_ratio), None
    total, free = hardware.memory_total_bytes, hardware.memory_available_bytes
    if total is not None and free is not None and total.value > 0:
        filled = 1 - free.value / total.value
    if stall is None and filled is None:
        return None
    waits = above(
        stall, previous, elevated=_STALL_ELEVATED, critical=_STALL_CRITICAL, ease=_STALL_EASE
    )
    full = above(filled, previous, elevated=_USED_ELEVATED, critical=_USED_CRITICAL, ease=_EASE)
    return max(waits, full)


def machine_w(devices: tuple[DeviceState, ...]) -> float | None:
    """Return what the machine draws: the node's meter, else processors and accelerators together.

    A board holds its devices, and a processor its integrated GPU: those are never added.
    """
    for kinds in (("node",), ("cpu", "gpu"), ("board",)):
        known = [
            one.power_w.value
            for one in devices
            if one.kind in kinds and one.power_w is not None and not one.integrated
        ]
        if known:
            return sum(known)
    return None


def used(
    devices: tuple[DeviceState, ...], power_w: float | None, budget_w: float | None
) -> float | None:
    """Return the share of the power budget in use; without one, of the fullest device's limit."""
    if budget_w is not None:
        return None if power_w is None else power_w / budget_w
    shares = [
        one.power_w.value / one.power_limit_w.value
        for one in devices
        if one.power_w is not None and one.power_limit_w is not None and one.power_limit_w.value > 0
    ]
    return max(shares) if shares else None


def power_rank(used_ratio: float | None, previous: Level, profile: Profile) -> int | None:
    """Return the rank the power budget asks for, 0 to 2; ``None`` without a budget or a reading."""
    if profile.power_budget_w is None or used_ratio is None:
        return None
    return above(
        used_ratio, previous, elevated=_BUDGET_ELEVATED, critical=_BUDGET_CRITICAL, ease=2 * _EASE
    )


class Battery(Struct, frozen=True, kw_only=True):
    """The battery now; ``time_to_reserve_s`` ``None``: not discharging, or not known yet.

    ``mark`` is what is remembered: the last charge that differed, when, and its fall per second.
    """

    ratio: float | None = None
    on_battery: bool | None = None
    discharge_w: float | None = None
    time_to_reserve_s: float | None = None
    mark: tuple[float | None, float, float | None] = (None, 0.0, None)


def battery(hardware: HardwareState, before: Fold | None, profile: Profile) -> Battery:
    """Return the battery's charge, draw, and how long it lasts above the profile's reserve."""
    read = hardware.battery
    if read is None:
        return Battery()
    ratio = _value(read.charge_ratio)
    fold = before or Fold()
    mark = (fold.battery_ratio, fold.battery_at_s, fold.battery_fall_per_s)
    if read.on_battery is False:
        mark = (None, 0.0, None)
    elif ratio is not None:
        mark = _marked(mark, ratio, hardware.taken_at_s)
    left_s = None
    if ratio is not None and read.on_battery is not False and mark[2]:
        left_s = max(0.0, ratio - profile.battery_reserve_ratio) / mark[2]
    return Battery(
        ratio=ratio,
        on_battery=read.on_battery,
        discharge_w=_value(read.discharge_w),
        time_to_reserve_s=None if left_s is None or left_s > _LONGEST_S else left_s,
        mark=mark,
    )


def _marked(
    mark: tuple[float | None, float, float | None], ratio: float, at_s: float
) -> tuple[float | None, float, float | None]:
    """Return the mark moved to a charge that differs, with the fall since the last one mixed in."""
    last, last_s, fall = mark
    if last is None or ratio > last or at_s < last_s:
        return ratio, at_s, None
    if last - ratio < _LEAST_STEP or at_s <= last_s:
        return mark
    now = (last - ratio) / (at_s - last_s)
    return ratio, at_s, now if fall is None else fall + (now - fall) * _FALL_SHARE


def smooth(before: float | None, now: float | None, *, seconds: float) -> float | None:
    """Return the mean of the last ten seconds or so; the first value, or an unknown one, as is."""
    if before is None or now is None:
        return now
    return before + (now - before) * (1.0 - exp(-seconds / POWER_TAU_S))


def _value(reading: Reading | None) -> float | None:
    """Return a reading's value."""
    return None if reading is None else reading.value
