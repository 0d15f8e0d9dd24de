"""Without labels: how often a model of another size would have done, as learned heads foresee it.

A prompt's chance of a good answer is the size prior of ``decide.quality``, its odds moved by the
learned heads, as a gateway decides with before it has evidence. How far good answers of two models
coincide nobody knows without labels, so a share is a range: at least ``p + q - 1`` of all calls, at
most the smaller of the two. A prediction, never evidence: it moves no verdict.

Source of the bounds: Fréchet, 1935, "Généralisation du théorème des probabilités totales".
"""

__all__ = ["Foreseen", "foresee"]

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct

from metabolic.audit.blocks import Array
from metabolic.audit.prices import Entry
from metabolic.audit.savings import Lane, dearer
from metabolic.audit.tasks import Prompt
from metabolic.decide.quality import size_prior

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_TIERS = ("tiny", "small", "medium", "large")
_LEAST_CALLS = 30
"""Fewer calls of a lane whose prompts were read say nothing of it."""


class Foreseen(Struct, frozen=True, kw_only=True):
    """What is foreseen of a lane of ``calls`` with a model, from those whose prompts were ``read``.

    ``low`` to ``high`` is the share of the calls with a good answer now that would have had one
    from the other model as well.
    """

    lane: str
    model: str
    calls: float
    read: float
    low: float
    high: float


def foresee(
    connection: "DuckDBPyConnection",
    prompts: Sequence[Prompt],
    lanes: Sequence[Lane],
    *,
    entries: Mapping[str, Entry | None],
) -> tuple[Foreseen, ...]:
    """Return what is foreseen of each lane with its model; lanes without prompts are left out."""
    if not prompts:
        return ()
    by_name = {one.model: one for one in entries.values() if one is not None}
    asked = _asked(connection)
    chances: dict[str, Array] = {}

    def of(entry: Entry) -> Array:
        if entry.model not in chances:
            chances[entry.model] = _chances(prompts, entry)
        return chances[entry.model]

    made: list[Foreseen] = []
    for lane in lanes:
        other = by_name[lane.model]
        good, least, most, calls = 0.0, 0.0, 0.0, 0.0
        for model, which, weight in asked.get(lane.lane, ()):
            served = entries.get(model)
            if served is None or not dearer(served, other):
                continue
            p, q = of(served)[which], of(other)[which]
            good += float(np.sum(weight * p))
            least += float(np.sum(weight * np.maximum(0.0, p + q - 1.0)))
            most += float(np.sum(weight * np.minimum(p, q)))
            calls += float(np.sum(weight))
        if calls >= _LEAST_CALLS:
            low, high = least / good, most / good
            made.append(
                Foreseen(
                    lane=lane.lane, model=lane.model, calls=lane.calls, read=calls,
                    low=low, high=high,
                )
            )  # fmt: skip
    return tuple(made)


_Asked = dict[str, list[tuple[str, "np.ndarray[Any, np.dtype[np.int64]]", Array]]]


def _asked(connection: "DuckDBPyConnection") -> _Asked:
    """Return, by lane, each model's prompts (as ``lanes`` numbers them) and how often each came."""
    rows = connection.execute("""
        SELECT moving, model, list(seen ORDER BY seen), list(calls ORDER BY seen) FROM (
            SELECT moving, model, seen, sum(requests)::DOUBLE AS calls FROM whole
            WHERE seen IS NOT NULL AND model IS NOT NULL AND NOT from_cache GROUP BY ALL)
        GROUP BY 1, 2 ORDER BY 1, 2""").fetchall()
    made: _Asked = {}
    for lane, model, seen, calls in rows:
        made.setdefault(lane, []).append((model, np.array(seen), np.array(calls)))
    return made


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
