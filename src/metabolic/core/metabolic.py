"""What the machine can afford now, and what a profile allows it to spend."""

__all__ = ["DeviceRisk", "Fold", "Level", "MetabolicState", "Profile", "Threshold"]

from typing import Literal

from msgspec import Struct

from metabolic.core.thermal import Forecast, ThermalFit

Level = Literal["unknown", "nominal", "elevated", "critical"]


class DeviceRisk(Struct, frozen=True, kw_only=True, gc=False):
    """One device's smoothed probability of throttling soon."""

    device: str
    risk_ratio: float


class Fold(Struct, frozen=True, kw_only=True):
    """What ``assess`` remembers from one reading to the next, and no decision needs.

    ``*_calm_since_s`` is since when readings would allow a lower level (``None``: they do not);
    ``battery_*`` the last charge that differed, when it was read, and how fast it falls.
    """

    thermal: tuple[ThermalFit, ...] = ()
    memory_calm_since_s: float | None = None
    power_calm_since_s: float | None = None
    battery_ratio: float | None = None
    battery_at_s: float = 0.0
    battery_fall_per_s: float | None = None
    profile_since_s: float = 0.0


class MetabolicState(Struct, frozen=True, kw_only=True, gc=False):
    """What the machine can afford now; every figure ``None`` when it is not known.

    ``level`` is *unknown* on a machine that has no thermometer: heat then moves nothing. A sensor
    that read and then failed makes the level at least *elevated*. Neither is ever *nominal*.
    ``time_to_throttle_s`` is ``None`` when throttling is not in sight or not known.
    ``limiting`` names the device that limits; ``since_s`` when the level was entered (epoch).
    ``at_s`` is the time of the readings; ``calm_since_s`` since when they would allow a lower level
    (``None``: they do not).

    ``risks`` are the throttle risks by device, the highest of which is ``throttle_risk_ratio``.
    ``headroom_w`` is the least of two: to the device's power limit, and to the power at which it
    would in the end throttle (``headroom_w_kind``). ``memory_level`` and ``power_level`` are the
    levels of memory pressure and of the operator's power budget, *unknown* without a reading or a
    budget. ``time_to_reserve_s`` is how long the battery lasts above its reserve. ``fold`` is the
    memory of ``assess``; decisions and records do without it.
    """

    level: Level = "unknown"
    throttle_risk_ratio: float | None = None
    headroom_c: float | None = None
    headroom_w: float | None = None
    time_to_throttle_s: float | None = None
    budget_used_ratio: float | None = None
    memory_available_bytes: float | None = None
    battery_ratio: float | None = None
    on_battery: bool | None = None
    trend_c_per_s: float | None = None
    profile: str = "edge"
    limiting: str | None = None
    since_s: float = 0.0
    at_s: float = 0.0
    calm_since_s: float | None = None
    reasons: tuple[str, ...] = ()
    risks: tuple[DeviceRisk, ...] = ()
    headroom_w_kind: Literal["thermal", "power_limit"] | None = None
    forecasts: tuple[Forecast, ...] = ()
    power_w: float | None = None
    power_level: Level = "unknown"
    memory_level: Level = "unknown"
    memory_pressure_ratio: float | None = None
    discharge_w: float | None = None
    time_to_reserve_s: float | None = None
    fold: Fold | None = None


class Threshold(Struct, frozen=True, kw_only=True, gc=False):
    """The lowest confidence at which a draft is kept while the machine is at ``level``."""

    level: Level
    min_confidence: float


class Profile(Struct, frozen=True, kw_only=True, gc=False):
    """What may be spent: ``datacenter`` (quality first), ``edge`` (balanced), ``mcu`` (thrift).

    ``preference`` is the dial's default (0 quality, 1 thrift). ``max_loss_ratio`` is the
    quality, in expected share of good answers, that a plan may give up against the best single
    deployment at preference 1; at 0 it may give up nothing. ``tiers`` are the model sizes it may
    use, ``()`` all. ``heat_weight`` multiplies the price of local energy by
    ``1 + heat_weight × throttle risk``. ``dwell_s`` and the two enter/leave pairs are the
    hysteresis of the level.

    ``warm_loss_ratio`` and ``hot_loss_ratio`` are the quality that may be given up at *elevated*
    and *critical* (and when the power budget is used up, as when hot), unless a client asks for
    quality by a preference of 0. ``battery_weight`` multiplies the price of local energy by up to
    ``1 + battery_weight`` as a battery empties to its reserve. ``power_budget_w`` is what the
    operator lets the machine draw (``None``: as much as it likes). A query more probably complex
    than ``defer_above_ratio`` is left to remote deployments (``None``: none is).
    """

    name: str
    preference: float
    max_loss_ratio: float
    min_gain_ratio: float
    tiers: tuple[str, ...] = ()
    speculation: Literal["on", "conditional", "off"] = "conditional"
    thresholds: tuple[Threshold, ...] = ()
    heat_weight: float = 0.0
    elevated_below_c: float = 10.0
    critical_below_c: float = 5.0
    hysteresis_c: float = 5.0
    dwell_s: float = 30.0
    battery_reserve_ratio: float = 0.2
    warm_loss_ratio: float = 0.0
    hot_loss_ratio: float = 0.0
    battery_weight: float = 0.0
    power_budget_w: float | None = None
    defer_above_ratio: float | None = None
