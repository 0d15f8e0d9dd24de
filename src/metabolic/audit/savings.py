"""What moving whole sessions to smaller models would save, lane by lane, net of the prompt cache.

The estimand: of every dollar of traffic like this, what share would not be spent if each lane were
served by the cheapest model that loses at most ε there. A session moves whole, so the other
model's cache warms as this one's did, at the other's price for cached tokens (or at its full price,
where it has none). Bounds: the lower adds up the lanes that certainly lose at most ε, the upper
those that may; both at the edges of a bootstrap over blocks of chains.
"""

__all__ = ["DRAWS", "Lane", "Savings", "dearer", "estimate"]

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct

from metabolic.audit.blocks import Array, Cell, Sums
from metabolic.audit.evidence import NO_LABELS, Loss, loss_of
from metabolic.audit.prices import Entry

DRAWS = 400
"""Draws of the bootstrap."""

ALPHA = 0.05
_LENGTH_LOW, _LENGTH_HIGH = 0.5, 2.0
"""How much shorter or longer another model's answers may be, without a label to say.

Source: ZeroEval, output tokens of 13 to 15 models over those of gpt-4o-2024-08-06 on the same
questions: 0.80 to 1.46 (GSM8K), 0.50 to 1.19 (CRUX), 0.31 to 1.97 (MATH-L5, all but one over 0.5).
"""


class Lane(Struct, frozen=True, kw_only=True):
    """One lane moved to one model: saving by block at the likely, short and long answers."""

    lane: str
    model: str
    calls: float
    loss: Loss
    saving: Array
    best: Array
    worst: Array


class Savings(Struct, frozen=True, kw_only=True):
    """The saving as a share of the dollars now; ``value`` ``None`` where nothing was labelled.

    ``lanes`` are all pairs; ``likely``, ``certain`` and ``possible`` the chosen ones.
    ``blind`` is the share that moving everything to the cheapest model would seem to save to a sum
    without caches, ``kept`` what it does save.
    """

    value: float | None
    low: float
    high: float
    lanes: tuple[Lane, ...]
    likely: tuple[Lane, ...]
    certain: tuple[Lane, ...]
    possible: tuple[Lane, ...]
    blind: float | None = None
    kept: float | None = None


def estimate(
    sums: Sums,
    *,
    candidates: Sequence[Entry],
    entries: Mapping[str, Entry | None],
    epsilon: float,
    seed: int = 0,
) -> Savings:
    """Return what the log says of the saving at a loss of at most ``epsilon`` in every lane."""
    lanes = _lanes(sums, candidates, entries)
    certain = _chosen([one for one in lanes if one.loss.high <= epsilon], "worst")
    possible = _chosen([one for one in lanes if one.loss.low <= epsilon], "best")
    labelled = [one for one in lanes if one.loss.mean is not None and one.loss.mean <= epsilon]
    likely = _chosen(labelled, "saving")
    any_labels = any(one.loss.mean is not None for one in lanes)
    total = float(sums.total_usd.sum())
    if total <= 0:
        return Savings(
            value=None, low=0.0, high=0.0, lanes=lanes, likely=(), certain=(), possible=(),
        )  # fmt: skip
    value = sum(float(one.saving.sum()) for one in likely) / total
    blind, kept = _blind(sums, lanes, entries, candidates) if lanes else (None, None)
    weights = _weights(sums, seed)
    low = _edge(sums, certain, "worst", weights=weights, quantile=ALPHA / 2)
    high = _edge(sums, possible, "best", weights=weights, quantile=1 - ALPHA / 2)
    return Savings(
        value=value if any_labels or not lanes else None,
        low=min(low, value) if any_labels else low,
        high=max(high, value) if any_labels else high,
        lanes=lanes,
        likely=likely,
        certain=certain,
        possible=possible,
        blind=blind,
        kept=kept,
    )


def _lanes(
    sums: Sums, candidates: Sequence[Entry], entries: Mapping[str, Entry | None]
) -> tuple[Lane, ...]:
    """Return every lane with every model that could serve it for less somewhere."""
    names = sorted({cell.lane for cell in sums.cells})
    alpha = ALPHA / max(1, len(names) * len(candidates))
    made: list[Lane] = []
    for name in names:
        for candidate in candidates:
            cells = [
                cell
                for cell in sums.cells
                if cell.lane == name and dearer(entries.get(cell.model), candidate)
            ]
            if cells:
                made.append(_lane(name, candidate, cells, sums, alpha))
    return tuple(made)


