"""Levels that rise at once and fall slowly, so that they cannot flap.

To fall by one step the readings must have allowed a lower level for a whole dwell, which then
begins anew: a level falls at most once a dwell, and by one step.
"""

__all__ = ["CRITICAL", "RANK", "above", "settle_level"]

from metabolic.core.metabolic import Level

RANK: dict[Level, int] = {"unknown": 0, "nominal": 0, "elevated": 1, "critical": 2}
CRITICAL = 2


def settle_level(
    rank: int,
    previous: Level | None,
    calm_since_s: float | None,
    *,
    lowest: Level,
    now_s: float,
    dwell_s: float,
) -> tuple[Level, float | None]:
    """Return the level, and since when the readings would allow a lower one.

    ``rank`` is what the readings ask for, 0 to 2; ``previous`` the level so far (``None``: none).
    ``lowest`` is what rank 0 means: ``nominal``, or ``unknown`` where nothing can be read.
    """
    levels: tuple[Level, ...] = (lowest, "elevated", "critical")
    if previous is None or rank >= RANK[previous]:
        return levels[rank], None
    if calm_since_s is None or calm_since_s > now_s:
        return previous, now_s
    if now_s - calm_since_s < dwell_s:
        return previous, calm_since_s
    lower = RANK[previous] - 1
    return levels[lower], now_s if rank < lower else None


def above(
    value: float | None, previous: Level, *, elevated: float, critical: float, ease: float
) -> int:
    """Return the rank a figure asks for that is worse the higher it is; unknown asks for none.

    Edges are lower by ``ease`` (a share of the edge) for a level that already holds.
    """
    if value is None:
        return 0
    rank = RANK[previous]
    if value >= critical * (1 - ease if rank == CRITICAL else 1):
        return CRITICAL
    return 1 if value >= elevated * (1 - ease if rank >= 1 else 1) else 0
