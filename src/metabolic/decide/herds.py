"""Which replicas of a model are needed, and which may leave.

A *herd* is all replicas of one model that may sleep. The rate of calls it gets says how many must
be awake (``decide.consolidate``); those beyond leave: they get no further work, finish what they
have, and sleep once they have been idle for as long as waking them again would cost. Where it is
not known what a replica can do, or that its sleep saves anything, idleness alone decides.
"""

__all__ = ["Herd", "herds", "leaving"]

from collections.abc import Iterable
from math import isfinite

from msgspec import Struct

from metabolic.core.fleet import Situation
from metabolic.decide.consolidate import Moves, Pool, Replica, moves, needed
from metabolic.decide.inventory import Demand, Inventory, Row, rows_of

_UP = frozenset({"warm", "starting"})


class Herd(Struct, frozen=True, kw_only=True):
    """Replicas of one model: how many must be awake for what rate, and what follows.

    The last one awake never leaves: whether it sleeps is for idleness to say. ``pays_after_s`` is
    the idle time from which sleep pays; ``None``: unknown, or it never does.
    """

    name: str
    members: tuple[str, ...]
    awake: int
    wanted: int
    per_s: float
    pays_after_s: float | None
    moves: Moves


def herds(rows: Iterable[Row]) -> tuple[Herd, ...]:
    """Return every herd whose rate and ability are known."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row.item.traits.group:
            groups.setdefault(row.item.traits.group, []).append(row)
    found = (_herd(name, groups[name]) for name in sorted(groups))
    return tuple(one for one in found if one is not None)


def _herd(name: str, rows: list[Row]) -> Herd | None:
    """Return one herd; ``None`` where sleep is not known to pay, or too little is known."""
    rates = [row.per_s for row in rows if row.per_s is not None]
    able = [row.item.traits.rate_per_s for row in rows if row.item.traits.rate_per_s]
    least = max(row.item.traits.least for row in rows)
    pays, known = _pays_after_s(rows), bool(rates and able)
    if not least and (pays is None or not known):
        return None
    wanted = min(least, len(rows))
    if known:
        wanted = needed(_pool(name, rows, min(able)), sum(rates), least=least)
    replicas = tuple(
        Replica(
            name=row.name,
            up=row.item.state in _UP,
            busy=row.busy or row.wanted_since_s is not None,
            idle_s=row.idle_s,
        )
        for row in rows
    )
    awake = sum(one.up for one in replicas)
    return Herd(
        name=name,
        members=tuple(row.name for row in rows),
        awake=awake,
        wanted=wanted,
        per_s=sum(rates),
        pays_after_s=pays,
        moves=moves(replicas, max(wanted, min(awake, 1)), idle_s=0.0 if pays is None else pays),
    )


def _pool(name: str, rows: list[Row], rate_per_s: float) -> Pool:
    """Return the herd as a pool; watts and joules are not needed for counting."""
    return Pool(
        name=name,
        replicas=len(rows),
        rate_per_s=rate_per_s,
        answer_j=0.0,
        idle_w=0.0,
        asleep_w=0.0,
        wake_s=0.0,
        wake_j=0.0,
    )


def _pays_after_s(rows: list[Row]) -> float | None:
    """Return the longest idle time after which sleep pays; ``None``: unknown, or it never does."""
    known = [found for row in rows if (found := row.item.traits.pays_after_s()) is not None]
    return max((one for one in known if isfinite(one)), default=None)


def leaving(inventory: Inventory, demand: Demand, situation: Situation) -> frozenset[str]:
    """Return the replicas that get no further work: more are awake than are needed.

    Where sleep is not known to save anything, nobody leaves.
    """
    found = herds(rows_of(inventory, demand, situation))
    return frozenset(
        name for herd in found if herd.pays_after_s is not None for name in herd.moves.leave
    )
