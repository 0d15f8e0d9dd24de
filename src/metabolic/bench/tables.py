"""Stored answers of many models to the same questions, from a folder of Parquet tables.

A table has one row an answer: ``dataset``, ``query_id``, ``query``, ``model``, ``score`` (0 to 1),
``cost_usd``, ``response``, ``split_key`` (the same for the same core question in every set) and
``extra`` (JSON; what is marked ``contaminated`` is left out). Sets are found by their rows, not by
the names of their files.
"""

__all__ = ["Answered", "Reply", "Table", "pair_of", "tables"]

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from msgspec import Struct

from metabolic.core.errors import ConfigError

_COLUMNS = ("dataset", "query_id", "query", "model", "score", "cost_usd", "response", "split_key")
_MARK = '"contaminated": true'


class Reply(Struct, frozen=True, gc=False):
    """One model's answer: its text (``None``: not stored), how good it is, and dollars."""

    text: str | None
    score: float
    cost_usd: float | None


class Answered(Struct, frozen=True, kw_only=True):
    """One question with the answers of every model; ``key`` is shared by equal questions."""

    id: str
    key: str
    query: str
    replies: dict[str, Reply]


class Table(Struct, frozen=True, kw_only=True):
    """One set: questions that every one of ``models`` answered, models from cheap to dear.

    ``usd`` is the mean price of an answer, where every answer has one.
    """

    name: str
    models: tuple[str, ...]
    usd: dict[str, float]
    rows: tuple[Answered, ...]

    def has_text(self, model: str) -> bool:
        """Say whether a model's answers are stored, and not only graded."""
        stored = sum(row.replies[model].text is not None for row in self.rows)
        return 2 * stored > len(self.rows)


def tables(data: Path, *, least: int = 100) -> tuple[list[Table], list[str]]:
    """Return the sets under ``data`` by name, and in words what was left out and why.

    Raises:
        ConfigError: pyarrow is not installed, or there is no table.
    """
    found: dict[str, dict[str, Answered]] = {}
    for row in _rows(data):
        if row["score"] is None or _MARK in (row.get("extra") or ""):
            continue
        rows = found.setdefault(row["dataset"], {})
        name = str(row["query_id"])
        if name not in rows:
            key = str(row["split_key"] or name)
            rows[name] = Answered(id=name, key=key, query=row["query"] or "", replies={})
        rows[name].replies[row["model"]] = Reply(row["response"], row["score"], row["cost_usd"])
    if not found:
        message = f"{data}: no table of answers"
        raise ConfigError(message)
    made = [_table(name, tuple(rows.values())) for name, rows in sorted(found.items())]
    small = [
        f"{one.name}: {len(one.rows)} questions that all its models answered, {least} are needed"
        for one in made
        if len(one.rows) < least
    ]
    return [one for one in made if len(one.rows) >= least], small


def _rows(data: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of every fitting table."""
    try:
        import pyarrow.parquet as pq  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as exc:
        message = "this needs pyarrow: pip install 'metabolic[bench]'"
        raise ConfigError(message) from exc
    parquet = cast("Any", pq)
    for path in [data] if data.is_file() else sorted(data.rglob("*.parquet")):
        names = set(parquet.read_schema(path).names)
        if names.issuperset(_COLUMNS):
            wanted = [*_COLUMNS, *(["extra"] if "extra" in names else [])]
            yield from parquet.read_table(path, columns=wanted).to_pylist()


def _table(name: str, rows: Iterable[Answered]) -> Table:
    """Return a set with the questions that its common models answered, models by price."""
    known = list(rows)
    counts: dict[str, int] = {}
    for row in known:
        for model in row.replies:
            counts[model] = counts.get(model, 0) + 1
    most = max(counts.values(), default=0)
    common = [model for model, count in counts.items() if count >= 0.9 * most]
    whole = tuple(row for row in known if all(model in row.replies for model in common))
    usd = {model: price for model in common if (price := _price(whole, model)) is not None}
    return Table(
        name=name,
        models=tuple(sorted(common, key=lambda one: (usd.get(one, float("inf")), one))),
        usd=usd,
        rows=whole,
    )


def _price(rows: Iterable[Answered], model: str) -> float | None:
    """Return the mean price of a model's answers; ``None`` where one has none."""
    prices = [row.replies[model].cost_usd for row in rows]
    known = [one for one in prices if one is not None]
    return sum(known) / len(known) if known and len(known) == len(prices) else None


def pair_of(table: Table) -> tuple[str, str]:
    """Return the cheap and the dear model of a set: by price alone, no outcome is looked at.

    Without two prices it is the least and the most accurate, which does look.
    """
    if len(table.usd) > 1:
        ranked = sorted(table.usd, key=lambda one: (table.usd[one], one))
        return ranked[0], ranked[-1]
    score = {
        one: sum(row.replies[one].score for row in table.rows) / max(1, len(table.rows))
        for one in table.models
    }
    ranked = sorted(score, key=lambda one: (score[one], one))
    return ranked[0], ranked[-1]
