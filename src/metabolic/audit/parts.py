"""Logs that outgrow a machine: each file is read by itself, anywhere, and its rows are gathered.

Reading and typing rows is nearly all of the work. It is done a file at a time by the same readers,
each into Parquet with the common columns, in a folder that all see; what follows reads those.
"""

__all__ = ["Part", "Spread", "gather", "in_turn", "read_part"]

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from metabolic.audit.load import Loaded, Records, load
from metabolic.audit.result import BadRow, Source
from metabolic.audit.rows import create_sql

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class Part(Struct, frozen=True, kw_only=True):
    """One file's rows as Parquet at ``rows``, and what was counted while it was read."""

    rows: str
    source: Source
    bad: tuple[BadRow, ...]


Spread = Callable[[Sequence[Path], Path, Records | None], Sequence[Part]]
"""Reads files into parts below a folder, in their order: in turn, or on many machines."""


def read_part(path: Path, number: int, folder: Path, records: Records | None = None) -> Part:
    """Read one file, the ``number``-th of all, into Parquet below ``folder``.

    Raises:
        ConfigError: the file is nothing that is known, or cannot be read.
    """
    import duckdb  # noqa: PLC0415 - the extra `audit`

    rows = folder / f"part-{number:06d}.parquet"
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET threads = 1")
        loaded = load(connection, (path,), records=records)
        connection.execute("UPDATE calls SET file = ?", [number])
        target = str(rows).replace("'", "''")
        connection.execute(f"COPY calls TO '{target}' (FORMAT parquet, COMPRESSION zstd)")
    return Part(rows=str(rows), source=loaded.sources[0], bad=loaded.bad)


def in_turn(paths: Sequence[Path], folder: Path, records: Records | None) -> list[Part]:
    """Read files here, one after the other."""
    return [read_part(path, number, folder, records) for number, path in enumerate(paths)]


def gather(connection: "DuckDBPyConnection", parts: Sequence[Part]) -> Loaded:
    """Make the table ``calls`` of all parts."""
    connection.execute(create_sql("calls"))
    connection.execute(
        "INSERT INTO calls SELECT * FROM read_parquet(?)", [[one.rows for one in parts]]
    )
    bad = [row for one in parts for row in one.bad]
    return Loaded(
        sources=tuple(one.source for one in parts),
        bad=tuple(sorted(bad, key=lambda one: (-one.rows, one.path, one.reason))),
    )
