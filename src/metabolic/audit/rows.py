"""One row of any log: the columns every reader fills as far as its log goes."""

__all__ = ["COLUMNS", "NUMBERS", "create_sql"]

COLUMNS = {
    "file": "USMALLINT",
    "line": "BIGINT",
    "bad": "VARCHAR",
    "at_s": "DOUBLE",
    "request": "UBIGINT",
    "session": "UBIGINT",
    "task": "UBIGINT",
    "model": "VARCHAR",
    "requests": "BIGINT",
    "input_tokens": "BIGINT",
    "cached_tokens": "BIGINT",
    "output_tokens": "BIGINT",
    "reasoning_tokens": "BIGINT",
    "reported_usd": "DOUBLE",
    "seconds": "DOUBLE",
    "failed": "BOOLEAN",
    "from_cache": "BOOLEAN",
    "tools": "BOOLEAN",
    "prompt": "UBIGINT",
    "text": "VARCHAR",
    "lane": "VARCHAR",
    "quality": "FLOAT",
    "shadow_model": "VARCHAR",
    "shadow_quality": "FLOAT",
    "shadow_output_tokens": "INTEGER",
    "propensity": "FLOAT",
    "energy_j": "DOUBLE",
}
"""Name and type, in order.

``bad`` says why a row was not used, else null. ``request``, ``session``, ``task`` and ``prompt``
are hashes. ``requests`` is 1, or how many calls a bucket of a usage export holds. ``input_tokens``
holds ``cached_tokens``. ``from_cache`` is an answer that a gateway's own cache gave. ``quality``
is in [0, 1], of the answer that was given; the ``shadow_`` columns are of another model's answer to
the same request, which was drawn with probability ``propensity``. ``text`` is kept for a sample of
rows, in the temporary table only.
"""

NUMBERS = (
    "requests",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "reasoning_tokens",
    "reported_usd",
    "seconds",
    "quality",
    "shadow_quality",
    "shadow_output_tokens",
    "propensity",
    "energy_j",
)
"""Columns that are read as numbers."""


def create_sql(table: str) -> str:
    """Return the statement that makes an empty table of rows."""
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    return f"CREATE TABLE {table} ({columns})"
