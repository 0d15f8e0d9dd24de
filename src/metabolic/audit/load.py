"""All files into one table, on disk, with what was bad counted."""

__all__ = ["Loaded", "Records", "load"]

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from msgspec import Struct

from metabolic.audit.files import Kind, kind_of
from metabolic.audit.formats import Format, format_named, format_of
from metabolic.audit.postgres import shown, table_lines
from metabolic.audit.prepare import csv_lines, document_lines, record_lines, span_lines
from metabolic.audit.progress import Watch
from metabolic.audit.reading import access_sql, json_sql
from metabolic.audit.result import BadRow, Source
from metabolic.audit.rows import create_sql
from metabolic.core.errors import ConfigError
from metabolic.core.receipt import Record

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SAMPLED_TEXTS = 20_000
_BYTES_A_ROW = 300
_SHOWN_BAD = 5
_MAX_LINE_BYTES = 16 * 1024 * 1024

_ONCE = """UPDATE calls SET bad = 'other line' WHERE file = ? AND prompt IS NULL AND bad IS NULL
    AND (SELECT count(*) FROM calls WHERE file = ? AND prompt IS NOT NULL) > 0"""
"""Where vLLM logs prompts, its access lines are about the same requests once more."""

Records = Callable[[Path], Iterable[Record]]
"""Opens one of our own ledgers and iterates over its records."""


class Loaded(Struct, frozen=True, kw_only=True):
    """What was read: a source for each file, and the first bad rows of each reason."""

    sources: tuple[Source, ...]
    bad: tuple[BadRow, ...]


def load(
    connection: "DuckDBPyConnection",
    paths: Sequence[Path],
    *,
    databases: Sequence[str] = (),
    records: Records | None = None,
    watch: Watch | None = None,
) -> Loaded:
    """Read every file and database into ``calls``; ``records`` opens a ledger's file.

    Raises:
        ConfigError: a file is nothing that is known, or something cannot be read.
    """
    connection.execute(create_sql("calls"))
    sources: list[Source] = []
    sizes = [path.stat().st_size if path.exists() else 0 for path in paths]
    whole = max(1, sum(sizes))
    for number, path in enumerate(paths):
        if watch is not None:
            text = f"reading {path.name} ({number + 1} of {len(paths)})"
            done = sum(sizes[:number]) / whole
            watch.begin(text, done_ratio=done, part_ratio=sizes[number] / whole)
        sources.append(_one(connection, path, number, records))
    for number, address in enumerate(databases, start=len(paths)):
        if watch is not None:
            watch.begin(f"reading {shown(address)}", done_ratio=None)
        sources.append(_database(connection, address, number))
    names = [*(path.name for path in paths), *map(shown, databases)]
    return Loaded(sources=tuple(sources), bad=_bad(connection, names))


def _database(connection: "DuckDBPyConnection", address: str, number: int) -> Source:
    """Read the rows of a database."""
    lines = table_lines(address)
    kind = Kind(shape="document", format="litellm")
    _through_file(connection, lines, kind, number, sample=1.0, name=shown(address))
    return _counted(connection, shown(address), "litellm", number)


def _one(
    connection: "DuckDBPyConnection", path: Path, number: int, records: Records | None
) -> Source:
    """Read one file."""
    import duckdb  # noqa: PLC0415 - the extra `audit`

    kind = kind_of(path)
    sample = min(1.0, _SAMPLED_TEXTS * _BYTES_A_ROW / max(1, path.stat().st_size))
    try:
        name = _read(connection, path, kind, number, sample, records)
    except duckdb.Error as exc:
        message = f"{path}: {str(exc).splitlines()[0]}"
        raise ConfigError(message) from exc
    return _counted(connection, path.name, name, number)


def _counted(connection: "DuckDBPyConnection", path: str, name: str, number: int) -> Source:
    """Return what became of one source's rows."""
    row = connection.execute(
        """SELECT count(*) FILTER (bad IS NULL), count(*) FILTER (bad <> 'other line'),
        count(*) FILTER (bad = 'other line') FROM calls WHERE file = ?""",
        [number],
    ).fetchone()
    assert row is not None
    return Source(path=path, format=name, rows=row[0], bad=row[1], other=row[2])


def _read(
    connection: "DuckDBPyConnection",
    path: Path,
    kind: Kind,
    number: int,
    sample: float,
    records: Records | None,
) -> str:
    """Insert one file's rows; return the name of its format."""
    match kind.shape:
        case "jsonl":
            _insert(connection, format_named(kind.format), _lines(path), number, sample)
        case "parquet":
            return _parquet(connection, path, number, sample)
        case "access":
            lines = _lines(path)
            connection.execute(
                f"INSERT INTO calls {access_sql(source=lines, file=number, sample=sample)}"
            )
            connection.execute(_ONCE, [number, number])
            return "access"
        case "csv" | "spans" | "document" | "ledger" | "sqlite":
            return _prepared(connection, path, kind, number, sample, records)
    return kind.format


