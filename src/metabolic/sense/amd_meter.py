"""The energy of one AMD GPU: its accumulator where the table has one, else its power summed up.

The meter of an APU is its package (PPT): the processor and the GPU in it, which RAPL also counts.
"""

__all__ = ["Options", "create"]

import time
from collections.abc import Callable

from msgspec import Struct

from metabolic.sense.amd_card import ANY_LIMIT_W, AmdCard, amd_cards
from metabolic.sense.supply import SupplyMeter, named


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which card (``amd0`` and so on), and what it draws idle (``None``: learn it)."""

    root: str = "/"
    device: str = "amd0"
    idle_w: float | None = None


def create(options: Options, *, clock: Callable[[], float] = time.time) -> SupplyMeter:
    """Return the meter; one without its card reads nothing and says so."""
    card = named(options.device, amd_cards(options.root))
    shared = isinstance(card, AmdCard) and card.integrated
    return SupplyMeter(
        card,
        name=options.device,
        domain="package" if shared else "gpu",
        limit_w=ANY_LIMIT_W,
        idle_w=options.idle_w,
        clock=clock,
        root=options.root if shared else None,
    )
