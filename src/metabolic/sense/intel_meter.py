"""The energy of one Intel GPU: the counter of the card, else of its package."""

__all__ = ["Options", "create"]

import time
from collections.abc import Callable

from msgspec import Struct

from metabolic.sense.intel_card import ANY_LIMIT_W, intel_cards
from metabolic.sense.supply import SupplyMeter, named


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which card (``intel0`` and so on), and what it draws idle (``None``: learn it)."""

    root: str = "/"
    device: str = "intel0"
    idle_w: float | None = None


def create(options: Options, *, clock: Callable[[], float] = time.time) -> SupplyMeter:
    """Return the meter; one without its card reads nothing and says so."""
    return SupplyMeter(
        named(options.device, intel_cards(options.root)),
        name=options.device,
        domain="gpu",
        limit_w=ANY_LIMIT_W,
        idle_w=options.idle_w,
        clock=clock,
    )