def _insert(
    connection: "DuckDBPyConnection", one: Format, source: str, number: int, sample: float
) -> None:
    connection.execute(
        f"INSERT INTO calls {json_sql(one, source=source, file=number, sample=sample)}"
    )


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _lines(path: Path) -> str:
    """Return the relation of a text file's lines; unpacked by DuckDB where it can, else by us."""
    return f"""(SELECT row_number() OVER () AS line, raw FROM read_csv({_quoted(path)},
        columns = {{'raw': 'VARCHAR'}}, delim = '\\x01', quote = '', escape = '', header = false,
        auto_detect = false, max_line_size = {_MAX_LINE_BYTES}, null_padding = true,
        {_packed(path)}) WHERE raw IS NOT NULL AND trim(raw) <> '')"""


def _packed(path: Path) -> str:
    """Return how the reader must unpack a file, by its first bytes."""
    with path.open("rb") as file:
        head = file.read(4)
    if head[:2] == b"\x1f\x8b":
        return "compression = 'gzip'"
    return "compression = 'zstd'" if head == b"\x28\xb5\x2f\xfd" else "compression = 'none'"


def _parquet(connection: "DuckDBPyConnection", path: Path, number: int, sample: float) -> str:
    """Read Parquet whose columns are those of a format."""
    heads = connection.execute(f"DESCRIBE SELECT * FROM read_parquet({_quoted(path)})").fetchall()
    one = format_of([dict.fromkeys((str(head[0]) for head in heads), "x")])
    if one is None:
        message = f"{path}: Parquet with columns of no kind that is known"
        raise ConfigError(message)
    source = f"""(SELECT row_number() OVER () AS line, to_json(t) AS raw
        FROM read_parquet({_quoted(path)}) t)"""
    _insert(connection, one, source, number, sample)
    return one.name


def _prepared(
    connection: "DuckDBPyConnection",
    path: Path,
    kind: Kind,
    number: int,
    sample: float,
    records: Records | None,
) -> str:
    """Read what must be taken apart first, through a temporary file of lines."""
    name, lines = _taken_apart(path, kind, records)
    made = _through_file(connection, lines, kind, number, sample=sample, name=str(path))
    return name or made or "document"


def _through_file(
    connection: "DuckDBPyConnection",
    lines: Iterable[bytes],
    kind: Kind,
    number: int,
    *,
    sample: float,
    name: str,
) -> str:
    """Insert lines of JSON; return the name of their format, ``""`` where there are none."""
    descriptor, made = tempfile.mkstemp(suffix=".jsonl", prefix="metabolic-audit-")
    try:
        first = b""
        with os.fdopen(descriptor, "wb") as file:
            for line in lines:
                first = first or line
                file.write(line + b"\n")
        if not first:
            return ""
        one = format_named(kind.format) if kind.format else _format_of_line(name, first)
        _insert(connection, one, _lines(Path(made)), number, sample)
    finally:
        Path(made).unlink()
    return one.name


def _taken_apart(
    path: Path, kind: Kind, records: Records | None
) -> tuple[str, Iterator[bytes] | list[bytes]]:
    """Return the name of the format and the lines of a file."""
    if kind.shape == "spans":
        return "otel", span_lines(path)
    if kind.shape == "csv":
        return "", csv_lines(path)
    if kind.shape == "document":
        return "", document_lines(path)
    if records is None:
        message = f"{path}: a ledger of ours, and nothing here to open it with"
        raise ConfigError(message)
    return "metabolic", record_lines(records(path))


def _format_of_line(path: str, line: bytes) -> Format:
    """Return the format of a document's first row."""
    import msgspec  # noqa: PLC0415 - only for documents

    try:
        made = format_of([msgspec.json.decode(line, type=dict[str, object])])
    except msgspec.ValidationError:
        made = None
    if made is None:
        message = f"{path}: a JSON document of no kind that is known"
        raise ConfigError(message)
    return made


def _bad(connection: "DuckDBPyConnection", names: Sequence[str]) -> tuple[BadRow, ...]:
    """Return the reasons with their counts and first lines."""
    found = connection.execute(
        f"""SELECT file, bad, count(*), list_sort(min(line, {_SHOWN_BAD})) FROM calls
        WHERE bad IS NOT NULL AND bad <> 'other line' GROUP BY ALL ORDER BY 3 DESC, 1, 2"""
    ).fetchall()
    rows = cast("list[tuple[int, str, int, list[int]]]", found)
    return tuple(
        BadRow(path=names[file], reason=reason, rows=count, lines=tuple(lines))
        for file, reason, count, lines in rows
    )
