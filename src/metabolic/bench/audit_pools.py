"""Populations of sessions whose every outcome is known: traces joined with stored answers.

A pool is a finite population: sessions of calls, and for each call what the model in use and the
cheaper ones answered: tokens and score. Logs are drawn from it, and what is true of it can be
added up. Lengths and sharing of prompts come from a trace of block hashes; questions, answers'
lengths and scores from tables of outcomes; without data both are made up.
"""

__all__ = ["Pool", "Served", "pools"]

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from msgspec import Struct

from metabolic.audit.prices import Entry

Array = np.ndarray[Any, np.dtype[Any]]

_BLOCK_TOKENS = 512
_SESSIONS = 4000
_SHARE_WITH_CONTEXT = 0.5
_STRAY = 0.1
"""The share of calls in a session that are of another lane than its first."""

_CACHED_PRICES = (0.1, 0.5, 1.0)
"""Cached over fresh input price; of models in use the first, of others by turns. 1: no discount."""

_MAX_CATEGORIES = 12
_LEAST_ITEMS = 100


class Served(Struct, frozen=True, kw_only=True):
    """What one model answers to every call of a pool."""

    entry: Entry
    out: Array
    score: Array


class Pool(Struct, frozen=True, kw_only=True):
    """A population. ``session`` numbers from 0 and ascends; ``lane`` is of the call itself.

    ``moving`` is the lane of the session's first call, by which it moves.
    """

    name: str
    lanes: tuple[str, ...]
    session: Array
    lane: Array
    moving: Array
    input: Array
    cached: Array
    used: Served
    others: tuple[Served, ...]


def pools(data: Path | None, *, seed: int) -> tuple[tuple[Pool, ...], list[str]]:
    """Return all pools that can be made, the synthetic one first, and notes on the others."""
    rng = np.random.default_rng(seed)
    shapes = None if data is None else _trace_shapes(data)
    made = [_synthetic(rng, shapes or _made_shapes(rng))]
    notes = [] if shapes or data is None else ["no trace with block hashes: sessions are made up"]
    if data is not None:
        for name, items in _families(data, notes):
            found = _joined(name, items, rng, shapes or _made_shapes(rng))
            if found is None:
                notes.append(f"{name}: no dear model with a cheaper one, both with tokens and cost")
            else:
                made.append(found)
    return tuple(made), notes


Shape = Sequence[tuple[int, int]]
"""Prompt tokens of the context, and how many of them were cached, call by call."""


def _made_shapes(rng: np.random.Generator) -> list[Shape]:
    """Return made-up sessions: geometric in length, with a growing prefix."""
    made: list[Shape] = []
    for _ in range(500):
        context = int(rng.lognormal(7, 1))
        calls: list[tuple[int, int]] = []
        for number in range(int(rng.geometric(0.4))):
            grown = context + int(rng.lognormal(5.5, 0.7))
            calls.append((grown, context if number else 0))
            context = grown
        made.append(calls)
    return made


def _trace_shapes(data: Path) -> list[Shape] | None:
    """Return the sessions of a trace, told by shared prefixes; ``None`` without one."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - the extra `bench`

    for path in sorted(data.rglob("*.parquet")):
        if {"hash_ids", "in_tokens", "t_s"} <= _columns(path):
            needed = ["t_s", "in_tokens", "hash_ids"]
            rows = cast("list[dict[str, Any]]", pq.read_table(path, columns=needed).to_pylist())
            hashed = [row for row in rows if row["hash_ids"]]
            if hashed:
                return _chained(sorted(hashed, key=lambda row: row["t_s"]))
    return None


def _columns(path: Path) -> set[str]:
    """Return the names of a table's columns."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - the extra `bench`

    return set(cast("list[str]", pq.read_schema(path).names))


