"""Without labels: how often a model of another size would have done, as learned heads foresee it.

A prompt's chance of a good answer is the size prior of ``decide.quality``, its odds moved by the
learned heads, as a gateway decides with before it has evidence. How far good answers of two models
coincide nobody knows without labels, so a share is a range: at least ``p + q - 1`` of all calls, at
most the smaller of the two. A prediction, never evidence: it moves no verdict.

Source of the bounds: Fréchet, 1935, "Généralisation du théorème des probabilités totales".
"""

__all__ = ["Foreseen", "foresee"]

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct

from metabolic.audit.blocks import Array, Cell
from metabolic.audit.prices import Entry
from metabolic.audit.savings import Lane
from metabolic.audit.tasks import Prompt
from metabolic.decide.quality import size_prior

_TIERS = ("tiny", "small", "medium", "large")
_LEAST_CALLS = 30
"""Fewer calls of a lane whose prompts were read say nothing of it."""


class Foreseen(Struct, frozen=True, kw_only=True):
    """What is foreseen of a lane with a model, from so many calls whose prompts were read.

    ``low`` to ``high`` is the share of the calls with a good answer now that would have had one
    from the other model as well.
    """

    lane: str
    model: str
    calls: float
    prompts: int
    low: float
    high: float


def foresee(
    prompts: Sequence[Prompt],
    lanes: Sequence[Lane],
    *,
    cells: Sequence[Cell],
    entries: Mapping[str, Entry | None],
) -> tuple[Foreseen, ...]:
    """Return what is foreseen of each lane with its model; lanes without prompts are left out."""
    by_name = {one.model: one for one in entries.values() if one is not None}
    made: list[Foreseen] = []
    for lane in lanes:
        mine = [one for one in prompts if one.lane == lane.lane]
        if sum(one.calls for one in mine) < _LEAST_CALLS:
            continue
        q = _chances(mine, by_name[lane.model])
        p = _served(mine, [one for one in cells if one.lane == lane.lane], entries)
        if p is None:
            continue
        weight = np.array([float(one.calls) for one in mine])
        good = float(np.sum(weight * p))
        made.append(
            Foreseen(
                lane=lane.lane,
                model=lane.model,
                calls=lane.calls,
                prompts=len(mine),
                low=float(np.sum(weight * np.maximum(0.0, p + q - 1.0))) / good,
                high=float(np.sum(weight * np.minimum(p, q))) / good,
            )
        )
    return tuple(made)


def _served(
    prompts: Sequence[Prompt], cells: Sequence[Cell], entries: Mapping[str, Entry | None]
) -> Array | None:
    """Return each prompt's chance with the models that served the lane, by their calls."""
    total = np.zeros(len(prompts))
    calls = 0.0
    for cell in cells:
        entry = entries.get(cell.model)
        if entry is not None:
            asked = float(cell.calls.sum())
            total += asked * _chances(prompts, entry)
            calls += asked
    return total / calls if calls else None


def _chances(prompts: Sequence[Prompt], entry: Entry) -> Array:
    """Return each prompt's chance of a good answer from a model."""
    model = entry.sized
    kinds = np.array([one.kinds for one in prompts])
    p = kinds @ np.array(size_prior(model))
    size = _TIERS.index(_tier(entry))
    odds = np.array([one.odds[size] if one.odds else 1.0 for one in prompts])
    return odds * p / (1 - p + odds * p)


def _tier(entry: Entry) -> str:
    """Return a model's size: by its parameters, where they are published, else by its price."""
    if entry.parameters is None:
        return entry.sized.tier
    edges = (1e9, 7e9, 20e9)
    return _TIERS[sum(entry.parameters >= edge for edge in edges)]
