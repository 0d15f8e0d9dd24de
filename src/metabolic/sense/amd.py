"""AMD GPUs through sysfs: temperature, power, memory, load and throttling, without ROCm."""

__all__ = ["Options", "create"]

from msgspec import Struct

from metabolic.core.obstacle import Obstacle
from metabolic.sense.amd_card import amd_cards
from metabolic.sense.cards import CardSensor

_ABSENT = Obstacle(
    kind="absent",
    what="no AMD GPU in /sys/class/drm",
    remedy="if there is one: load amdgpu; in a container pass /dev/dri and /dev/kfd and mount /sys",
)


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where and how often to read."""

    root: str = "/"
    every_s: float = 1.0
    rescan_s: float = 60.0


def create(options: Options) -> CardSensor:
    """Return the sensor."""
    return CardSensor(
        lambda: amd_cards(options.root),
        name="amd",
        root=options.root,
        every_s=options.every_s,
        rescan_s=options.rescan_s,
        absent=_ABSENT,
    )
