"""What the machine can afford now, and what a profile allows it to spend."""

__all__ = ["Level", "MetabolicState", "Profile", "Threshold"]

from typing import Literal

from msgspec import Struct

Level = Literal["unknown", "nominal", "elevated", "critical"]


class MetabolicState(Struct, frozen=True, kw_only=True, gc=False):
    """What the machine can afford now; every figure ``None`` when it is not known.

    ``level`` is *unknown* on a machine that has no thermometer: heat then moves nothing. A sensor
    that read and then failed makes the level at least *elevated*. Neither is ever *nominal*.
    ``time_to_throttle_s`` is ``None`` when throttling is not in sight or not known.
    ``limiting`` names the device that limits; ``since_s`` when the level was entered (epoch).
    ``at_s`` is the time of the readings; ``calm_since_s`` since when they would allow a lower level
    (``None``: they do not).
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