def _chained(rows: list[dict[str, Any]]) -> list[Shape]:
    """Return sessions: a request follows the one with which it shares more than its first block."""
    owner: dict[int, int] = {}
    sessions: list[list[tuple[int, int]]] = []
    for row in rows:
        shared, found = 0, None
        for depth, block in enumerate(row["hash_ids"], start=1):
            if block not in owner:
                break
            shared, found = depth, owner[block]
        if found is None or shared < 2:  # noqa: PLR2004 - the first block is everybody's
            found = len(sessions)
            sessions.append([])
        tokens = int(row["in_tokens"])
        sessions[found].append((tokens, min(tokens, shared * _BLOCK_TOKENS)))
        for block in row["hash_ids"]:
            owner[block] = found
    return [tuple(one) for one in sessions]


Items = dict[str, dict[str, dict[str, tuple[float, float, float, float]]]]
"""By lane, question and model: score, prompt tokens, answer tokens, USD."""


def _families(data: Path, notes: list[str]) -> list[tuple[str, Items]]:
    """Return the tables of outcomes that hold tokens and cost, by folder."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - the extra `bench`

    needed = ["dataset", "query_id", "category", "model", "score", "cost_usd", "in_tokens",
              "out_tokens"]  # fmt: skip
    made: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(data.rglob("*.parquet")):
        if set(needed) <= _columns(path):
            rows = cast("list[dict[str, Any]]", pq.read_table(path, columns=needed).to_pylist())
            made.setdefault(path.parent.name, []).extend(
                row for row in rows if all(row[name] is not None for name in needed[4:])
            )
    if not made:
        notes.append("no tables of outcomes with tokens and cost")
    return [(name, _by_lane(rows)) for name, rows in made.items() if rows]


def _by_lane(rows: list[dict[str, Any]]) -> Items:
    """Return outcomes by lane: the data set, or where there is one only, its categories."""
    sets = {row["dataset"] for row in rows}
    kinds = {str(row["category"]) for row in rows}
    by = "category" if len(sets) == 1 and 1 < len(kinds) <= _MAX_CATEGORIES else "dataset"
    made: Items = {}
    for row in rows:
        query = made.setdefault(str(row[by]), {}).setdefault(
            f"{row['dataset']}/{row['query_id']}", {}
        )
        query[row["model"]] = (row["score"], row["in_tokens"], row["out_tokens"], row["cost_usd"])
    return made


def _joined(name: str, items: Items, rng: np.random.Generator, shapes: list[Shape]) -> Pool | None:
    """Return a pool of one family; ``None`` where no dear model has a cheaper one beside it."""
    models = _chosen(items)
    if models is None:
        return None
    lanes: list[str] = []
    columns: list[dict[str, Array]] = []
    for lane, queries in sorted(items.items()):
        whole = [found for found in queries.values() if all(model in found for model in models)]
        if len(whole) >= _LEAST_ITEMS:
            lanes.append(lane)
            columns.append(
                {model: np.array([found[model] for found in whole], float) for model in models}
            )
    if not lanes:
        return None
    entries = [_priced(model, columns, rank) for rank, model in enumerate(models)]
    return _filled(name, lanes, columns, entries, rng, shapes)


def _chosen(items: Items) -> list[str] | None:
    """Return the model in use (the best of those that answered nearly all) and cheaper ones."""
    seen: dict[str, list[tuple[float, float]]] = {}
    total = 0
    for queries in items.values():
        total += len(queries)
        for found in queries.values():
            for model, (score, _, _, usd) in found.items():
                seen.setdefault(model, []).append((score, usd))
    means = {
        model: tuple(np.mean(np.array(rows), axis=0))
        for model, rows in seen.items()
        if len(rows) >= 0.95 * total
    }
    if len(means) < 2:  # noqa: PLR2004 - two to choose between
        return None
    used = max(means, key=lambda model: means[model][0])
    made = [used]
    for ratio in (0.5, 0.12):
        cheaper = [one for one in means if means[one][1] <= ratio * means[used][1]]
        best = max(cheaper, key=lambda model: means[model][0], default=None)
        if best is not None and best not in made:
            made.append(best)
    return made if len(made) > 1 else None


def _priced(model: str, columns: list[dict[str, Array]], rank: int) -> Entry:
    """Return the prices per token that explain a model's costs best; none below zero."""
    from scipy import optimize as untyped  # noqa: PLC0415 - the extra `bench`

    rows = np.concatenate([one[model] for one in columns])
    found = cast("Array", cast("Any", untyped).nnls(rows[:, 1:3], rows[:, 3])[0])
    dearest = max(found.max(), 1e-12)
    fresh, out = (float(max(value, 0.02 * dearest)) * 1e6 for value in found)
    share = _CACHED_PRICES[0] if rank == 0 else _CACHED_PRICES[rank % len(_CACHED_PRICES)]
    return Entry(model=model.lower(), input=fresh, output=out, cached=share * fresh)


