"""A Jetson's energy: the power of its board (or of its chip alone) summed up, flagged derived."""

__all__ = ["Options", "create"]

import time
from collections.abc import Callable

from msgspec import Struct

from metabolic.sense.jetson_board import ANY_LIMIT_W, JetsonBoard
from metabolic.sense.supply import SupplyMeter


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to read, and what the board draws idle (``None``: learn it)."""

    root: str = "/"
    idle_w: float | None = None


def create(options: Options, *, clock: Callable[[], float] = time.time) -> SupplyMeter:
    """Return the meter: of the board where it has a total, else of the chip."""
    board = JetsonBoard(options.root)
    whole = board.supplies == "board"
    return SupplyMeter(
        board,
        name="board" if whole else "soc",
        domain="board",
        limit_w=ANY_LIMIT_W,
        idle_w=options.idle_w,
        clock=clock,
        root=options.root,
    )
