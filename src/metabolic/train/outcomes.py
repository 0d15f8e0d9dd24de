"""Reads outcome tables: one matrix of scores and one of costs a set, questions by models.

A table is a Parquet file with at least the columns of ``COLUMNS``; several sets may share one. A
set of which too little text is known is named in ``Skipped``, with the reason.
"""

__all__ = ["COLUMNS", "Outcomes", "Skipped", "read"]

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from metabolic.core.errors import ConfigError

COLUMNS = ("dataset", "query_id", "query", "category", "model", "score", "cost_usd")
_OPTIONAL = ("split_key", "extra")
_NOT_MODELS = frozenset({"NullModel"})
"""A submission that games a judge with one constant answer."""

_CONTAMINATED = '"contaminated": true'
_UNKNOWN = float("nan")
_MIN_COVERAGE = 0.9
_MIN_QUESTIONS = 40

Matrix = NDArray[np.float64]


class Outcomes(Struct, frozen=True, kw_only=True):
    """One set: ``scores[i, j]`` in [0, 1] is how well model ``j`` answered question ``i``.

    ``costs`` are USD a call, NaN where unknown. ``keys`` are equal for the same question in
    different sets. Every model answered every question; questions are ordered by id.
    """

    name: str
    questions: tuple[str, ...]
    categories: tuple[str, ...]
    keys: tuple[str, ...]
    models: tuple[str, ...]
    scores: Matrix
    costs: Matrix

    def rows(self, kept: Sequence[int] | NDArray[np.int64]) -> "Outcomes":
        """Return the set with some of its questions."""
        index: list[int] = [int(i) for i in kept]
        return Outcomes(
            name=self.name,
            questions=tuple(self.questions[i] for i in index),
            categories=tuple(self.categories[i] for i in index),
            keys=tuple(self.keys[i] for i in index),
            models=self.models,
            scores=self.scores[index],
            costs=self.costs[index],
        )

    def columns(self, kept: Sequence[int]) -> "Outcomes":
        """Return the set with some of its models."""
        index: list[int] = [int(i) for i in kept]
        return Outcomes(
            name=self.name,
            questions=self.questions,
            categories=self.categories,
            keys=self.keys,
            models=tuple(self.models[j] for j in index),
            scores=self.scores[:, index],
            costs=self.costs[:, index],
        )


class Skipped(Struct, frozen=True, kw_only=True):
    """A set that cannot be used, and why."""

    name: str
    why: str


class _Table(Struct, kw_only=True):
    """One set while its rows are gathered."""

    texts: dict[str, tuple[str, str, str]]
    cells: dict[str, dict[str, tuple[float, float, int]]]
    models: dict[str, None]


def read(folder: Path) -> tuple[tuple[Outcomes, ...], tuple[Skipped, ...]]:
    """Return every set under ``folder``, by name, and those that cannot be used.

    Raises:
        ConfigError: there is no table of outcomes, or the ``bench`` extra is not installed.
    """
    tables: dict[str, _Table] = {}
    for row in _rows(folder):
        _add(tables.setdefault(row["dataset"], _Table(texts={}, cells={}, models={})), row)
    if not tables:
        message = f"{folder}: no table of outcomes (columns {', '.join(COLUMNS)})"
        raise ConfigError(message)
    found: list[Outcomes] = []
    skipped: list[Skipped] = []
    for name in sorted(tables):
        made = _outcomes(name, tables[name])
        if isinstance(made, Skipped):
            skipped.append(made)
        else:
            found.append(made)
    return tuple(found), tuple(skipped)


def _rows(folder: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of every table of outcomes under ``folder``."""
    try:
        import pyarrow.parquet as pq  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as exc:
        message = "--data needs pyarrow: pip install 'metabolic[bench]'"
        raise ConfigError(message) from exc
    parquet = cast("Any", pq)
    paths = [folder] if folder.is_file() else sorted(folder.rglob("*.parquet"))
    for path in paths:
        names = set(parquet.read_schema(path).names)
        if not set(COLUMNS) <= names:
            continue
        wanted = [*COLUMNS, *(name for name in _OPTIONAL if name in names)]
        for batch in parquet.ParquetFile(path).iter_batches(batch_size=8192, columns=wanted):
            yield from batch.to_pylist()


def _add(table: _Table, row: Mapping[str, Any]) -> None:
    """Add one answer; contaminated questions and those without text are left out."""
    if row["model"] in _NOT_MODELS or row["score"] is None:
        return
    text, extra = (row["query"] or "").strip(), row.get("extra") or ""
    if _CONTAMINATED in extra:
        return
    query, model = str(row["query_id"]), str(row["model"])
    if text and query not in table.texts:
        key = row.get("split_key") or text
        table.texts[query] = (text, str(row["category"] or ""), str(key))
    score, cost = row["score"], row["cost_usd"]
    cells = table.cells.setdefault(query, {})
    # The same question asked twice counts once, with the mean of both.
    before_score, before_cost, times = cells.get(model, (0.0, 0.0, 0))
    usd = before_cost + (_UNKNOWN if cost is None else cost)
    cells[model] = (before_score + score, usd, times + 1)
    table.models[model] = None


def _outcomes(name: str, table: _Table) -> Outcomes | Skipped:
    """Return the largest part of a set in which every model answered every question."""
    known = table.cells.keys() & table.texts.keys()
    if len(known) < _MIN_QUESTIONS:
        return Skipped(name=name, why=f"{len(known)} questions with text, {_MIN_QUESTIONS} needed")
    counts = dict.fromkeys(sorted(table.models), 0)
    for query in known:
        for model in table.cells[query]:
            counts[model] += 1
    most = max(counts.values())
    models = tuple(one for one, count in counts.items() if count >= _MIN_COVERAGE * most)
    queries = sorted(q for q in known if set(models) <= table.cells[q].keys())
    if len(queries) < _MIN_QUESTIONS or len(models) < 2:  # noqa: PLR2004 - a choice needs two
        why = f"{len(queries)} questions answered by all of {len(models)} models"
        return Skipped(name=name, why=why)
    cells = np.array([[table.cells[q][m] for m in models] for q in queries], dtype=np.float64)
    cells = cells[:, :, :2] / cells[:, :, 2:]
    texts = [table.texts[q] for q in queries]
    return Outcomes(
        name=name,
        questions=tuple(text for text, _, _ in texts),
        categories=tuple(category for _, category, _ in texts),
        keys=tuple(key for _, _, key in texts),
        models=models,
        scores=cells[:, :, 0],
        costs=cells[:, :, 1],
    )