def dearer(served: Entry | None, candidate: Entry) -> bool:
    """Say whether a model is not the candidate and has no lower prices."""
    if served is None or served.model == candidate.model:
        return False
    return served.input + served.output > candidate.input + candidate.output


def _lane(name: str, candidate: Entry, cells: Sequence[Cell], sums: Sums, alpha: float) -> Lane:
    """Return what moving a lane saves, block by block."""
    found = sums.labels.get((name, candidate.model))
    ratio, short, long = _lengths(found)
    parts: list[Array] = []
    for length in (ratio, short, long):
        saved = sum(
            cell.usd - _usd(candidate, cell.fresh, cell.cached, cell.out * length) for cell in cells
        )
        parts.append(np.asarray(saved))
    return Lane(
        lane=name,
        model=candidate.model,
        calls=float(sum(cell.calls.sum() for cell in cells)),
        loss=NO_LABELS if found is None else loss_of(found, alpha=alpha),
        saving=parts[0],
        best=parts[1],
        worst=parts[2],
    )


def _usd(candidate: Entry, fresh: Array, cached: Array, output: Array) -> Array:
    """Return what a model would ask, block by block."""
    rates = candidate.rates
    return fresh * rates[0] + cached * rates[1] + output * rates[2]


def _lengths(found: dict[str, Array] | None) -> tuple[float, float, float]:
    """Return how many tokens the other answers with for each one now: likely, least, most."""
    if found is None or found["served_out"].sum() <= 0 or found["shadow_out"].sum() <= 0:
        return 1.0, _LENGTH_LOW, _LENGTH_HIGH
    served, other = found["served_out"], found["shadow_out"]
    total = float(served.sum())
    ratio = float(other.sum()) / total
    error = float(np.sqrt(np.sum((other - ratio * served) ** 2))) / total
    return ratio, max(0.05 * ratio, ratio - 2 * error), ratio + 2 * error


def _chosen(lanes: Sequence[Lane], which: str) -> tuple[Lane, ...]:
    """Return, of each lane, the pair that saves most, if it saves anything."""
    best: dict[str, Lane] = {}
    for one in lanes:
        saved = float(getattr(one, which).sum())
        kept = best.get(one.lane)
        if saved > 0 and (kept is None or saved > float(getattr(kept, which).sum())):
            best[one.lane] = one
    return tuple(best.values())


def _weights(sums: Sums, seed: int) -> Array:
    """Return the draws of the bootstrap: how often each block that holds something counts."""
    used = np.flatnonzero(sums.total_usd > 0)
    drawn = np.random.default_rng(seed).multinomial(
        len(used), np.full(len(used), 1 / len(used)), size=DRAWS
    )
    weights = np.zeros((DRAWS, len(sums.total_usd)))
    weights[:, used] = drawn
    return weights


def _edge(
    sums: Sums, lanes: Sequence[Lane], which: str, *, weights: Array, quantile: float
) -> float:
    """Return a quantile of the saving's share over the draws; 0 where no lane moves."""
    if not lanes:
        return 0.0
    saved = np.sum([getattr(one, which) for one in lanes], axis=0)
    return float(np.quantile((weights @ saved) / (weights @ sums.total_usd), quantile))


def _blind(
    sums: Sums,
    lanes: Sequence[Lane],
    entries: Mapping[str, Entry | None],
    candidates: Sequence[Entry],
) -> tuple[float, float]:
    """Return what moving all to the cheapest model saves without counting caches, and with it."""
    cheapest = min(candidates, key=lambda one: one.input + one.output)
    blind = 0.0
    for cell in sums.cells:
        served = entries.get(cell.model)
        if served is not None and dearer(served, cheapest):
            tokens, out = float((cell.fresh + cell.cached).sum()), float(cell.out.sum())
            blind += served.usd(fresh=tokens, cached=0, output=out)
            blind -= cheapest.usd(fresh=tokens, cached=0, output=out)
    kept = sum(float(one.saving.sum()) for one in lanes if one.model == cheapest.model)
    total = float(sums.total_usd.sum())
    return blind / _uncached(sums, entries, total), kept / total


def _uncached(sums: Sums, entries: Mapping[str, Entry | None], total: float) -> float:
    """Return what the log would have cost without any cache; never less than it did."""
    found = 0.0
    for cell in sums.cells:
        served = entries.get(cell.model)
        if served is not None:
            tokens = float((cell.fresh + cell.cached).sum())
            found += served.usd(fresh=tokens, cached=0, output=float(cell.out.sum()))
    return max(found, total)
