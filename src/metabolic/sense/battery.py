"""Battery and mains from power_supply; psutil where there is no such folder.

Batteries of mice and the like (``scope`` Device) do not count. Several batteries are one: their
energies are added (a charge in ampere-hours counts at its design voltage, or the present one), or
their percentages are averaged where one tells neither. Reading a battery can wake
the embedded controller and take milliseconds, so it is read seldom.
Source: the kernel's power_supply documentation (micro-units; charge x voltage is energy).
"""

__all__ = ["BatterySensor", "Options", "create"]

import sys
from typing import Any, cast

from msgspec import Struct

from metabolic.core.hardware import HardwareState, Reading
from metabolic.core.obstacle import Obstacle
from metabolic.core.units import ratio_from_percent, w_from_microwatts
from metabolic.sense.cadence import aged, due
from metabolic.sense.files import Folder
from metabolic.sense.merge import with_battery

_SOURCE = "power_supply"
_W_PER_UA_UV = 1e-12
_J_PER_UWH = 3.6e-3
_J_PER_UAH_UV = 3.6e-9
_SIGNS = {"Discharging": 1.0, "Charging": -1.0, "Not charging": 0.0, "Full": 0.0}
"""What a status says about the battery's power; any other says nothing."""

_FULL_PERCENT = 100
_MOST_RATIO = 1.2
"""A worn battery may read a little above full; more than this is no reading."""

_ABSENT = Obstacle(kind="absent", what="no battery in power_supply")


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where and how often to read."""

    root: str = "/"
    every_s: float = 1.0


class _Read(Struct, frozen=True, kw_only=True):
    """What was read at one time."""

    at_s: float
    charge_ratio: Reading | None = None
    on_battery: bool | None = None
    discharge_w: Reading | None = None


class BatterySensor:
    """Reads charge, mains and discharge."""

    name = "battery"

    def __init__(self, options: Options) -> None:
        """Remember the options."""
        self._options = options
        self._folder = Folder(options.root, "sys/class/power_supply")
        self._portable = options.root == "/" and not sys.platform.startswith("linux")
        self._read: _Read | None = None

    def read(self, state: HardwareState) -> HardwareState:
        """Return the state with the battery; a machine without one is left as it is."""
        now_s, last = state.taken_at_s, self._read
        if last is None or due(last.at_s, now_s=now_s, every_s=self._options.every_s):
            last = self._read = _portable(now_s) if self._portable else self._look(now_s)
        age_s = now_s - last.at_s
        return with_battery(
            state,
            charge_ratio=aged(last.charge_ratio, age_s),
            on_battery=last.on_battery,
            discharge_w=aged(last.discharge_w, age_s),
        )

    def obstacles(self) -> tuple[Obstacle, ...]:
        """Return that there is no battery; no machine needs one."""
        if self._read is None or self._read.charge_ratio or self._read.on_battery is not None:
            return ()
        return (_ABSENT,)

    def close(self) -> None:
        """Hold nothing open."""
        self._read = None

    def _look(self, now_s: float) -> _Read:
        """Read every supply."""
        supplies = [self._folder.sub(name) for name in self._folder.names()]
        batteries = [s for s in supplies if _is_battery(s)]
        if not batteries:
            return _Read(at_s=now_s)
        states = [supply.text("status") or "" for supply in batteries]
        mains = [s.number("online") for s in supplies if s.text("type") in {"Mains", "USB"}]
        return _Read(
            at_s=now_s,
            charge_ratio=_charge(batteries),
            on_battery=_on_battery(mains, states),
            discharge_w=_discharge(batteries, states),
        )


def _is_battery(supply: Folder) -> bool:
    """Say whether a supply is a battery of this machine, and there."""
    return (
        supply.text("type") == "Battery"
        and supply.text("scope") != "Device"
        and supply.number("present") != 0
    )


def _charge(batteries: list[Folder]) -> Reading | None:
    """Return the charge of all together."""
    held = [_held(supply, alone=len(batteries) == 1) for supply in batteries]
    known = [one for one in held if one is not None]
    if len(known) == len(batteries):
        return _ratio(sum(now for now, _ in known) / sum(full for _, full in known))
    percents = [supply.number("capacity") for supply in batteries]
    read = [
        percent for percent in percents if percent is not None and 0 <= percent <= _FULL_PERCENT
    ]
    return _ratio(ratio_from_percent(sum(read) / len(read))) if read else None


def _held(supply: Folder, *, alone: bool) -> tuple[float, float] | None:
    """Return what a battery holds and can hold, in joules; ``None`` if it does not tell.

    One that is ``alone`` need not tell its voltage: it cancels out.
    """
    now, full = supply.number("energy_now"), supply.number("energy_full")
    if now is not None and full and full > 0:
        return now * _J_PER_UWH, full * _J_PER_UWH
    now, full = supply.number("charge_now"), supply.number("charge_full")
    if now is None or not full or full <= 0:
        return None
    volts = supply.number("voltage_min_design") or supply.number("voltage_now")
    if not volts or volts <= 0:
        return (float(now), float(full)) if alone else None
    return now * volts * _J_PER_UAH_UV, full * volts * _J_PER_UAH_UV


def _ratio(value: float) -> Reading | None:
    """Return a charge as a reading, at most full."""
    if not 0 <= value <= _MOST_RATIO:
        return None
    return Reading(value=min(1.0, value), origin="measured", source=_SOURCE)


def _on_battery(mains: list[int | None], states: list[str]) -> bool | None:
    """Return whether the machine runs on its battery; ``None`` if nothing says so."""
    known = [online for online in mains if online is not None]
    if any(known):
        return False
    if "Discharging" in states:
        return True
    if known:
        return True
    return False if any(states) else None


def _discharge(batteries: list[Folder], states: list[str]) -> Reading | None:
    """Return the watts all give while they empty; negative while they fill."""
    total = 0.0
    for supply, status in zip(batteries, states, strict=True):
        sign = _SIGNS.get(status)
        watts = _watts(supply) if sign else 0.0
        if sign is None or watts is None:
            return None
        total += sign * watts
    return Reading(value=total, origin="measured", source=_SOURCE)


def _watts(supply: Folder) -> float | None:
    """Return a battery's power, from its own figure or from current and voltage."""
    power = supply.number("power_now")
    if power is not None:
        return abs(w_from_microwatts(power))
    current, voltage = supply.number("current_now"), supply.number("voltage_now")
    if current is None or voltage is None:
        return None
    return abs(current * voltage * _W_PER_UA_UV)


def _portable(now_s: float) -> _Read:
    """Read through psutil, which knows charge and mains only."""
    import psutil  # noqa: PLC0415 - only needed off Linux

    try:
        battery = cast("Any", psutil).sensors_battery()
    except (AttributeError, OSError, RuntimeError, psutil.Error):
        battery = None
    if battery is None:
        return _Read(at_s=now_s)
    plugged: bool | None = battery.power_plugged
    return _Read(
        at_s=now_s,
        charge_ratio=Reading(
            value=ratio_from_percent(battery.percent), origin="measured", source="psutil"
        ),
        on_battery=None if plugged is None else not plugged,
    )


def create(options: Options) -> BatterySensor:
    """Return the sensor."""
    return BatterySensor(options)
