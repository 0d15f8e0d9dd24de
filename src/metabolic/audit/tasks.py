"""Task type and difficulty of a sample of prompts, and which of them need no model."""

__all__ = ["Classify", "Prompt", "Sample", "classify_sample", "task_shares"]

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct

from metabolic.audit.result import TaskShare
from metabolic.core.signals import Signals

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Classify = Callable[[str], Signals]
"""What a classifier sees in one prompt."""

_NO_MODEL = r"""(?i)^\s*(what\s+is|what's|calculate|compute|evaluate|solve|how\s+much\s+is)?\s*:?\s*
[-+(]*\d[\d\s.,()]*([-+*/^%x×÷]\s*[-+(]*\d[\d\s.,()]*)+\s*(=\s*\??|\?|\.)?\s*$""".replace("\n", "")
"""Plain arithmetic and nothing else: the one kind that is certain without a model."""


class Prompt(Struct, frozen=True, kw_only=True, gc=False):
    """What was seen in a prompt: no text.

    ``kinds`` are the chances of simple, medium and complex; ``odds`` those of a good answer beside
    an average prompt's, for a tiny, small, medium and large model (``()``: nobody knows).
    """

    kinds: tuple[float, float, float]
    odds: tuple[float, ...] = ()


class Sample(Struct, frozen=True, kw_only=True):
    """What classifying a sample gave: prompts read, and how many of them need no model.

    ``seen`` are the different ones, as ``lanes`` numbers them; ``by`` names the classifier.
    """

    prompts: int
    no_model: int
    complete: bool
    seen: tuple[Prompt, ...] = ()
    by: str = ""


def classify_sample(connection: "DuckDBPyConnection", classify: Classify) -> Sample:
    """Make ``lanes`` (file, line, lane, simple, complex, seen) of rows whose text was kept."""
    connection.execute("""CREATE TABLE lanes (file USMALLINT, line BIGINT, lane VARCHAR,
        simple FLOAT, complex FLOAT, seen INTEGER)""")
    connection.execute("""CREATE TABLE seen (text VARCHAR, lane VARCHAR, simple FLOAT,
        complex FLOAT, seen INTEGER)""")
    texts = connection.execute(
        "SELECT DISTINCT text FROM calls WHERE bad IS NULL AND text IS NOT NULL ORDER BY text"
    ).fetchall()
    found: list[tuple[str, str, float, float, int]] = []
    seen: list[Prompt] = []
    by = ""
    for number, (text,) in enumerate(texts):
        signals = classify(text)
        by = signals.classifier
        found.append((text, signals.lane, signals.p_simple, signals.p_complex, number))
        seen.append(_seen(signals))
    if found:
        connection.executemany("INSERT INTO seen VALUES (?, ?, ?, ?, ?)", found)
    connection.execute("""INSERT INTO lanes SELECT file, line, coalesce(calls.lane, seen.lane),
        simple, complex, seen FROM calls JOIN seen USING (text) WHERE bad IS NULL""")
    row = connection.execute(
        """SELECT count(*) FILTER (text IS NOT NULL),
        count(*) FILTER (text IS NOT NULL AND regexp_matches(text, ?)), count(*)
        FROM calls WHERE bad IS NULL""",
        [_NO_MODEL],
    ).fetchone()
    assert row is not None
    connection.execute("DROP TABLE seen")
    return Sample(
        prompts=row[0], no_model=row[1], complete=row[0] == row[2], seen=tuple(seen), by=by
    )


def _seen(signals: Signals) -> Prompt:
    """Return what was seen."""
    return Prompt(
        kinds=(signals.p_simple, signals.p_medium, signals.p_complex),
        odds=signals.odds_ratio,
    )


def task_shares(connection: "DuckDBPyConnection") -> tuple[TaskShare, ...]:
    """Return calls and dollars by task type, most calls first."""
    rows = connection.execute("""
        WITH hard AS (SELECT lane, avg(simple) AS simple, avg(complex) AS complex FROM lanes
            GROUP BY lane)
        SELECT lane, sum(requests), sum(requests) / sum(sum(requests)) OVER (), sum(usd),
            any_value(simple), any_value(complex)
        FROM work LEFT JOIN hard USING (lane) GROUP BY lane ORDER BY 2 DESC, 1""").fetchall()
    return tuple(
        TaskShare(
            task=lane,
            calls=int(calls),
            share_ratio=float(share),
            usd=usd,
            simple_ratio=simple,
            complex_ratio=hard,
        )
        for lane, calls, share, usd, simple, hard in rows
    )
