"""One set of stored answers made ready to learn from, and to be split again and again.

Lessons are graded answers of other models to the questions of the fitting part, from this set and
from any other in the folder that asks the same questions (equal ``split_key``): no answer to a
question that is calibrated on or reported is among them.
"""

__all__ = ["Material", "Parts", "fitted", "material", "parts", "safety"]

import random
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from msgspec import Struct

from metabolic.bench.scorer import Array, Lessons, Scorer, matrix, words
from metabolic.bench.signals import asked_signals, signals
from metabolic.bench.tables import Table, pair_of
from metabolic.decide.agreement import agree

_TEACHERS = 6
"""Other models to learn from: the cheapest, so that no outcome chooses them."""

_GOOD = 0.5
_SHARED = 0.3
"""Share of a set's questions that another must ask too, to teach anything about them."""


class Material(Struct, frozen=True, kw_only=True):
    """A set with the figures of its cheap model's answers; arrays are in the order of its rows.

    ``lesson_keys`` says which question each lesson is about. Without ``has_text`` the answers are
    graded but not stored: figures and lessons are empty. ``agrees`` says where the cheap model and
    a ``partner``, the next cheapest whose answers are stored, say the same in the end; ``None``:
    there is no such model.
    """

    name: str
    cheap: str
    dear: str
    keys: tuple[str, ...]
    figures: Array
    asked: Array
    good: Array
    reference: Array
    lessons: Lessons | None
    lesson_keys: tuple[str, ...]
    has_text: bool = True
    partner: str | None = None
    agrees: tuple[bool, ...] | None = None


class Parts(Struct, frozen=True, kw_only=True):
    """A split: indices of the rows to fit on, to calibrate on and to report."""

    fit: tuple[int, ...]
    calibrate: tuple[int, ...]
    report: tuple[int, ...]


def material(table: Table, others: Iterable[Table], *, teachers: int = _TEACHERS) -> Material:
    """Return a set ready to learn from; ``others`` may teach where they ask the same questions."""
    cheap, dear = pair_of(table)
    keys = tuple(row.key for row in table.rows)
    has_text, partner = table.has_text(cheap), _partner(table, cheap, dear)
    taught = _taught(table, others, teachers) if has_text else []
    lessons, lesson_keys = _lessons(taught, frozenset(keys))
    pairs = [(row.query, row.replies[cheap].text or "") for row in table.rows]
    return Material(
        name=table.name,
        cheap=cheap,
        dear=dear,
        keys=keys,
        figures=_figures(pairs) if has_text else np.zeros((len(keys), 1)),
        asked=_words([query for query, _ in pairs]),
        good=np.array([row.replies[cheap].score for row in table.rows]),
        reference=np.array([row.replies[dear].score for row in table.rows]),
        lessons=lessons,
        lesson_keys=lesson_keys,
        has_text=has_text,
        partner=partner,
        agrees=None if partner is None else tuple(_agreeing(table, cheap, partner)),
    )


def _partner(table: Table, cheap: str, dear: str) -> str | None:
    """Return the cheapest other model whose answers are stored and priced; ``None`` without one."""
    if not table.has_text(cheap):
        return None
    others = (one for one in table.models if one in table.usd and one not in {cheap, dear})
    return next((one for one in others if table.has_text(one)), None)


def _agreeing(table: Table, cheap: str, partner: str) -> Iterator[bool]:
    """Yield, row by row, whether both models say the same in the end."""
    for row in table.rows:
        yield agree(row.replies[cheap].text or "", row.replies[partner].text or "") is True


def _figures(pairs: Iterable[tuple[str, str]]) -> Array:
    """Return the figures of answers; what a question looks like is read once a question."""
    seen: dict[str, dict[str, float]] = {}
    rows: list[tuple[float, ...]] = []
    for query, text in pairs:
        asked = seen.get(query)
        if asked is None:
            asked = seen[query] = asked_signals(query)
        rows.append(signals(query, text, asked=asked))
    return matrix(rows)


def _words(queries: Sequence[str]) -> Array:
    """Return questions as hashed words, each hashed once."""
    at = {query: number for number, query in enumerate(dict.fromkeys(queries))}
    return words(list(at))[[at[query] for query in queries]]


def _taught(table: Table, others: Iterable[Table], teachers: int) -> list[tuple[Table, str]]:
    """Return other models whose stored answers can teach, the cheapest first."""
    keys = {row.key for row in table.rows}
    own = set(pair_of(table))
    found: list[tuple[float, Table, str]] = []
    for source in (table, *(one for one in others if one is not table)):
        shared = len(keys.intersection(row.key for row in source.rows))
        if shared < _SHARED * len(keys):
            continue
        names = [one for one in source.models if source is not table or one not in own]
        known = [(source.usd.get(name, float("inf")), source, name) for name in names]
        found += [one for one in known if source.has_text(one[2])]
    found.sort(key=lambda one: (one[0], one[1].name, one[2]))
    return [(source, name) for _, source, name in found[:teachers]]


def _lessons(
    taught: Iterable[tuple[Table, str]], keys: frozenset[str]
) -> tuple[Lessons | None, tuple[str, ...]]:
    """Return other models' graded answers to these questions, and the question of each."""
    rows = [
        (row, reply)
        for source, model in taught
        for row in source.rows
        if row.key in keys and (reply := row.replies[model]).text is not None
    ]
    if not rows:
        return None, ()
    lessons = Lessons(
        figures=_figures((row.query, reply.text or "") for row, reply in rows),
        good=np.array([reply.score >= _GOOD for _, reply in rows], dtype=int),
        words=_words([row.query for row, _ in rows]),
    )
    return lessons, tuple(row.key for row, _ in rows)


def parts(found: Material, *, seed: int) -> Parts:
    """Return a random split into thirds; equal questions stay together."""
    unique = sorted(set(found.keys))
    random.Random(seed).shuffle(unique)
    third = len(unique) // 3
    where = {key: min(at // max(1, third), 2) for at, key in enumerate(unique)}
    chosen: tuple[list[int], list[int], list[int]] = ([], [], [])
    for at, key in enumerate(found.keys):
        chosen[where[key]].append(at)
    lot = random.Random(seed + 1)
    lot.shuffle(chosen[1])
    return Parts(fit=tuple(chosen[0]), calibrate=tuple(chosen[1]), report=tuple(chosen[2]))


def safety(found: Material, split: Parts, *, seed: int) -> Array:
    """Return how safe it is to keep each row's draft, by a scorer fitted on the first part."""
    return fitted(found, split.fit, seed=seed).safe(found.figures, found.asked)


def fitted(found: Material, rows: Iterable[int], *, seed: int) -> Scorer:
    """Return a scorer fitted on some rows, and on lessons about the same questions only."""
    fit = list(rows)
    keys = {found.keys[at] for at in fit}
    lessons = found.lessons
    if lessons is not None:
        chosen = [at for at, key in enumerate(found.lesson_keys) if key in keys]
        lessons = Lessons(
            figures=lessons.figures[chosen],
            good=lessons.good[chosen],
            words=lessons.words[chosen],
        )
    return Scorer(seed=seed).fit(
        found.figures[fit] if found.has_text else None,
        found.asked[fit],
        (found.good[fit] >= _GOOD).astype(int),
        (found.reference[fit] >= _GOOD).astype(int),
        lessons,
    )
