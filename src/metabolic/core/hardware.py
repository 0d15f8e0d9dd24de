"""What the machine reads: devices, memory, pressure, battery, grid."""

__all__ = [
    "Battery",
    "DeviceState",
    "GridState",
    "HardwareState",
    "Origin",
    "Reading",
    "ThermalLevel",
]

from typing import Literal

from msgspec import Struct

Origin = Literal["measured", "derived", "modelled"]
"""Where a figure comes from: read off a meter, computed from such readings, or a model's guess."""


ThermalLevel = Literal["nominal", "moderate", "heavy", "trapping", "sleeping"]
"""Apple's thermal pressure, coolest first: all a Mac says of its headroom. From ``moderate`` on
the system slows itself down."""


class Reading(Struct, frozen=True, kw_only=True, gc=False):
    """One figure: its value, where it comes from, which source won, and how old it is."""

    value: float
    origin: Origin
    source: str
    age_s: float = 0.0


class DeviceState(Struct, frozen=True, kw_only=True, gc=False):
    """One device (a package, a GPU, a node); every field ``None`` when it cannot be read.

    ``energy_j`` is a counter since an arbitrary start; only differences mean something.
    ``limit_c`` is the temperature at which the device throttles, ``headroom_c`` the distance to
    it as the device itself reports it. ``thermal_level`` is headroom told only as a level.

    ``throttled`` says that heat or its supply slow the device down; ``clocks_held_by`` names all
    that holds its clocks (``thermal``, ``power_brake``, ``hardware``, ``power_cap`` …, joined by
    ``+``; ``none``): a power cap alone is how a device keeps its budget, and is no throttling.
    ``shared``: it is cut into parts (MIG) that others may use, and its figures are the whole's.
    ``asleep``: it is powered down and was left so; it then has no figures, and none has failed.
    ``integrated``: a GPU within the processor's package, whose power and memory it shares.
    """

    name: str
    kind: Literal["cpu", "gpu", "board", "node"]
    temperature_c: Reading | None = None
    limit_c: Reading | None = None
    headroom_c: Reading | None = None
    power_w: Reading | None = None
    power_limit_w: Reading | None = None
    energy_j: Reading | None = None
    utilization_ratio: Reading | None = None
    throttled: bool | None = None
    memory_used_bytes: Reading | None = None
    memory_total_bytes: Reading | None = None
    thermal_level: ThermalLevel | None = None
    clocks_held_by: str | None = None
    shared: bool | None = None
    asleep: bool | None = None
    integrated: bool | None = None


class Battery(Struct, frozen=True, kw_only=True, gc=False):
    """The battery; ``discharge_w`` is positive while it empties."""

    charge_ratio: Reading | None = None
    on_battery: bool | None = None
    discharge_w: Reading | None = None


class GridState(Struct, frozen=True, kw_only=True, gc=False):
    """The electricity at hand."""

    intensity_g_per_kwh: Reading | None = None
    price_usd_per_kwh: Reading | None = None


class HardwareState(Struct, frozen=True, kw_only=True, gc=False):
    """The machine at one moment.

    ``taken_at_s`` is seconds since the epoch. ``failed`` names signals that were read before and
    cannot be read now: their fields are ``None``, which is not the same as never having had them.
    """

    taken_at_s: float
    devices: tuple[DeviceState, ...] = ()
    memory_total_bytes: Reading | None = None
    memory_available_bytes: Reading | None = None
    cpu_pressure_ratio: Reading | None = None
    memory_pressure_ratio: Reading | None = None
    load_ratio: Reading | None = None
    battery: Battery | None = None
    grid: GridState | None = None
    failed: tuple[str, ...] = ()
