"""Which speculating twin is worth its memory, for the answers that would have used it.

A twin holds a second copy of what its model needs. It saves seconds of a busy device, which are
joules, on every answer that drafting makes faster; it costs the joules of loading it and the
power of the memory it holds. It starts only where it fits beside everything that is up, never
pushes another out, and goes to sleep like any model that nobody uses.
"""

__all__ = ["HORIZON_S", "Wish", "due", "pays", "saved"]

from collections.abc import Sequence
from math import exp

from msgspec import Struct

from metabolic.core.fleet import Deployment, State
from metabolic.core.metabolic import MetabolicState
from metabolic.decide.impacts import keeping

HORIZON_S = 600.0
"""How long the demand of late is taken to go on, and what it is averaged over."""

_W_PER_BYTE = 0.375e-9
"""Power of memory that is held.

Source: CodeCarbon, methodology: 3 W for every 8 GB.
"""

_COLD: frozenset[State] = frozenset({"stopped", "asleep", "failed"})


class Wish(Struct, frozen=True, kw_only=True):
    """One twin: where it stands and how many seconds of work a second it would save."""

    deployment: Deployment
    state: State
    saved_ratio: float


def saved(known_ratio: float, *, seconds: float, since_s: float) -> float:
    """Return the saved seconds a second with one more answer that would save ``seconds``.

    ``since_s`` is the time since the last; the average forgets over ``HORIZON_S``.
    """
    return known_ratio * exp(-max(0.0, since_s) / HORIZON_S) + max(0.0, seconds) / HORIZON_S


def pays(wish: Wish) -> bool:
    """Say whether what a twin saves is more than what it takes; unknown power saves nothing."""
    one = wish.deployment
    if one.active_w is None:
        return False
    drafting = one.drafting
    extra_bytes = 0 if drafting is None or drafting.extra_bytes is None else drafting.extra_bytes
    held_w = (one.memory_bytes or extra_bytes) * _W_PER_BYTE
    start_w = (one.load_s or 0.0) * one.active_w / HORIZON_S
    return wish.saved_ratio * one.active_w > held_w + start_w


def due(
    wishes: Sequence[Wish], state: MetabolicState, *, free_bytes: float | None, reserve_bytes: int
) -> str | None:
    """Return the twin to start now, the one that saves most; ``None``: none.

    Nothing starts on a machine that is short of memory, power or coolness (``decide.impacts``).
    """
    if not keeping(state).warm_up or any(one.state == "starting" for one in wishes):
        return None
    able = [
        one
        for one in wishes
        if one.state in _COLD
        and pays(one)
        and (free_bytes is None or (one.deployment.memory_bytes or 0) <= free_bytes - reserve_bytes)
    ]
    best = max(able, key=lambda one: (one.saved_ratio, one.deployment.name), default=None)
    return None if best is None else best.deployment.name
