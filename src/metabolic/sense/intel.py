"""Intel GPUs through sysfs: temperature, energy, power limit and throttling (xe and i915)."""

__all__ = ["Options", "create"]

from msgspec import Struct

from metabolic.core.obstacle import Obstacle
from metabolic.sense.cards import CardSensor
from metabolic.sense.intel_card import intel_cards

_ABSENT = Obstacle(
    kind="absent",
    what="no Intel GPU that tells anything in /sys/class/drm",
    remedy="thermometers and energy need xe or i915 on Linux 6.2 or newer, and an Arc card",
)


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where and how often to read."""

    root: str = "/"
    every_s: float = 1.0
    rescan_s: float = 60.0


def create(options: Options) -> CardSensor:
    """Return the sensor."""
    return CardSensor(
        lambda: intel_cards(options.root),
        name="intel",
        root=options.root,
        every_s=options.every_s,
        rescan_s=options.rescan_s,
        absent=_ABSENT,
    )
