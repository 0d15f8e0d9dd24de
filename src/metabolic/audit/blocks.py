"""Sums by block, lane and model, as arrays: all that savings and their intervals need."""

__all__ = ["Cell", "Sums", "read_sums"]

from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct

from metabolic.audit.work import BLOCKS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Array = np.ndarray[Any, np.dtype[np.float64]]

_FIELDS = ("usd", "fresh", "cached", "out", "calls")
_LABELS = ("weight", "loss", "loss2", "shadow_out", "served_out", "count")


class Cell(Struct, frozen=True, kw_only=True):
    """Sums by block of the calls of one lane that one model served and that could move."""

    lane: str
    model: str
    usd: Array
    fresh: Array
    cached: Array
    out: Array
    calls: Array


class Sums(Struct, frozen=True, kw_only=True):
    """The whole log in sums by block.

    ``total_usd`` holds what cannot move too. ``labels`` by lane and shadow model: sums of weights,
    of weighted losses and of their squares, of both answers' lengths, and how many there are.
    """

    total_usd: Array
    cells: tuple[Cell, ...]
    labels: dict[tuple[str, str], dict[str, Array]]
    chains: int


def read_sums(connection: "DuckDBPyConnection") -> Sums:
    """Return the sums; a chain's lane is that of its first call, for a session moves whole."""
    connection.execute("""CREATE OR REPLACE TEMP VIEW whole AS
        SELECT work.*, coalesce(chain_lane, lane) AS moving FROM work
        LEFT JOIN chain_lanes USING (chain)""")
    total = np.zeros(BLOCKS)
    for block, usd in connection.execute(
        "SELECT block, sum(usd) FROM work GROUP BY block"
    ).fetchall():
        total[block] = usd or 0.0
    rows = connection.execute("""
        SELECT moving, model, block, sum(usd), sum(fresh), sum(cached), sum(coalesce(out, 0)),
            sum(requests) FROM whole
        WHERE NOT from_cache AND model IS NOT NULL AND usd IS NOT NULL AND fresh IS NOT NULL
            AND coalesce(out, 0) + fresh + cached > 0
        GROUP BY ALL ORDER BY 1, 2, 3""").fetchall()
    count = connection.execute("SELECT count(DISTINCT chain) FROM work").fetchone()
    assert count is not None
    return Sums(
        total_usd=total,
        cells=_cells(rows),
        labels=_labels(connection),
        chains=count[0],
    )


def _cells(rows: list[tuple[Any, ...]]) -> tuple[Cell, ...]:
    """Return the cells of rows by lane and model."""
    made: dict[tuple[str, str], dict[str, Array]] = {}
    for lane, model, block, *values in rows:
        arrays = made.setdefault((lane, model), {name: np.zeros(BLOCKS) for name in _FIELDS})
        for name, value in zip(_FIELDS, values, strict=True):
            arrays[name][block] = value
    return tuple(Cell(lane=lane, model=model, **found) for (lane, model), found in made.items())


def _labels(connection: "DuckDBPyConnection") -> dict[tuple[str, str], dict[str, Array]]:
    """Return the sums of labels; each counts as often as its propensity says."""
    rows = connection.execute("""
        SELECT moving, shadow_model, block, sum(w), sum(w * d), sum(w * d * d),
            sum(w * shadow_out) FILTER (out IS NOT NULL),
            sum(w * out) FILTER (shadow_out IS NOT NULL), count(*)
        FROM (SELECT *, 1 / greatest(propensity, 1e-6) AS w, quality - shadow_quality AS d
            FROM whole WHERE shadow_model IS NOT NULL AND quality IS NOT NULL
            AND shadow_quality IS NOT NULL) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3""").fetchall()
    made: dict[tuple[str, str], dict[str, Array]] = {}
    for lane, model, block, *values in rows:
        arrays = made.setdefault((lane, model), {name: np.zeros(BLOCKS) for name in _LABELS})
        for name, value in zip(_LABELS, values, strict=True):
            arrays[name][block] = value or 0.0
    return made
