"""The energy of one AMD GPU: its accumulator where the table has one, else its power summed up.

The meter of an APU is its package (PPT): the processor and the GPU in it, which RAPL also counts.
"""

__all__ = ["Options", "create"]

import time
from collections.abc import Callable

from msgspec import Struct

from metabolic.core.obstacle import Obstacle
from metabolic.sense.amd_card import ANY_LIMIT_W, AmdCard, amd_cards
from metabolic.sense.supply import Supply, SupplyMeter


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which card (``amd0`` and so on), and what it draws idle (``None``: learn it)."""

    root: str = "/"
    device: str = "amd0"
    idle_w: float | None = None


class _Absent:
    """Stands in for a card that is not there."""

    def __init__(self, device: str) -> None:
        self._obstacle = Obstacle(kind="absent", what=f"there is no {device} in /sys/class/drm")

    def supply(self, now_s: float) -> Supply | None:
        """Return nothing."""
        del now_s

    def obstacles(self) -> tuple[Obstacle, ...]:
        """Return why."""
        return (self._obstacle,)

    def close(self) -> None:
        """Nothing is open."""


def create(options: Options, *, clock: Callable[[], float] = time.time) -> SupplyMeter:
    """Return the meter; one without its card reads nothing and says so."""
    found: AmdCard | None = None
    for card in amd_cards(options.root):
        if card.name == options.device:
            found = card
        else:
            card.close()
    return SupplyMeter(
        found or _Absent(options.device),
        name=options.device,
        domain="package" if found is not None and found.integrated else "gpu",
        limit_w=ANY_LIMIT_W,
        idle_w=options.idle_w,
        clock=clock,
    )