class _Call(Struct, frozen=True, kw_only=True):
    """One call of a pool; ``pick`` is the number of its question in its lane."""

    session: int
    lane: int
    moving: int
    context: tuple[int, int]
    pick: int


def _drawn(items: Sequence[int], rng: np.random.Generator, shapes: list[Shape]) -> list[_Call]:
    """Return the calls of all sessions; ``items`` are the questions of each lane."""
    made: list[_Call] = []
    for number in range(_SESSIONS):
        shape = shapes[rng.integers(len(shapes))]
        plain = rng.random() >= _SHARE_WITH_CONTEXT
        first = int(rng.integers(len(items)))
        for turn, one in enumerate(shape[:20]):
            stray = turn > 0 and rng.random() < _STRAY
            own = int(rng.integers(len(items))) if stray else first
            made.append(
                _Call(
                    session=number,
                    lane=own,
                    moving=first,
                    context=(0, 0) if plain else one,
                    pick=int(rng.integers(items[own])),
                )
            )
    return made


def _filled(
    name: str,
    lanes: Sequence[str],
    columns: list[dict[str, Array]],
    entries: Sequence[Entry],
    rng: np.random.Generator,
    shapes: list[Shape],
) -> Pool:
    """Return sessions with questions drawn into them."""
    models = list(columns[0])
    calls = _drawn([len(one[models[0]]) for one in columns], rng, shapes)
    taken = {
        model: np.array([columns[one.lane][model][one.pick] for one in calls]) for model in models
    }
    shared = np.array([one.context for one in calls])
    served = [
        Served(entry=entry, out=np.maximum(1, taken[model][:, 2]), score=taken[model][:, 0])
        for model, entry in zip(models, entries, strict=True)
    ]
    return Pool(
        name=name,
        lanes=tuple(lanes),
        session=np.array([one.session for one in calls]),
        lane=np.array([one.lane for one in calls]),
        moving=np.array([one.moving for one in calls]),
        input=shared[:, 0] + np.maximum(1, taken[models[0]][:, 1]),
        cached=shared[:, 1],
        used=served[0],
        others=tuple(served[1:]),
    )


_MADE_GOOD = 0.85
_MADE_LOSSES = ((0.0, 0.01), (0.015, 0.03), (0.04, 0.08), (0.15, 0.3))
"""Loss by lane of the first and of the second cheaper model of the synthetic pool."""


def _synthetic(rng: np.random.Generator, shapes: list[Shape]) -> Pool:
    """Return a pool with losses that were chosen."""
    lanes = tuple(f"lane_{number}" for number in range(len(_MADE_LOSSES)))
    columns: list[dict[str, Array]] = []
    for losses in _MADE_LOSSES:
        n = 4000
        prompt, good = rng.integers(30, 900, n), rng.random(n) < _MADE_GOOD
        made: dict[str, Array] = {}
        for model, loss in zip(("large", "middle", "small"), (0.0, *losses), strict=True):
            flips, noise = rng.random(n), 0.01
            score = np.where(
                good,
                flips >= loss / _MADE_GOOD + noise,
                flips < noise * _MADE_GOOD / (1 - _MADE_GOOD),
            )
            if model == "large":
                score = good
            out = rng.lognormal(4.5, 0.6, n).astype(int) + 1
            made[model] = np.stack([score, prompt, out, np.zeros(n)], axis=1).astype(float)
        columns.append(made)
    entries = (
        Entry(model="large", input=2.5, output=10.0, cached=0.25),
        Entry(model="middle", input=0.4, output=1.6, cached=0.1),
        Entry(model="small", input=0.1, output=0.4),
    )
    return _filled("synthetic", lanes, columns, entries, rng, shapes)
